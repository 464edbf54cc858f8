-- Functions about what is in the stream and what has left it.
--
-- Fields of the hash `backlog`:
--   blocks, bytes      what append.lua and append_once.lua put on the stream and is still there; bytes of `lines`. Entries
--                      that other clients added are not in it
--   gone               how many entries have left the stream for a known reason: settled, dead letters, lost
--   settled, applied   how many chunks were ever settled, and how many of them are in the counts; see settle.lua, apply.lua
--   settled_blocks, settled_bytes
--                      what has left the stream in batches that are not yet all in the counts; bytes as above
--   delta_bytes        of the chunks that are settled and not yet in the counts
--   sum_to, sum_blocks, sum_bytes
--                      while blocks and bytes are added up anew, after a loss: the entry up to which that is done
--   full_blocks, full_bytes
--                      the limits with which the stream was full for a live source, until one puts something on it
--   bulk_full_blocks, bulk_full_bytes
--                      the same for sources that are read in bulk
--   lease              see lease_library.lua

--- @include lease_library

-- luacheck: push ignore 211 (no script uses all of it)
-- When a block was appended, in Unix milliseconds, by its fields; nil if an append script of ours did not add it. Anybody may
-- add entries, so it may be anything.
local function appended_ms_of(fields)
  for at = 1, #fields, 2 do
    if fields[at] == 'appended_ms' and #fields[at + 1] <= 15 and string.match(fields[at + 1], '^%d+$') then
      return tonumber(fields[at + 1])
    end
  end
end

-- How many bytes an entry has in `backlog`; -1 if it is not in it.
local function bytes_of(fields)
  if appended_ms_of(fields) then
    for at = 1, #fields, 2 do
      if fields[at] == 'lines' then
        return #fields[at + 1]
      end
    end
  end
  return -1
end

-- How many entries have left the stream, for whatever reason. Redis counts what was ever added to it.
local function gone_from(stream)
  if redis.call('EXISTS', stream) == 0 then
    return 0
  end
  local flat, about = redis.call('XINFO', 'STREAM', stream), {}
  for at = 1, #flat, 2 do
    about[flat[at]] = flat[at + 1]
  end
  return about['entries-added'] - about.length
end

local function sum_anew(backlog)
  redis.call('HSET', backlog, 'sum_to', '0-0', 'sum_blocks', 0, 'sum_bytes', 0)
end

local function nothing_waits(backlog)
  redis.call('HDEL', backlog, 'sum_to', 'sum_blocks', 'sum_bytes')
  redis.call('HSET', backlog, 'blocks', 0, 'bytes', 0)
end

-- Count as lost what has left the stream for no known reason: it was trimmed, or entries were deleted. Returns how many.
--
-- Not to be called as the first write of a script that must work in a full Redis.
local function find_lost(stream, totals, backlog)
  local length, gone = redis.call('XLEN', stream), gone_from(stream)
  local stored = redis.call('HMGET', backlog, 'blocks', 'gone', 'sum_to')
  local blocks, known, summing = tonumber(stored[1] or 0), tonumber(stored[2]), stored[3]
  local lost = 0
  if known then
    lost = math.max(0, gone - known)
    -- If fewer have left it than we know of, the stream is another one: it was deleted whole, with what waited in it.
    if (gone < known or known == 0) and not summing and lost == 0 then
      lost = math.max(0, blocks - length)
    end
    if lost > 0 then
      redis.call('HINCRBY', totals, 'lost', lost)
    end
  end
  if gone ~= known then
    redis.call('HSET', backlog, 'gone', gone)
  end
  if length == 0 then
    if blocks > 0 then
      nothing_waits(backlog)
    end
  elseif lost > 0 or blocks > length then
    redis.call('HSET', backlog, 'blocks', math.min(blocks, length))
    sum_anew(backlog)
  end
  return lost
end

-- Whether the entry `id` comes behind the entry `other`.
local function is_behind(id, other)
  local ms, number = string.match(id, '^(%d+)-(%d+)$')
  local other_ms, other_number = string.match(other, '^(%d+)-(%d+)$')
  ms, number, other_ms, other_number = tonumber(ms), tonumber(number), tonumber(other_ms), tonumber(other_number)
  return ms > other_ms or ms == other_ms and number > other_number
