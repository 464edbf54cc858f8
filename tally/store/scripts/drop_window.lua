-- drop_window: forget the oldest window of a length, when there are more than are kept.
--
-- KEYS 1 windows   sorted set  starts of the windows of that length
--      2 rolled    sorted set  those already in the next length
--      3 types     hash        the window's
--      4 words     hash        the window's
--      5 dropped   sorted set  length, scored by the start of the oldest window that was left when one was dropped
-- ARGV 1 JSON:
--        start     of the window, in Unix seconds, as text
--        kept      how many windows of that length are kept
--        last      whether it is the longest length, which is rolled into nothing
--        seconds   the length
--
-- Returns 'dropped', 'kept' (it is not the oldest, or not one too many) or 'unrolled' (roll it first).
--
-- Atomic, or counts that come in between would be lost to the longer window.

--- @include layout_library

local windows, rolled, types, words, dropped = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local start = arguments.start

if redis.call('ZCARD', windows) <= arguments.kept or redis.call('ZRANGE', windows, 0, 0)[1] ~= start then
  return 'kept'
end
if not arguments.last and not redis.call('ZSCORE', rolled, start) then
  return 'unrolled'
end

redis.call('UNLINK', types, words)
redis.call('ZREM', windows, start)
redis.call('ZREM', rolled, start)
-- The number kept may be raised later: how many there are would then no longer tell since when they are all there.
redis.call('ZADD', dropped, 'GT', redis.call('ZRANGE', windows, 0, 0)[1], arguments.seconds)
return 'dropped'
