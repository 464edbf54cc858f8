-- retry: give a consumer one block that is pending to it already, to be tried again.
--
-- KEYS 1 stream       stream  the blocks
--      2 totals       hash    its `lost`
--      3 backlog      hash    see backlog_library.lua
-- ARGV 1 JSON:
--        group
--        consumer
--        id           of the entry
--        deliveries   what its delivery count becomes
--
-- Returns {'given', field, value, …} of its fields `lines`, `source` and `appended_ms`, {'lost'} (the entry was deleted) or
-- {'gone'} (counted, or pending to another consumer).
--
-- XREADGROUP with an ID reads pending entries too, but raises the delivery count of all it returns and each time: a
-- lost connection would then look like a block that kills. Atomic, or it could be pending to another consumer by then.

--- @include layout_library
--- @include backlog_library

local stream, totals, backlog = KEYS[1], KEYS[2], KEYS[3]
local group, consumer, id = arguments.group, arguments.consumer, arguments.id

local pending = redis.call('XPENDING', stream, group, id, id, 1)[1]
if not pending or pending[2] ~= consumer then
  return {'gone'}
end

local entry = redis.call('XRANGE', stream, id, id)[1]
if not entry then
  redis.call('XACK', stream, group, id)
  find_lost(stream, totals, backlog)
  return {'lost'}
end
redis.call('XCLAIM', stream, group, consumer, 0, id, 'RETRYCOUNT', arguments.deliveries, 'JUSTID')
-- Only what is asked for: another client's entry may have more fields than unpack takes.
local asked_for = {lines = true, source = true, appended_ms = true}
local given = {'given'}
for at = 1, #entry[2], 2 do
  local field = entry[2][at]
  if asked_for[field] then
    given[#given + 1] = field
    given[#given + 1] = entry[2][at + 1]
  end
end
return given
