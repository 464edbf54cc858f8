-- fold: move some names of a window that is behind its floor to the longer window that gets its counts now.
--
-- KEYS 1 floors    sorted set  see windows_library.lua
--      2 folds     hash        start of a window of the longest length -> number of the last fold inside it; and `number`, of the
--                              last one of all
--      then, a level:          windows (sorted set)
--      then, a kind:           the window (hash), and the windows that hold it, a longer level each (hashes)
-- ARGV 1 JSON:
--        level     of the window, neither the longest nor, as that is a copy, the shortest
--        start     of the window, in Unix seconds
--        cursor    what the last call returned, '' at first
--        names     how many names to move, about
--        levels    of each, the shortest first: `seconds`, `kept`
--        kinds     of each, how many names a window holds at the most
--        other     the word for 'other'
--
-- Returns {word, cursor for the next call}:
--   more     there are more names
--   folded   it is gone: its counts are in a longer window, or in none if it is too old for all of them
--   kept     it is not behind its floor; nothing was written
--   gone     there is no such window; nothing was written
-- Or {'wrong-type', key, type, expected type}; nothing was written then.
--
-- Atomic, or a count would be in both windows for a moment, or in none.
--
-- Nothing is added to a window behind its floor, so all that is in it is found by one scan.

--- @include layout_library
--- @include types_library
--- @include windows_library

local floors_key, folds = KEYS[1], KEYS[2]
local levels, other, kinds, level = arguments.levels, arguments.other, arguments.kinds, arguments.level
local start = arguments.start
local windows, hashes = {}, {}
for at, each in ipairs(levels) do
  each.windows = KEYS[2 + at]
  windows[at] = each.windows
end
for at = 3 + #levels, #KEYS do
  hashes[#hashes + 1] = KEYS[at]
end
local a_kind = #levels - level + 1 -- so many keys has each

local wrong = wrong_type({floors_key}, 'zset') or wrong_type({folds}, 'hash') or wrong_type(windows, 'zset')
  or wrong_type(hashes, 'hash')
if wrong then
  return wrong
end
if not redis.call('ZSCORE', levels[level].windows, text_of(start)) then
  return {'gone', ''}
end
local floors = floors_of(levels, floors_key)
if start >= floors[level] then
  return {'kept', ''}
end

local function leave(first_kind)
  for kind = first_kind, #kinds do
    redis.call('UNLINK', hashes[(kind - 1) * a_kind + 1])
  end
  redis.call('ZREM', levels[level].windows, text_of(start))
  store_floors(levels, floors_key, floors)
  return {'folded', ''}
end
local to_level, to_start = level_for(levels, floors, level + 1, start)
if not to_level then
  return leave(1)
end

local at_kind, cursor = string.match(arguments.cursor, '^(%d+):(%d+)$')
at_kind, cursor = tonumber(at_kind or 1), cursor or '0'
local left = arguments.names
while at_kind <= #kinds do
  local from = hashes[(at_kind - 1) * a_kind + 1]
  if redis.call('EXISTS', from) == 1 then
    if left <= 0 then
      break
    end
    local found = redis.call('HSCAN', from, cursor, 'COUNT', left)
    local flat, names, counts = found[2], {}, {}
    cursor = found[1]
    for at = 1, #flat, 2 do
      names[#names + 1], counts[#counts + 1] = flat[at], tonumber(flat[at + 1]) or 0
    end
    -- The first write takes no memory: a full Redis would refuse the script.
    for first = 1, #names, NAMES_AT_ONCE do
      redis.call('HDEL', from, unpack(names, first, math.min(first + NAMES_AT_ONCE - 1, #names)))
    end
    if #names > 0 then
      enter_window(levels, floors, to_level, to_start)
      add_bounded(hashes[(at_kind - 1) * a_kind + 1 + to_level - level], names, counts, kinds[at_kind], other)
    end
    left = left - math.max(100, #names) -- an almost empty table takes time, too
  end
  if redis.call('EXISTS', from) == 0 then
    at_kind, cursor = at_kind + 1, '0'
  end
end
if left < arguments.names then
  redis.call('HSET', folds, text_of(start_at(levels[#levels], start)), redis.call('HINCRBY', folds, 'number', 1))
end
if at_kind > #kinds then
  return leave(at_kind)
end
store_floors(levels, floors_key, floors)
return {'more', at_kind .. ':' .. cursor}
