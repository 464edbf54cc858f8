-- Functions about windows.
--
-- A level is one length of window, 1 the shortest. Its fields: `seconds`; `kept`, how many windows are kept; `windows`, the key of
-- the sorted set of their starts. Level 1 is a copy where there are longer ones: what is in its windows is in a longer one, too.
--
-- The floor of a level is the start of the oldest window that still gets counts, -inf while any does; it only rises, so those that
-- were stored hold even if more windows are kept from now on. What is behind it is dropped, if it is a copy or the longest, or else
-- folded into the first longer level that reaches back to it; and so goes what comes late. All but the longest are kept by span,
-- behind the start of the newest window of the shortest; the longest by number, so that sparse history stays.
-- KEYS floors: a sorted set, `seconds` scored by the floor.

-- luacheck: push ignore 211 (no script uses all of it)
-- As a window's start stands in a key and in a sorted set; Lua would write long ones as 1e+15.
local function text_of(start)
  return string.format('%d', start)
end

-- Give each level the key of its windows, those from KEYS `first` on; return these keys, and those behind them.
local function take_keys(levels, first)
  local windows, rest = {}, {}
  for at, level in ipairs(levels) do
    level.windows = KEYS[first + at - 1]
    windows[at] = level.windows
  end
  for at = first + #levels, #KEYS do
    rest[#rest + 1] = KEYS[at]
  end
  return windows, rest
end

local function is_copy(levels, level)
  return level == 0 or level == 1 and #levels > 1
end

-- The start of the window of this level that a moment is in.
local function start_at(level, at)
  return math.floor(at / level.seconds) * level.seconds
end

-- The kept-th newest start, -inf while there are fewer.
local function kept_since(level)
  local found = redis.call('ZREVRANGE', level.windows, level.kept - 1, level.kept - 1)[1]
  return found and tonumber(found) or -math.huge
end

-- The floors of all levels. `newest` is a start at level 1 that is about to come, if there is any.
local function floors_of(levels, floors_key, newest)
  local last = #levels
  local found = redis.call('ZRANGE', levels[1].windows, -1, -1)[1]
  newest = math.max(newest or -math.huge, found and tonumber(found) or -math.huge)
  local floors = {}
  for at = last, 1, -1 do
    local level = levels[at]
    local floor = tonumber(redis.call('ZSCORE', floors_key, level.seconds) or -math.huge)
    if at == last then
      floor = math.max(floor, kept_since(level))
    elseif newest > -math.huge then
      floor = math.max(floor, start_at(level, newest) - (level.kept - 1) * level.seconds)
    end
    if at < last - 1 then
      floor = math.max(floor, floors[at + 1])
    end
    floors[at] = floor
  end
  return floors
end

local function store_floors(levels, floors_key, floors)
  for at, level in ipairs(levels) do
    if floors[at] > -math.huge and floors[at] > tonumber(redis.call('ZSCORE', floors_key, level.seconds) or -math.huge) then
      redis.call('ZADD', floors_key, text_of(floors[at]), level.seconds)
    end
  end
end

-- The newest start at level 1 of these places; nil if there is none.
local function newest_of(places)
  local newest
  for _, place in ipairs(places) do
    if place.level == 1 then
      newest = math.max(newest or place.start, place.start)
    end
  end
  return newest
end

-- At which level counts are added that are for the window of this level and this start, and at which start; nil if at none. What
-- is a copy is added there or at none.
local function level_for(levels, floors, level, start)
  for at = level, is_copy(levels, level) and level or #levels do
    local there = start_at(levels[at], start)
    if there >= floors[at] then
      return at, there
    end
  end
end

-- Note that there is a window. One more of the longest raises their floor.
local function enter_window(levels, floors, level, start)
  local added = redis.call('ZADD', levels[level].windows, text_of(start), text_of(start))
  if added == 1 and level == #levels then
    floors[level] = math.max(floors[level], kept_since(levels[level]))
  end
end

-- Whether windows are behind the floor of their level.
local function is_overdue(levels, floors)
  for at, level in ipairs(levels) do
    local oldest = redis.call('ZRANGE', level.windows, 0, 0)[1]
    if oldest and tonumber(oldest) < floors[at] then
      return true
    end
  end
  return false
end

-- The floors as a script returns them: a text a level, empty where there is none.
local function texts_of(floors)
  local texts = {}
  for at, floor in ipairs(floors) do
    texts[at] = floor > -math.huge and text_of(floor) or ''
  end
  return texts
end

-- How many names go into one command: `unpack` takes under 8,000 values, and HSET takes two of each name.
local NAMES_AT_ONCE = 1000

-- Add counts (names, and how often each, two lists of one length) to a hash that holds at most `max` names besides
-- `other`, which takes the rest. `each`, if given, is called with every name that has a place of its own and its new
-- count.
--
-- Many fields are read and written at once, and lists go into those commands as they came: with HINCRBY, or with
-- tables by name, a rich vocabulary takes twice as long.
local function add_bounded(key, names, numbers, max, other, each)
  local room = max - redis.call('HLEN', key) + redis.call('HEXISTS', key, other)
  local over = 0
  for first = 1, #names, NAMES_AT_ONCE do
    local last = math.min(first + NAMES_AT_ONCE - 1, #names)
    local found = redis.call('HMGET', key, unpack(names, first, last))
    local sums, filled = {}, 0
    for at = first, last do
      local name, count, stored = names[at], numbers[at], found[at - first + 1]
      if name == other or (not stored and room <= 0) then
        over = over + count
      else
        local sum = count
        if stored then
          sum = sum + (tonumber(stored) or 0)
        else
          room = room - 1
        end
        if sum < 2 ^ 53 then
          sums[filled + 1], sums[filled + 2] = name, sum
          filled = filled + 2
        else
          redis.call('HINCRBY', key, name, count) -- Lua's numbers are exact up to there, those of a hash to 2^63
        end
        if each then
          each(name, sum)
        end
      end
    end
    if filled > 0 then
      redis.call('HSET', key, unpack(sums, 1, filled))
    end
  end
  if over > 0 then
    -- As with names: what another client has put there that is no number, HINCRBY would refuse in the middle of our writes.
    local sum = over + (tonumber(redis.call('HGET', key, other) or 0) or 0)
    if sum < 2 ^ 53 then
      redis.call('HSET', key, other, sum)
    else
      redis.call('HINCRBY', key, other, over)
    end
  end
end
-- luacheck: pop
