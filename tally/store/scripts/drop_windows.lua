-- drop_windows: forget windows of the shortest length, or of the longest, that are behind its floor.
--
-- KEYS 1 floors    sorted set  see windows_library.lua
--      2 folds     hash        start of a window of the longest length -> number of the last fold inside it
--      then, a level:          windows (sorted set)
--      then, a window:         its hashes, one a kind
-- ARGV 1 JSON:
--        level     of the windows: what is at another one than the shortest and the longest is to be folded
--        starts    of the windows, in Unix seconds
--        levels    of each, the shortest first: `seconds`, `kept`
--
-- Returns how many are gone now. Those that are not behind the floor stay.
--
-- Atomic, or what comes in between could be added to a window that is half gone.

--- @include layout_library
--- @include windows_library

local floors_key, folds = KEYS[1], KEYS[2]
local levels, level, starts = arguments.levels, arguments.level, arguments.starts
local _, hashes = take_keys(levels, 3)
local kinds = #hashes / #starts

local floors = floors_of(levels, floors_key)
local dropped = 0
for at, start in ipairs(starts) do
  if start < floors[level] then
    -- The first write takes no memory: a full Redis would refuse the script.
    redis.call('UNLINK', unpack(hashes, (at - 1) * kinds + 1, at * kinds))
    dropped = dropped + redis.call('ZREM', levels[level].windows, text_of(start))
    if level == #levels then
      redis.call('HDEL', folds, text_of(start))
    end
  end
end
if dropped > 0 then
  store_floors(levels, floors_key, floors)
end
return dropped
