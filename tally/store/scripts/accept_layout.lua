-- accept_layout: put another layout in the place of the stored one, and note it down.
--
-- KEYS 1 layout    hash        how lines are counted; see tally/layout.py
--      2 history   list        what became of it, the newest first
--      3 dropped   sorted set  length, scored by the start of its oldest window with all that it should hold
--      4 ...       sorted sets, the windows of each stored length
-- ARGV 1 digest    of the layout that is to go; it may have changed since the caller has looked
--      2 changes   JSON, for the history
--      3 most      how many changes the history holds
--      4 lengths   how many lengths are new, then each: its seconds
--      5 ...       of the stored lengths their seconds, then field, value, … of the layout that is to come
--
-- Returns 'accepted', or 'moved' if another layout is stored; nothing was written then.
--
-- Atomic, or an aggregator with the old layout could count after its windows were looked at. From here on scripts refuse it.
--
-- A window of a new length lacks what was counted before, if it begins before the newest window there is ends.

local layout, history, dropped = KEYS[1], KEYS[2], KEYS[3]
local digest, changes, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
local at = 4
local function take()
  at = at + 1
  return ARGV[at - 1]
end
local new = {}
for number = 1, tonumber(take()) do
  new[number] = take()
end
if redis.call('HGET', layout, 'digest') ~= digest then
  return 'moved'
end
local counted_until
for key = 4, #KEYS do
  local seconds, newest = tonumber(take()), redis.call('ZRANGE', KEYS[key], -1, -1)[1]
  if newest then
    counted_until = math.max(counted_until or -math.huge, tonumber(newest) + seconds)
  end
end

local now = redis.call('TIME')[1]
redis.call('DEL', layout) -- takes no memory, so that a full server lets the others pass
redis.call('HSET', layout, 'since', now, unpack(ARGV, at))
redis.call('LPUSH', history, '{"at":' .. now .. ',"changes":' .. changes .. '}')
redis.call('LTRIM', history, 0, most - 1)
if counted_until then
  for _, seconds in ipairs(new) do
    local length = tonumber(seconds)
    redis.call('ZADD', dropped, 'GT', string.format('%d', math.ceil(counted_until / length) * length), seconds)
  end
end
return 'accepted'
