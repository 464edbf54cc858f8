-- drop_windows: forget windows of the shortest length, or of the longest, that are behind its floor.
--
-- KEYS 1 floors    sorted set  see windows_library.lua
--      2 folds     hash        start of a window of the longest length -> number of the last fold inside it
--      3 numbered  string      how many numbers were ever given to types whose words are counted apart
--      4 backlog   hash        see lease_library.lua
--      then, a level:          windows (sorted set)
--      then, a window:         its hashes, one a table
-- ARGV 1 JSON:
--        level     of the windows: what is at another one than the shortest and the longest is to be folded
--        starts    of the windows, in Unix seconds
--        levels    of each, the shortest first: `seconds`, `kept`
--        numbered  as the caller knows it
--
-- Returns
--   {'dropped', how many}   those that are not behind the floor stay
--   {'numbered'}            the caller does not know all tables that there are; nothing was written
--   {'held'}                somebody has the lease: try again later; nothing was written
--
-- Atomic, or what comes in between could be added to a window that is half gone.

--- @include layout_library
--- @include windows_library
--- @include lease_library

local floors_key, folds, numbered, backlog = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local levels, level, starts = arguments.levels, arguments.level, arguments.starts
local _, hashes = take_keys(levels, 5)
local tables = #hashes / #starts

if (redis.call('GET', numbered) or '0') ~= arguments.numbered then
  return {'numbered'}
end
if is_held(backlog) then
  return {'held'}
end

local floors = floors_of(levels, floors_key)
local dropped = 0
for at, start in ipairs(starts) do
  if start < floors[level] then
    -- The first write takes no memory: a full Redis would refuse the script.
    redis.call('UNLINK', unpack(hashes, (at - 1) * tables + 1, at * tables))
    dropped = dropped + redis.call('ZREM', levels[level].windows, text_of(start))
    if level == #levels then
      redis.call('HDEL', folds, text_of(start))
    end
  end
end
if dropped > 0 then
  store_floors(levels, floors_key, floors)
end
return {'dropped', dropped}
