-- renew_sources: show that sources are still open, so that they are not forgotten.
--
-- KEYS 1 sources       hash        source -> position in bytes
--      2 seen          sorted set  source, scored by its last append, or since then renewal, in Unix milliseconds
-- ARGV 1 JSON:
--        source_names  their names
--
-- Returns how many of them have a position; the others are left alone.
--
-- Under a lease, too: it tells when a source was last seen, and nothing else.
--
-- In a script, because the server's clock is the one that they are forgotten by.

--- @include layout_library

local sources, seen = KEYS[1], KEYS[2]

local now = redis.call('TIME')
local now_ms = now[1] .. string.format('%03d', math.floor(tonumber(now[2]) / 1000))
local renewed = 0
for _, name in ipairs(arguments.source_names) do
  if redis.call('HEXISTS', sources, name) == 1 then
    redis.call('ZADD', seen, now_ms, name)
    renewed = renewed + 1
  end
end
return renewed
