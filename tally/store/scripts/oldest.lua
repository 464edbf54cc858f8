-- oldest: the block that has waited longest to be counted.
--
-- KEYS 1 stream   stream  the blocks
--      2 deltas   list    settled batches; see settle.lua
--
-- Returns {ID of the first entry in the stream, '' if it is empty; for how long in milliseconds that, or the oldest block of the
-- first settled batch, has waited}, or {} when there is neither. Writes nothing.
--
-- In a script, because the entry may hold megabytes, and the server's clock is the one that it was appended by.

--- @include backlog_library

local stream, deltas = KEYS[1], KEYS[2]

local entry = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
local head = redis.call('LINDEX', deltas, 0)
if not entry and not head then
  return {}
end
local appended_ms = math.huge
if entry then
  appended_ms = appended_ms_of(entry[2]) or tonumber(string.match(entry[1], '^%d+'))
end
if head then
  appended_ms = math.min(appended_ms, cjson.decode(head).appended_ms)
end
local now = redis.call('TIME')
local now_ms = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
return {entry and entry[1] or '', math.max(0, now_ms - appended_ms)}
