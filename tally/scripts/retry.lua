-- retry: give a consumer one block that is pending to it already, to be tried again.
--
-- KEYS 1 stream       stream  the blocks
--      2 totals       hash    its `lost`
-- ARGV 1 group
--      2 consumer
--      3 id           of the entry
--      4 deliveries   what its delivery count becomes
--
-- Returns {'given', field, value, …}, {'lost'} (the entry was deleted) or {'gone'} (counted, or somebody else's).
--
-- XREADGROUP with an ID reads pending entries too, but raises the delivery count of all it returns and each time: a
-- lost connection would then look like a block that kills. Atomic, or a deleted entry could go uncounted as lost.

local stream, totals = KEYS[1], KEYS[2]
local group, consumer, id, deliveries = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local pending = redis.call('XPENDING', stream, group, id, id, 1)[1]
if not pending or pending[2] ~= consumer then
  return {'gone'}
end

local entry = redis.call('XRANGE', stream, id, id)[1]
if not entry then
  redis.call('XACK', stream, group, id)
  redis.call('HINCRBY', totals, 'lost', 1)
  return {'lost'}
end
redis.call('XCLAIM', stream, group, consumer, 0, id, 'RETRYCOUNT', deliveries, 'JUSTID')
return {'given', unpack(entry[2])}
