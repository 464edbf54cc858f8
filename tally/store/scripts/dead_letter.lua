-- dead_letter: move a block that killed every aggregator that tried it, whole, to the dead letters.
--
-- KEYS 1 stream       stream  the blocks
--      2 dead_letters stream  their own fields, and `id`, `deliveries`
--      3 backlog      hash    see backlog_library.lua
--      4 totals       hash    its `lost`
-- ARGV 1 JSON:
--        group
--        consumer     to whom it must be pending
--        id           of the entry
--        deliveries   it is moved only if it was delivered at least so often
--
-- Returns 'moved', 'kept' (not delivered that often) or 'gone' (no longer pending to this consumer, or deleted).
--
-- Atomic, or the block could be in both streams, or in none.

--- @include layout_library
--- @include backlog_library

local stream, dead_letters, backlog, totals = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local group, id = arguments.group, arguments.id

local pending = redis.call('XPENDING', stream, group, id, id, 1, arguments.consumer)[1]
local entry = redis.call('XRANGE', stream, id, id)[1]
if not pending or not entry then
  return 'gone'
end
if pending[4] < arguments.deliveries then
  return 'kept'
end

-- Changes nothing. A full Redis refuses a script whose first write may take memory, and an aggregator that may not move its block
-- counts no others, which is what would empty it.
redis.call('XDEL', dead_letters, '0-1')

-- unpack takes under 8,000 values. A block of ours has six; of another client's fields the first 3,000 are kept.
local kept = {lines = true, source = true, appended_ms = true}
local fields = {unpack(entry[2], 1, math.min(#entry[2], 6000))}
for at = 6001, #entry[2], 2 do
  if kept[entry[2][at]] then
    fields[#fields + 1] = entry[2][at]
    fields[#fields + 1] = entry[2][at + 1]
  end
end
fields[#fields + 1] = 'id'
fields[#fields + 1] = id
fields[#fields + 1] = 'deliveries'
fields[#fields + 1] = pending[4]
redis.call('XADD', dead_letters, '*', unpack(fields))
redis.call('XACK', stream, group, id)
local found = redis.call('XDEL', stream, id)
note_taken(stream, totals, backlog, {id}, {bytes_of(entry[2])}, found)
return 'moved'
