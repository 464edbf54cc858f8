-- overdue: which windows are behind the floor of their length, and are to be folded or dropped.
--
-- KEYS 1 floors    sorted set  see windows_library.lua
--      2 retired   sorted set  numbers that no type has any more, and of which some hash may be left
--      then, a level:          windows (sorted set)
-- ARGV 1 JSON:
--        levels    of each, the shortest first: `seconds`, `kept`
--        most      how many windows of each level to tell of
--
-- Returns the floors (a text a level, empty where there is none), then of each level {start, …} of its windows behind the floor,
-- the oldest first; and the first of the retired numbers, if there is any. Writes nothing.
--
-- In a script, because floors are made of what there is: those that are stored are older, if fewer windows are kept from now on.

--- @include windows_library

local arguments = cjson.decode(ARGV[1])
local levels = arguments.levels
take_keys(levels, 3)

local floors = floors_of(levels, KEYS[1])
local found = {texts_of(floors)}
for at, level in ipairs(levels) do
  local behind = {}
  if floors[at] > -math.huge then
    behind = redis.call('ZRANGEBYSCORE', level.windows, '-inf', '(' .. text_of(floors[at]), 'LIMIT', 0, arguments.most)
  end
  found[1 + at] = behind
end
found[#levels + 2] = redis.call('ZRANGE', KEYS[2], 0, 0)
return found
