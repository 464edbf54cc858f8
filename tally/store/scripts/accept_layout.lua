-- accept_layout: put another layout in the place of the stored one, and note it down.
--
-- KEYS 1 layout    hash        how lines are counted; see tally/layout.py
--      2 history   list        what became of it, the newest first
--      3 dropped   sorted set  length, scored by the start of its oldest window with all that it should hold
--      4 ...       sorted sets, the windows of each stored length
-- ARGV 1 JSON:
--        digest    of the layout that is to go; it may have changed since the caller has looked
--        changes   JSON as text, for the history
--        most      how many changes the history holds
--        new       the lengths that are new, in seconds
--        stored    the stored lengths, in seconds, in the order of KEYS
--        layout    field -> value of the layout that is to come
--
-- Returns 'accepted', or 'moved' if another layout is stored; nothing was written then.
--
-- Atomic, or an aggregator with the old layout could count after its windows were looked at. From here on scripts refuse it.
--
-- A window of a new length lacks what was counted before, if it begins before the newest window there is ends.

local layout, history, dropped = KEYS[1], KEYS[2], KEYS[3]
local arguments = cjson.decode(ARGV[1])
local fields = {}
for field, value in pairs(arguments.layout) do
  fields[#fields + 1] = field
  fields[#fields + 1] = value
end

if redis.call('HGET', layout, 'digest') ~= arguments.digest then
  return 'moved'
end
local counted_until
for at, seconds in ipairs(arguments.stored) do
  local newest = redis.call('ZRANGE', KEYS[3 + at], -1, -1)[1]
  if newest then
    counted_until = math.max(counted_until or -math.huge, tonumber(newest) + seconds)
  end
end

local now = redis.call('TIME')[1]
redis.call('DEL', layout) -- takes no memory, so that a full server lets the others pass
redis.call('HSET', layout, 'since', now, unpack(fields))
redis.call('LPUSH', history, '{"at":' .. now .. ',"changes":' .. arguments.changes .. '}')
redis.call('LTRIM', history, 0, arguments.most - 1)
if counted_until then
  for _, seconds in ipairs(arguments.new) do
    redis.call('ZADD', dropped, 'GT', string.format('%d', math.ceil(counted_until / seconds) * seconds), seconds)
  end
end
return 'accepted'
