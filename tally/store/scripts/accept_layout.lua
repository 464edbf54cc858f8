-- accept_layout: put another layout in the place of the stored one, and note it down.
--
-- KEYS 1 layout    hash        how lines are counted; see tally/layout.py
--      2 history   list        what became of it, the newest first
--      3 deltas    list        batches that are settled and not yet applied
--      4 floors    sorted set  length, scored by its floor
--      5 numbers   hash        type -> `NUMBER:SINCE`, of those whose words are counted apart
--      6 numbered  string      how many such numbers were ever given
--      7 retired   sorted set  those that no type has any more
--      8 backlog   hash        see lease_library.lua
--      then, a stored length:      windows (sorted set)
--      then, a length whose windows cannot stay:   windows (sorted set), where they go (sorted set)
-- ARGV 1 JSON:
--        stored    format and digest of the layout that is to go; it may have changed since the caller has looked
--        changes   JSON as text, for the history
--        most      how many changes the history holds
--        lengths   the stored lengths, in seconds, in the order of KEYS
--        lacking   lengths that lack what was counted before: [seconds, a shorter length that has it, or 0 if none does], …
--        layout    field -> value of the layout that is to come
--        most_types   how many types may have their words counted apart from now on
--        types        which these are, if they are named
--
-- Returns 'accepted'; 'moved' if another layout is stored; 'settled' if a batch waits to be applied, which only one with the
-- stored layout can be; 'held' if somebody has the lease. With the last three nothing was written.
--
-- Atomic, or an aggregator with the old layout could count after its windows were looked at. From here on scripts refuse it.
--
-- A window of a new length lacks what was counted before, if it begins before the newest window there is ends. Or before a
-- floor: that was above all windows if it was raised here, and what came for a time before it since then is in no window. Where
-- a shorter length goes on that holds it, the two are added up, and it lacks only what is before that length's floor.

--- @include lease_library

local layout, history, deltas, floors = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local numbers, numbered, retired, backlog = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local arguments = cjson.decode(ARGV[1])
local fields = {}
for field, value in pairs(arguments.layout) do
  fields[#fields + 1] = field
  fields[#fields + 1] = value
end

local stored = redis.call('HMGET', layout, 'format', 'digest')
if stored[1] ~= arguments.stored.format or (stored[2] or '') ~= arguments.stored.digest then
  return 'moved'
end
if redis.call('LLEN', deltas) > 0 then
  return 'settled'
end
if is_held(backlog) then
  return 'held'
end
local counted_until -- in windows of the shortest length of which there are any
for at, seconds in ipairs(arguments.lengths) do
  local newest = redis.call('ZRANGE', KEYS[8 + at], -1, -1)[1]
  if newest and not counted_until then
    counted_until = tonumber(newest) + seconds
  end
end
for _, seconds in ipairs(arguments.lengths) do
  local floor = redis.call('ZSCORE', floors, seconds)
  if floor then
    counted_until = math.max(counted_until or -math.huge, tonumber(floor))
  end
end

local since = {} -- as it is before any floor is raised
for at, each in ipairs(arguments.lacking) do
  local shorter = each[2]
  if shorter > 0 then
    since[at] = redis.call('ZSCORE', floors, shorter)
  else
    since[at] = counted_until
  end
end

local now = redis.call('TIME')[1]
redis.call('DEL', layout) -- takes no memory, so that a full server lets the others pass
redis.call('HSET', layout, 'since', now, unpack(fields))
redis.call('LPUSH', history, '{"at":' .. now .. ',"changes":' .. arguments.changes .. '}')
redis.call('LTRIM', history, 0, arguments.most - 1)
for at, each in ipairs(arguments.lacking) do
  local seconds = each[1]
  if since[at] then
    redis.call('ZADD', floors, 'GT', string.format('%d', math.ceil(tonumber(since[at]) / seconds) * seconds), seconds)
  end
end
for at = 9 + #arguments.lengths, #KEYS, 2 do
  redis.call('ZUNIONSTORE', KEYS[at + 1], 2, KEYS[at + 1], KEYS[at], 'AGGREGATE', 'MAX')
  redis.call('UNLINK', KEYS[at])
end

-- Types that are to have no words of their own any more lose their numbers: all but the oldest ones, or but those that are named.
local named, numbered_types = {}, {}
for _, type_ in ipairs(arguments.types or {}) do
  named[type_] = true
end
local flat = redis.call('HGETALL', numbers)
for at = 1, #flat, 2 do
  numbered_types[#numbered_types + 1] = {flat[at], tonumber(string.match(flat[at + 1], '^%d+')) or 0}
end
table.sort(numbered_types, function(one, another) return one[2] < another[2] end)
local some_retired = false
for at, each in ipairs(numbered_types) do
  local type_, number = each[1], each[2]
  local stays = at <= arguments.most_types
  if arguments.types then
    stays = named[type_]
  end
  if not stays then
    redis.call('HDEL', numbers, type_)
    redis.call('ZADD', retired, number, string.format('%d', number))
    some_retired = true
  end
end
if some_retired then
  redis.call('INCR', numbered) -- so that whoever knows the numbers of before looks again
end
return 'accepted'
