-- register_sources: note sources at position 0 that an ingestor is about to read.
--
-- KEYS 1 sources       hash        source -> position in bytes
--      2 seen          sorted set  source, scored by its last append in Unix milliseconds
--      3 names         sorted set  the sources that are looked up by how their name begins
-- ARGV 1 JSON:
--        source_names  their names
--        listed        whether each of them is listed in `names`, in their order
--
-- Returns how many were not stored; the others are left alone.
--
-- Under a lease, too: a source at position 0 is one of which nothing is stored.
--
-- Atomic, or a crash in between would leave some of the files that Redis has forgotten unread.

--- @include layout_library

local sources, seen, names = KEYS[1], KEYS[2], KEYS[3]

local now = redis.call('TIME')
local now_ms = now[1] .. string.format('%03d', math.floor(tonumber(now[2]) / 1000))
local registered = 0
for at, name in ipairs(arguments.source_names) do
  if redis.call('HSETNX', sources, name, 0) == 1 then
    redis.call('ZADD', seen, now_ms, name)
    if arguments.listed[at] then
      redis.call('ZADD', names, 0, name)
    end
    registered = registered + 1
  end
end
return registered
