-- apply: add the oldest settled chunk to the counts.
--
-- KEYS 1 deltas        list        settled batches; see settle.lua
--      2 list          list        the chunks of the first of them: targets and body of each, by turns; see tally/deltas.py
--      3 backlog       hash        see backlog_library.lua
--      4 totals        hash        events, words, rejected, padded, lost, lines, bytes, blocks; rejected lines by reason
--      5 rejected      stream      samples
--      6 dead_letters  stream      chunks that cannot be read: `targets`, `body`, `chunk`, their number, `blocks`, of their batch,
--                                  `lengths`, of the windows that levels are of, in seconds, `appended_ms`, of their batch
--      7 top           sorted set  the most frequent names of one kind
--      8 floors        sorted set  see windows_library.lua
--      9 numbers       hash        type -> `NUMBER:SINCE`, of those whose words are counted apart
--      10 accepted     stream      samples of accepted lines
--      then, a level:              windows (sorted set)
--      then, a place of the chunk's targets: all time (hash), or the window (hash), and unless its counts are a copy, the windows
--                                  that hold it, a longer level each (hashes)
-- ARGV 1 JSON:
--        number       of the chunk, of all that were ever settled
--        unreadable   whether the caller cannot make keys of its targets
--        levels       of each, the shortest first: `seconds`, `kept`
--        tables       table -> `most` names over all time, `most_in_window`; of those of types with a number, `NAME@`
--        other        the word for 'other'
--        ranked       the table whose most frequent names are in `top`
--        largest      the table of which the largest number of a name is kept, and not their sum
--        max_top      how many these are
--        max_samples  of rejected lines
--        max_accepted  of accepted ones, 0 for none, which stay for `accepted_seconds` after the last
--        upcoming     of how many chunks to tell the targets
--
-- Returns {word, targets of the next chunks of the batch, floors, whether windows are overdue}:
--   applied   its counts are in the hashes
--   poison    it cannot be read; it is a dead letter now
--   lost      somebody has deleted the list: the batch's blocks count as lost
-- There are no targets at the end of a batch; the floors are a text a level, empty where there is none.
-- Or {'moved'}: this chunk is not the next one; or {'wrong-type', key, type, expected type}. Nothing was written then.
--
-- Words of a type go nowhere if it has another number, or none any more, as with a dead letter that comes late: they are among
-- all words, too, and the hash would be that of another type, or of none.
--
-- Atomic, or a chunk could be added twice, or in part.

--- @include layout_library
--- @include types_library
--- @include windows_library

local deltas, list, backlog, totals, rejected = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local dead_letters, top, floors_key, numbers, accepted = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local levels, other = arguments.levels, arguments.other
local number, max_top = arguments.number, arguments.max_top
local windows, hashes = take_keys(levels, 11)

local wrong = wrong_type({deltas, list}, 'list') or wrong_type({backlog, totals, numbers}, 'hash')
  or wrong_type({rejected, dead_letters, accepted}, 'stream') or wrong_type({top, floors_key}, 'zset')
  or wrong_type(windows, 'zset') or wrong_type(hashes, 'hash')
if wrong then
  return wrong
end
local head = redis.call('LINDEX', deltas, 0)
local batch = head and cjson.decode(head)
if not batch or batch.list ~= list or batch.last + 1 - math.ceil(redis.call('LLEN', list) / 2) ~= number then
  return {'moved'}
end
local stored = redis.call('HMGET', backlog, 'delta_bytes', 'settled_blocks', 'settled_bytes')
local appended_ms = string.format('%d', tonumber(batch.appended_ms) or 0)

