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
-- Returns {word, cursor for the next call, how many names were moved}:
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
local windows, hashes = take_keys(levels, 3)
local a_kind = #levels - level + 1 -- so many keys has each

local wrong = wrong_type({floors_key}, 'zset') or wrong_type({folds}, 'hash') or wrong_type(windows, 'zset')
  or wrong_type(hashes, 'hash')
if wrong then
  return wrong
end
if not redis.call('ZSCORE', levels[level].windows, text_of(start)) then
  return {'gone', '', 0}
end
local floors = floors_of(levels, floors_key)
if start >= floors[level] then
  return {'kept', '', 0}
end

local function leave(moved)
  redis.call('ZREM', levels[level].windows, text_of(start))
  store_floors(levels, floors_key, floors)
  return {'folded', '', moved}
end
local to_level, to_start = level_for(levels, floors, level + 1, start)
if not to_level then
  for kind = 1, #kinds do
    redis.call('UNLINK', hashes[(kind - 1) * a_kind + 1])
  end
  return leave(0)
end

-- Where the last call ended: a server that has lost its last second holds again what was moved in it.
local cursor_kind, cursor = string.match(arguments.cursor, '^(%d+):(%d+)$')
cursor_kind = tonumber(cursor_kind)
local kind, left, moved = 1, arguments.names, 0
while kind <= #kinds do
  local from = hashes[(kind - 1) * a_kind + 1]
  if redis.call('EXISTS', from) == 0 then
    kind = kind + 1
  elseif left <= 0 then
    break
  else
    local found = redis.call('HSCAN', from, kind == cursor_kind and cursor or '0', 'COUNT', left)
    local flat, names, counts = found[2], {}, {}
    cursor_kind, cursor = kind, found[1]
    for at = 1, #flat, 2 do
      names[#names + 1], counts[#counts + 1] = flat[at], tonumber(flat[at + 1]) or 0
    end
    -- The first write takes no memory: a full Redis would refuse the script.
    for first = 1, #names, NAMES_AT_ONCE do
      redis.call('HDEL', from, unpack(names, first, math.min(first + NAMES_AT_ONCE - 1, #names)))
    end
    if #names > 0 then
      moved = moved + #names
      enter_window(levels, floors, to_level, to_start)
      add_bounded(hashes[(kind - 1) * a_kind + 1 + to_level - level], names, counts, kinds[kind], other)
    end
    left = left - math.max(100, #names) -- an almost empty table takes time, too
  end
end
if moved > 0 then
  redis.call('HSET', folds, text_of(start_at(levels[#levels], start)), redis.call('HINCRBY', folds, 'number', 1))
end
if kind > #kinds then
  return leave(moved)
end
store_floors(levels, floors_key, floors)
return {'more', kind .. ':' .. (kind == cursor_kind and cursor or '0'), moved}
