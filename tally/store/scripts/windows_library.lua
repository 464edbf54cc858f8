-- Functions about windows.
--
-- A level is one length of window, the shortest first. Its fields:
--   windows  key of the sorted set of starts that are kept      rolled  key of those already in the next level
--   kept     how many are kept                                  floor   the oldest start that still gets counts
-- A place is where an event's counts go at one level: {start=…, types=key, words=key}.

-- luacheck: push ignore 211 (no script uses all of it)
-- The kept-th newest start, or -inf while there is room. It never falls, for windows are only ever added above it.
local function floor_of(level)
  local found = redis.call('ZREVRANGE', level.windows, level.kept - 1, level.kept - 1)
  return found[1] and tonumber(found[1]) or -math.huge
end

-- How many names go into one command: `unpack` takes under 8,000 values, and HSET takes two of each name.
local NAMES_AT_ONCE = 1000

-- Add counts ({names, how often each}, two lists of one length) to a hash that holds at most `max` names besides
-- `other`, which takes the rest. `each`, if given, is called with every name that has a place of its own and its new
-- count.
--
-- Many fields are read and written at once, and lists go into those commands as they came: with HINCRBY, or with
-- tables by name, a rich vocabulary takes twice as long.
local function add_bounded(key, counts, max, other, each)
  local names, numbers = counts[1], counts[2]
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
          sum = sum + tonumber(stored)
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
    redis.call('HINCRBY', key, other, over)
  end
end

-- Add counts to the first level from `first` on that reaches back to them, and to every longer one that already
-- holds that window's counts. Exact because a window is in `rolled` from the moment its counts are in the next level.
local function add_to_windows(levels, places, first, types, words, max_types, max_words, other)
  local at = first
  while at <= #levels and places[at].start < levels[at].floor do
    at = at + 1
  end
  if at > #levels then
    return -- older than every window kept: it counts in the totals alone
  end
  if redis.call('ZADD', levels[at].windows, places[at].start, places[at].start) == 1 then
    levels[at].floor = floor_of(levels[at])
  end
  while true do
    add_bounded(places[at].types, types, max_types, other)
    add_bounded(places[at].words, words, max_words, other)
    if not redis.call('ZSCORE', levels[at].rolled, places[at].start) then
      return
    end
    -- A longer window that is gone was rolled itself before it was dropped: what it held is in the one after it. It
    -- must not come back in part.
    repeat
      at = at + 1
      if at > #levels then
        return
      end
    until redis.call('ZSCORE', levels[at].windows, places[at].start)
  end
end
-- luacheck: pop