-- Returns the places, each with its names, their counts and its keys, and the totals and the samples. Raises an error if anything
-- is not as it should be.
local function decoded(targets, body)
  local parts, totals_of, samples = unpack(cmsgpack.unpack(body))
  local places, key = {}, 0
  for at, target in ipairs(cjson.decode(targets)) do
    local table_, of_type = target[1], target[3]
    local names, counts = parts[at][1], parts[at][2]
    local most = arguments.tables[(string.gsub(table_, '@.*', '@'))]
    assert(#names == #counts and most)
    local stands = true
    if of_type then
      local found = redis.call('HGET', numbers, of_type)
      stands = found and 'words@' .. string.match(found, '^%d*') == table_
    end
    for name = 1, #names do
      assert(type(names[name]) == 'string' and counts[name] >= 0 and counts[name] % 1 == 0)
    end
    for _, place in ipairs(target[2]) do
      local level, start = place[1], place[2]
      if stands then
        places[#places + 1] = {table = table_, most = most, level = level, start = start, names = names, counts = counts, key = key}
      end
      key = key + (is_copy(levels, level) and 1 or #levels - level + 1)
    end
  end
  assert(key == #hashes)
  for _, count in pairs(totals_of) do
    assert(count >= 0)
  end
  for _, sample in ipairs(samples) do
    assert(#sample == 3 or #sample == 4 and sample[4] == true)
  end
  return {places = places, totals = totals_of, samples = samples}
end
local chunk = redis.call('LRANGE', list, 0, 1)
local readable, content = false, nil
if #chunk == 2 and not arguments.unreadable then
  readable, content = pcall(decoded, chunk[1], chunk[2])
end
if readable then
  for field in pairs(content.totals) do
    local total = redis.call('HGET', totals, field)
    if total and not string.match(total, '^%-?%d+$') then
      return {'wrong-type', totals, field .. ' ' .. total, 'number'}
    end
  end
end
local floors = floors_of(levels, floors_key, readable and newest_of(content.places) or nil)

-- The first write takes no memory: a full Redis would refuse the script.
redis.call('LPOP', list, 2)

-- Keeps the larger number of each name; one that there is no room for counts as `other`, as with add_bounded.
local function keep_largest(key, names, largest, max, other_name)
  for at, name in ipairs(names) do
    local found = redis.call('HGET', key, name)
    if not found and name ~= other_name and redis.call('HLEN', key) - redis.call('HEXISTS', key, other_name) >= max then
      name = other_name
      found = redis.call('HGET', key, name)
    end
    if largest[at] > (tonumber(found or 0) or 0) then
      redis.call('HSET', key, name, string.format('%d', largest[at]))
    end
  end
end

-- Counts only grow, so a word that belongs among the top was above the lowest of them at its last increment: adding just those
-- that are above it keeps the set exact. (Ranking the whole hash now and then would be late and slow.)
local function add_to_all_time(place)
  if place.table == arguments.largest then
    keep_largest(hashes[place.key + 1], place.names, place.counts, place.most.most, other)
    return
  end
  if place.table ~= arguments.ranked then
    add_bounded(hashes[place.key + 1], place.names, place.counts, place.most.most, other)
    return
  end
  local lowest = -1
  if redis.call('ZCARD', top) >= max_top then
    lowest = tonumber(redis.call('ZRANGE', top, 0, 0, 'WITHSCORES')[2])
  end
  local risen, last = {}, 0
  add_bounded(hashes[place.key + 1], place.names, place.counts, place.most.most, other, function(name, total)
    if total > lowest then
      risen[last + 1], risen[last + 2] = total, name
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
end

local word = #chunk == 0 and 'lost' or readable and 'applied' or 'poison'
if word == 'poison' then
  local lengths = {}
  for level, length in ipairs(levels) do
    lengths[level] = length.seconds
  end
  redis.call('XADD', dead_letters, '*', 'targets', chunk[1], 'body', chunk[2] or '', 'chunk', number, 'blocks', batch.blocks,
    'lengths', table.concat(lengths, ','), 'appended_ms', appended_ms)
elseif word == 'applied' then
  for _, place in ipairs(content.places) do
    if place.level == 0 then
      add_to_all_time(place)
    else
      local level, start = level_for(levels, floors, place.level, place.start)
      if level then
        enter_window(levels, floors, level, start)
        add_bounded(hashes[place.key + 1 + level - place.level], place.names, place.counts, place.most.most_in_window, other)
      end
    end
  end
  store_floors(levels, floors_key, floors)
  local now = redis.call('TIME')
  local now_ms = now[1] .. string.format('%03d', math.floor(tonumber(now[2]) / 1000))
  local keeps = false
  for _, sample in ipairs(content.samples) do
    if not sample[4] then
      redis.call('XADD', rejected, 'MAXLEN', arguments.max_samples, '*', 'line', sample[1], 'reason', sample[2],
        'source', sample[3], 'rejected_ms', now_ms)
    elseif arguments.max_accepted > 0 then
      redis.call('XADD', accepted, 'MAXLEN', arguments.max_accepted, '*', 'line', sample[1], 'source', sample[3],
        'accepted_ms', now_ms)
      keeps = true
    end
  end
  if keeps then
    redis.call('EXPIRE', accepted, arguments.accepted_seconds)
  end
  for field, count in pairs(content.totals) do
    if count > 0 then
      redis.call('HINCRBY', totals, field, count)
    end
  end
end

local targets = redis.call('LINDEX', list, 0)
local delta_bytes = math.max(0, tonumber(stored[1] or 0) - #(chunk[1] or '') - #(chunk[2] or ''))
if targets then
  redis.call('HSET', backlog, 'applied', number, 'delta_bytes', delta_bytes)
else
  if word == 'lost' then
    redis.call('HINCRBY', totals, 'lost', batch.blocks)
  end
  redis.call('LPOP', deltas)
  local blocks, bytes = tonumber(stored[2] or 0) - batch.blocks, tonumber(stored[3] or 0) - batch.bytes
  if redis.call('EXISTS', deltas) == 0 then
    delta_bytes, blocks, bytes = 0, 0, 0
  end
  redis.call('HSET', backlog, 'applied', batch.last, 'delta_bytes', delta_bytes,
    'settled_blocks', math.max(0, blocks), 'settled_bytes', math.max(0, bytes))
end
local upcoming = {targets or nil}
for at = 1, targets and arguments.upcoming - 1 or 0 do
  upcoming[1 + at] = redis.call('LINDEX', list, 2 * at) or nil
end
return {word, upcoming, texts_of(floors), is_overdue(levels, floors) and 1 or 0}
