-- renew_pending: show that a consumer still works on blocks, so that they are not claimed.
--
-- KEYS 1 stream     stream  the blocks
--      2 totals     hash    its `lost`
--      3 backlog    hash    see backlog_library.lua
-- ARGV 1 JSON:
--        group
--        consumer
--        ids        of entries, at least one
--
-- Returns {ID, …} of those that are still pending to the consumer, in their order; they count as delivered just now.
--
-- Atomic, or blocks that another consumer has claimed in between would be taken back.

--- @include layout_library
--- @include backlog_library

local stream, totals, backlog = KEYS[1], KEYS[2], KEYS[3]
local group, consumer = arguments.group, arguments.consumer

local ours = {}
for _, id in ipairs(arguments.ids) do
  if #redis.call('XPENDING', stream, group, id, id, 1, consumer) == 1 then
    ours[#ours + 1] = id
  end
end

local kept = {}
for first = 1, #ours, 1000 do -- unpack takes under 8,000 values
  local some = {unpack(ours, first, math.min(first + 999, #ours))}
  some[#some + 1] = 'JUSTID'
  for _, id in ipairs(redis.call('XCLAIM', stream, group, consumer, 0, unpack(some))) do
    kept[#kept + 1] = id
  end
end
if #kept < #ours then -- a deleted entry cannot be claimed, and is no longer pending then
  find_lost(stream, totals, backlog)
end
return kept
