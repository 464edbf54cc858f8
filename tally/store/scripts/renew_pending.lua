-- renew_pending: show that a consumer still works on blocks, so that nobody claims them.
-- Uses backlog_library.lua.
--
-- KEYS 1 stream     stream  the blocks
--      2 totals     hash    its `lost`
--      3 backlog    hash    see backlog_library.lua
-- ARGV 1 group
--      2 consumer
--      3 ...        IDs of entries, at least one
--
-- Returns {ID, …} of those that are still pending to the consumer, in their order; they count as delivered just now.
--
-- Atomic, or blocks that somebody has claimed in between would be taken back.

local stream, totals, backlog = KEYS[1], KEYS[2], KEYS[3]
local group, consumer = ARGV[1], ARGV[2]

local ours = {}
for at = 3, #ARGV do
  if #redis.call('XPENDING', stream, group, ARGV[at], ARGV[at], 1, consumer) == 1 then
    ours[#ours + 1] = ARGV[at]
  end
end

local kept = {}
for first = 1, #ours, 1000 do -- unpack takes under 8,000 values
  local arguments = {unpack(ours, first, math.min(first + 999, #ours))}
  arguments[#arguments + 1] = 'JUSTID'
  for _, id in ipairs(redis.call('XCLAIM', stream, group, consumer, 0, unpack(arguments))) do
    kept[#kept + 1] = id
  end
end
if #kept < #ours then -- a deleted entry cannot be claimed, and is no longer pending then
  find_lost(stream, totals, backlog)
end
return kept
