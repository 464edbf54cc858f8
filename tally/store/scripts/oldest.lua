-- oldest: the block that has waited longest to be counted.
--
-- KEYS 1 stream   stream  the blocks
--
-- Returns {ID, for how long it has waited in milliseconds}, or {} when there is none. Writes nothing.
--
-- In a script, because the entry may hold megabytes, and the server's clock is the one that it was appended by.

--- @include backlog_library

local stream = KEYS[1]

local entry = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
if not entry then
  return {}
end
local id, fields = entry[1], entry[2]
local appended_ms = appended_ms_of(fields) or tonumber(string.match(id, '^%d+'))
local now = redis.call('TIME')
local now_ms = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
return {id, math.max(0, now_ms - appended_ms)}
