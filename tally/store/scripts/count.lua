-- count: take a batch of blocks off the stream and add what they hold to the counts, together.
--
-- KEYS 1 stream      stream      the blocks
--      2 types       hash        event type -> count
--      3 words       hash        word -> count
--      4 top         sorted set  the most frequent words
--      5 totals      hash        events, words, rejected, padded, lines, bytes, blocks
--      6 rejected    stream      samples
--      7 backlog     hash        see backlog_library.lua
--      then, a level:            windows (sorted set), rolled (sorted set)
--      then, a section, a level from its own on: types of the window (hash), words of the window (hash)
-- ARGV 1 JSON, for layout_library; then group, consumer, the word for 'other'
--      max_types, max_words, max_window_words, max_top, max_samples
--      levels, then of each: how many windows are kept
--      blocks, then of each: its entry ID; the bytes of its `lines`, or -1 if it has no `appended_ms`
--      rejected lines, lines with padding, bytes
--      sections, the newest first, then of each: the number of its level (one over the last: no window is so old);
--                              the start of its window at each level from there on; types and words, each as JSON: a
--                              list of names and a list of their counts, in a list
--      samples, then of each: line, reason, source
--
-- Returns {'applied', how many of the shortest windows there are}, or {'missing', ID…} with the blocks that are not
-- pending to this consumer, because another aggregator claimed or counted them; then nothing was written.
--
-- Atomic, or a block could be counted and delivered again, or acknowledged and never counted.

--- @include layout_library
--- @include backlog_library
--- @include windows_library

local argument = 0
local function take()
  argument = argument + 1
  return ARGV[argument]
end
local function take_number()
  return tonumber(take())
end
local key = 7
local function take_key()
  key = key + 1
  return KEYS[key]
end

local stream, types, words, top, totals, rejected = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local backlog = KEYS[7]
local group, consumer, other = take(), take(), take()
local max_types, max_words, max_window_words = take_number(), take_number(), take_number()
local max_top, max_samples = take_number(), take_number()
local levels = {}
for at = 1, take_number() do
  levels[at] = {windows = take_key(), rolled = take_key(), kept = take_number()}
end
local ids, sizes = {}, {}
for at = 1, take_number() do
  ids[at], sizes[at] = take(), take_number()
end
local rejected_lines, padded_lines, bytes = take_number(), take_number(), take_number()

-- Checks. The list of pending entries is the gate: a consumer that finds a block in it, pending to itself, may count it, once. To
-- itself, because an ID may come again with another block: from a replica that was promoted without the newest entries, and
-- whose clock is behind. No two processes have the same consumer.
local missing = {'missing'}
for _, id in ipairs(ids) do
  if #redis.call('XPENDING', stream, group, id, id, 1, consumer) == 0 then
    missing[#missing + 1] = id
  end
end
if #missing > 1 then
  return missing
end

-- All is read before anything is written, because what was written stays when an error ends a script.
local sections = {}
for number = 1, take_number() do
  local first, places = take_number(), {}
  for at = first, #levels do
    places[at] = {start = take_number(), types = take_key(), words = take_key()}
  end
  sections[number] = {first = first, places = places, types = cjson.decode(take()), words = cjson.decode(take())}
end

-- Writes. The first ones take no memory: a full Redis would refuse the script.
local found = 0
for first = 1, #ids, 1000 do -- unpack takes under 8,000 values
  local last = math.min(first + 999, #ids)
  redis.call('XACK', stream, group, unpack(ids, first, last))
  found = found + redis.call('XDEL', stream, unpack(ids, first, last))
end
ensure_layout()
note_taken(stream, totals, backlog, ids, sizes, found)

for _, level in ipairs(levels) do
  level.floor = floor_of(level)
end
for _, section in ipairs(sections) do
  add_to_windows(levels, section.places, section.first, section.types, section.words, max_types, max_window_words, other)
end

local function add_up(field)
  if #sections == 1 then
    return sections[1][field]
  end
  local names, numbers, places = {}, {}, {}
  for _, section in ipairs(sections) do
    for at, name in ipairs(section[field][1]) do
      local place = places[name]
      if not place then
        place = #names + 1
        names[place], numbers[place], places[name] = name, 0, place
      end
      numbers[place] = numbers[place] + section[field][2][at]
    end
  end
  return {names, numbers}
end
local function sum(numbers)
  local total = 0
  for _, number in ipairs(numbers) do
    total = total + number
  end
  return total
end
local all_types, all_words = add_up('types'), add_up('words')

add_bounded(types, all_types[1], all_types[2], max_types, other)

-- Counts only grow, so a word that belongs among the top was above the lowest of them at its last increment: adding
-- just those that are above it keeps the set exact. (Ranking the whole hash now and then would be late and slow.)
local floor = -1
if redis.call('ZCARD', top) >= max_top then
  floor = tonumber(redis.call('ZRANGE', top, 0, 0, 'WITHSCORES')[2])
end
local risen, last = {}, 0
add_bounded(words, all_words[1], all_words[2], max_words, other, function(word, total)
  if total > floor then
    risen[last + 1], risen[last + 2] = total, word
    last = last + 2
  end
end)
for first = 1, last, 2 * NAMES_AT_ONCE do
  redis.call('ZADD', top, unpack(risen, first, math.min(first + 2 * NAMES_AT_ONCE - 1, last)))
end
local too_many = redis.call('ZCARD', top) - max_top
if too_many > 0 then
  redis.call('ZREMRANGEBYRANK', top, 0, too_many - 1)
end

local function add_total(field, count)
  if count > 0 then
    redis.call('HINCRBY', totals, field, count)
  end
end
local events = sum(all_types[2])
add_total('events', events)
add_total('words', sum(all_words[2]))
add_total('rejected', rejected_lines)
add_total('padded', padded_lines)
add_total('lines', events + rejected_lines)
add_total('bytes', bytes)
add_total('blocks', #ids)

local now = redis.call('TIME')
local now_ms = now[1] .. string.format('%03d', math.floor(tonumber(now[2]) / 1000))
for _ = 1, take_number() do
  local line, reason, source = take(), take(), take()
  redis.call('XADD', rejected, 'MAXLEN', max_samples, '*', 'line', line, 'reason', reason, 'source', source,
    'rejected_ms', now_ms)
end
return {'applied', redis.call('ZCARD', levels[1].windows)}
