-- reconcile_backlog: count blocks as lost that were deleted before they were counted, and correct the size of the backlog.
--
-- KEYS 1 stream     stream  the blocks
--      2 totals     hash    its `lost`, `blocks`
--      3 backlog    hash    see backlog_library.lua
-- ARGV 1 JSON:
--        bytes_at_once  how many of them to look at in one call, about
--
-- Returns {how many were lost, whether to call it again (1 or 0)}. In a stream without deletions it reads a few
-- figures and writes nothing but these.
--
-- Atomic, or what is counted or appended meanwhile would be taken for lost, or be missing in the sum.

--- @include layout_library
--- @include backlog_library

local stream, totals, backlog = KEYS[1], KEYS[2], KEYS[3]

-- Changes nothing. A full Redis refuses a script whose first write may take memory, and an aggregator that is refused counts
-- nothing, which is what would empty it.
redis.call('HDEL', backlog, '')

local lost = find_lost(stream, totals, backlog)
local stored = redis.call('HMGET', backlog, 'sum_to', 'sum_blocks', 'sum_bytes', 'blocks', 'bytes')
if not stored[1] then
  return {lost, 0}
end
local sum_blocks, sum_bytes = tonumber(stored[2]), tonumber(stored[3])
local mean_bytes = math.max(1, tonumber(stored[5] or 0) / math.max(1, tonumber(stored[4] or 0)))
local at_once = math.max(1, math.min(1000, math.floor(arguments.bytes_at_once / mean_bytes)))
local entries = redis.call('XRANGE', stream, '(' .. stored[1], '+', 'COUNT', at_once)
for _, entry in ipairs(entries) do
  local size = bytes_of(entry[2])
  if size >= 0 then
    sum_blocks, sum_bytes = sum_blocks + 1, sum_bytes + size
  end
end
if #entries < at_once then
  redis.call('HSET', backlog, 'blocks', sum_blocks, 'bytes', sum_bytes)
  redis.call('HDEL', backlog, 'sum_to', 'sum_blocks', 'sum_bytes')
  return {lost, 0}
end
redis.call('HSET', backlog, 'sum_to', entries[#entries][1], 'sum_blocks', sum_blocks, 'sum_bytes', sum_bytes)
return {lost, 1}
