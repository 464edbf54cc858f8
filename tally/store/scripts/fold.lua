-- fold: move some names of a window that is behind its floor to the longer window that gets its counts now.
--
-- KEYS 1 floors    sorted set  see windows_library.lua
--      2 folds     hash        start of a window of the longest length -> number of the last fold inside it; and `number`, of the
--                              last one of all
--      3 numbered  string      how many numbers were ever given to types whose words are counted apart
--      4 backlog   hash        see lease_library.lua
--      then, a level:          windows (sorted set)
--      then, a table:          the window (hash), and the windows that hold it, a longer level each (hashes)
--      then, if these are the last tables:   of each other one the window (hash)
-- ARGV 1 JSON:
--        level     of the window, neither the longest nor, as that is a copy, the shortest
--        start     of the window, in Unix seconds
--        cursor    what the last call with these tables returned, '' at first
--        names     how many names to move, about
--        levels    of each, the shortest first: `seconds`, `kept`
--        tables    of each, how many names a window holds at the most
--        last      whether they are the last tables
--        unused    how many of the other ones, the last of KEYS, are of types that have no number any more
--        numbered  as the caller knows it
--        other     the word for 'other'
--
-- Returns {word, cursor for the next call, how many names were moved}:
--   more     there are more names in these tables
--   next     there are none; there may be in other tables
--   folded   it is gone: its counts are in a longer window, or in none if it is too old for all of them
--   kept     it is not behind its floor; nothing was written
--   gone     there is no such window; nothing was written
--   numbered the caller does not know all tables that there are; nothing was written
--   held     somebody has the lease: try again later; nothing was written
-- Or {'wrong-type', key, type, expected type}; nothing was written then.
--
-- Atomic, or a count would be in both windows for a moment, or in none.
--
-- Nothing is added to a window behind its floor, so all that is in a table of it is found by one scan.

--- @include layout_library
--- @include types_library
--- @include windows_library
--- @include lease_library

local floors_key, folds, numbered, backlog = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local levels, other, tables, level = arguments.levels, arguments.other, arguments.tables, arguments.level
local start = arguments.start
local windows, hashes = take_keys(levels, 5)
local a_table = #levels - level + 1 -- so many keys has each

-- What the window itself is called in each of these tables, and in the other ones.
local from_keys, others = {}, {}
for at = 1, #tables do
  from_keys[at] = hashes[(at - 1) * a_table + 1]
end
while #hashes > #tables * a_table do
  others[#others + 1] = table.remove(hashes)
end

local wrong = wrong_type({floors_key}, 'zset') or wrong_type({folds, backlog}, 'hash') or wrong_type({numbered}, 'string')
  or wrong_type(windows, 'zset') or wrong_type(hashes, 'hash')
if wrong then
  return wrong
end
if (redis.call('GET', numbered) or '0') ~= arguments.numbered then
  return {'numbered', '', 0}
end
if not redis.call('ZSCORE', levels[level].windows, text_of(start)) then
  return {'gone', '', 0}
end
local floors = floors_of(levels, floors_key)
if start >= floors[level] then
  return {'kept', '', 0}
end
if is_held(backlog) then
  return {'held', '', 0}
end

-- There is nothing left in these tables: forget the window, if there is nothing in the other ones either.
local function leave(moved)
  for at, key in ipairs(others) do
    if at > arguments.unused and redis.call('EXISTS', key) == 1 then
      return {'next', '', moved}
    end
  end
  if not arguments.last then
    return {'next', '', moved}
  end
  for at = 1, arguments.unused do
    redis.call('UNLINK', others[at])
  end
  redis.call('ZREM', levels[level].windows, text_of(start))
  store_floors(levels, floors_key, floors)
  return {'folded', '', moved}
end
local to_level, to_start = level_for(levels, floors, level + 1, start)
if not to_level then
  redis.call('UNLINK', unpack(from_keys))
  return leave(0)
end

-- Where the last call ended: a server that has lost its last second holds again what was moved in it.
local cursor_table, cursor = string.match(arguments.cursor, '^(%d+):(%d+)$')
cursor_table = tonumber(cursor_table)
local at, left, moved = 1, arguments.names, 0
while at <= #tables do
  local from = from_keys[at]
  if redis.call('EXISTS', from) == 0 then
    at = at + 1
  elseif left <= 0 then
    break
  else
    local found = redis.call('HSCAN', from, at == cursor_table and cursor or '0', 'COUNT', left)
    local flat, names, counts = found[2], {}, {}
    cursor_table, cursor = at, found[1]
    for field = 1, #flat, 2 do
      names[#names + 1], counts[#counts + 1] = flat[field], tonumber(flat[field + 1]) or 0
    end
    -- The first write takes no memory: a full Redis would refuse the script.
    for first = 1, #names, NAMES_AT_ONCE do
      redis.call('HDEL', from, unpack(names, first, math.min(first + NAMES_AT_ONCE - 1, #names)))
    end
    if #names > 0 then
      moved = moved + #names
      enter_window(levels, floors, to_level, to_start)
      add_bounded(hashes[(at - 1) * a_table + 1 + to_level - level], names, counts, tables[at], other)
    end
    left = left - math.max(25, #names) -- an almost empty table takes time, too
  end
end
if moved > 0 then
  redis.call('HSET', folds, text_of(start_at(levels[#levels], start)), redis.call('HINCRBY', folds, 'number', 1))
end
if at > #tables then
  return leave(moved)
end
store_floors(levels, floors_key, floors)
return {'more', at .. ':' .. (at == cursor_table and cursor or '0'), moved}