end

-- Note that a script took entries off the stream: their IDs, the bytes of each as bytes_of says, and how many of them XDEL
-- found there.
local function note_taken(stream, totals, backlog, ids, sizes, found)
  local stored = redis.call('HMGET', backlog, 'blocks', 'bytes', 'gone', 'sum_to', 'sum_blocks', 'sum_bytes')
  local blocks, bytes, summing = tonumber(stored[1] or 0), tonumber(stored[2] or 0), stored[4]
  local sum_blocks, sum_bytes = tonumber(stored[5] or 0), tonumber(stored[6] or 0)
  for at, id in ipairs(ids) do
    if sizes[at] >= 0 then
      blocks, bytes = blocks - 1, bytes - sizes[at]
      if summing and not is_behind(id, summing) then
        sum_blocks, sum_bytes = sum_blocks - 1, sum_bytes - sizes[at]
      end
    end
  end
  local gone = stored[3] and tonumber(stored[3]) + #ids or gone_from(stream)
  if redis.call('XLEN', stream) == 0 then
    nothing_waits(backlog)
  else
    redis.call('HSET', backlog, 'blocks', math.max(0, blocks), 'bytes', math.max(0, bytes))
    if summing then
      redis.call('HSET', backlog, 'sum_blocks', math.max(0, sum_blocks), 'sum_bytes', math.max(0, sum_bytes))
    end
  end
  if found < #ids then
    -- Blocks were deleted that had been read already. They are not lost, if they were counted as that.
    local not_lost = math.min(#ids - found, gone - gone_from(stream))
    if not_lost > 0 then
      redis.call('HINCRBY', totals, 'lost', -not_lost)
      gone = gone - not_lost
    end
    sum_anew(backlog)
  end
  redis.call('HSET', backlog, 'gone', gone)
end

-- Note that a script puts so many blocks on the stream, of so many bytes together, before it does. Returns whether it may, and
-- why not: 'full' while `max_blocks` blocks or `max_bytes` bytes wait to be counted, in the stream or settled, 'held' while
-- somebody has the lease. With `bulk`, those are the limits of a source that is read in bulk.
local function note_put(stream, totals, backlog, blocks, bytes, max_blocks, max_bytes, bulk)
  local full_blocks, full_bytes = 'full_blocks', 'full_bytes'
  if bulk then
    full_blocks, full_bytes = 'bulk_full_blocks', 'bulk_full_bytes'
  end
  local length = redis.call('XLEN', stream) -- settled blocks are deleted, so this is what waits in it
  local stored = redis.call('HMGET', backlog, 'blocks', 'bytes', 'gone', full_blocks, full_bytes, 'settled_blocks',
    'settled_bytes', 'lease')
  if stored[8] and holds_now(stored[8]) then
    return false, 'held'
  end
  local waiting_blocks, waiting_bytes = tonumber(stored[1] or 0), tonumber(stored[2] or 0)
  local all_blocks = length + tonumber(stored[6] or 0)
  if all_blocks >= max_blocks or (all_blocks > 0 and waiting_bytes + tonumber(stored[7] or 0) >= max_bytes) then
    if tonumber(stored[4]) ~= max_blocks or tonumber(stored[5]) ~= max_bytes then
      -- For the status: it does not know the limits. A full Redis may refuse it.
      redis.pcall('HSET', backlog, full_blocks, max_blocks, full_bytes, max_bytes)
    end
    return false, 'full'
  end
  if not stored[3] then
    redis.call('HSET', backlog, 'gone', gone_from(stream))
  elseif length == 0 and waiting_blocks > 0 then
    find_lost(stream, totals, backlog)
    waiting_blocks, waiting_bytes = 0, 0
  end
  redis.call('HSET', backlog, 'blocks', waiting_blocks + blocks, 'bytes', waiting_bytes + bytes)
  if stored[4] then
    redis.call('HDEL', backlog, full_blocks, full_bytes)
  end
  if stored[8] then
    redis.call('HDEL', backlog, 'lease')
  end
  return true
end
-- luacheck: pop
