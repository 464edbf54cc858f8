-- roll: add one closed window's counts to the next longer one and mark it as rolled, together.
--
-- KEYS 1, 2  types and words of the window (hashes)
--      then, a level from the window's own on: windows (sorted set), rolled (sorted set),
--                                              types and words of the window at that level (hashes)
-- ARGV 1 JSON, for layout_library; then the word for 'other', max_types, max_window_words
--      then, a level from the window's own on: start (Unix seconds), how many windows are kept
--
-- Returns 'rolled', 'duplicate' (it was already) or 'gone' (no such window).
--
-- Atomic, or a crash between the two writes would add the window twice, or never.

--- @include layout_library
--- @include windows_library

local types, words = KEYS[1], KEYS[2]
local other, max_types, max_words = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local levels, places = {}, {}
for at = 1, (#KEYS - 2) / 4 do
  local key, argument = 2 + (at - 1) * 4, 3 + (at - 1) * 2
  levels[at] = {windows = KEYS[key + 1], rolled = KEYS[key + 2], kept = tonumber(ARGV[argument + 2])}
  places[at] = {start = tonumber(ARGV[argument + 1]), types = KEYS[key + 3], words = KEYS[key + 4]}
end
local start = places[1].start

if not redis.call('ZSCORE', levels[1].windows, start) then
  return 'gone'
end
if redis.call('ZSCORE', levels[1].rolled, start) then
  return 'duplicate'
end
for _, level in ipairs(levels) do
  level.floor = floor_of(level)
end

local function counts_of(key)
  local flat, names, numbers = redis.call('HGETALL', key), {}, {}
  for at = 1, #flat, 2 do
    names[#names + 1], numbers[#numbers + 1] = flat[at], tonumber(flat[at + 1])
  end
  return {names, numbers}
end
-- A full server refuses what needs memory as a script's first write, but nothing behind one that needs none, which this
-- is: it removes nothing. Only windows that were rolled are dropped, and that is what empties a server full of counts.
redis.call('ZREM', levels[1].rolled, start)
add_to_windows(levels, places, 2, counts_of(types), counts_of(words), max_types, max_words, other)
redis.call('ZADD', levels[1].rolled, start, start)
return 'rolled'
