-- Functions about names whose counts are moved to 'other'. Included behind windows_library.lua.
--
-- Fields of the hash `backlog`:
--   moved      how often any counts were moved in this way: what was read before is outdated
--   top_floor  while the sorted set of the top words lacks some, because others were taken out: how often each of those that it
--              lacks had been counted at the most by then. Words above that are all in it; see rebuild_top.lua
--   forgotten  is there while append-only files may still hold what was forgotten: they are to be rewritten

-- luacheck: push ignore 211 (no script uses all of it)
-- Return the counts of these names in a hash, false where it has none.
local function counts_of(key, names)
  local found = {}
  for first = 1, #names, NAMES_AT_ONCE do
    local last = math.min(first + NAMES_AT_ONCE - 1, #names)
    for at, count in ipairs(redis.call('HMGET', key, unpack(names, first, last))) do
      found[first + at - 1] = count
    end
  end
  return found
end

-- Move what a hash has of these names, which it has all, to `other`; `counts` are theirs, as texts.
local function move_to_other(key, names, counts, other)
  local sum = 0
  for _, count in ipairs(counts) do
    sum = sum + (tonumber(count) or 0)
  end
  -- The first write takes no memory: a full Redis would refuse the script.
  for first = 1, #names, NAMES_AT_ONCE do
    redis.call('HDEL', key, unpack(names, first, math.min(first + NAMES_AT_ONCE - 1, #names)))
  end
  add_bounded(key, {other}, {sum}, 0, other)
end

-- Take words that were moved out of the top ones, and note what that set may lack from then on: words that had never been
-- frequent enough for it are not in it. Where it had room, it lacks none.
local function leave_top(top, backlog, names, max_top)
  local floor = -1
  if redis.call('ZCARD', top) >= max_top then
    floor = tonumber(redis.call('ZRANGE', top, 0, 0, 'WITHSCORES')[2])
  end
  local left = 0
  for first = 1, #names, NAMES_AT_ONCE do
    left = left + redis.call('ZREM', top, unpack(names, first, math.min(first + NAMES_AT_ONCE - 1, #names)))
  end
  local stored = tonumber(redis.call('HGET', backlog, 'top_floor') or -1) or -1
  if left > 0 and floor > stored then
    redis.call('HSET', backlog, 'top_floor', string.format('%d', floor))
  end
end

-- Have types that were moved lose their numbers. Their tables are deleted later, by whoever comes across `retired`.
local function retire(numbers, numbered, retired, types)
  local some = false
  for _, type_ in ipairs(types) do
    local number = string.match(redis.call('HGET', numbers, type_) or '', '^%d+')
    if number then
      redis.call('HDEL', numbers, type_)
      redis.call('ZADD', retired, number, number)
      some = true
    end
  end
  if some then
    redis.call('INCR', numbered) -- so that whoever knows the numbers of before looks again
  end
end
-- luacheck: pop
