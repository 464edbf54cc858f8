-- windows: what windows there are.
--
-- KEYS 1 layout    hash        its `format` and `windows`
--      2 floors    sorted set  see windows_library.lua
--      3 folds     hash        start of a window of the longest length -> number of the last fold of a shorter one inside it
--      then, a length:         windows (sorted set)
-- ARGV 1 JSON:
--        levels    of each length, the shortest first: `seconds`, `kept`
--
-- Returns {format, windows} of the layout (false where it has none), the floors (a text a length, empty where there is none),
-- {start, number, …} of `folds`, then of each length {start, …} of its windows, the oldest first. Writes nothing.
--
-- Atomic, or counts that are folded meanwhile could be found twice, or not at all; or the lengths that were asked for be no longer
-- those that are counted. A transaction would do, but Redis 7.0 takes none while it is full, not even to read.

--- @include windows_library

local levels = cjson.decode(ARGV[1]).levels
for at, level in ipairs(levels) do
  level.windows = KEYS[3 + at]
end

local found = {redis.call('HMGET', KEYS[1], 'format', 'windows'), texts_of(floors_of(levels, KEYS[2])),
  redis.call('HGETALL', KEYS[3])}
for at = 4, #KEYS do
  found[at] = redis.call('ZRANGE', KEYS[at], 0, -1)
end
return found
