-- forget_sources: forget sources, all that is stored of each together.
--
-- KEYS 1 sources       hash        source -> position in bytes
--      2 lasts         hash        source -> POSITION:FINGERPRINT of the bytes before its position
--      3 seen          sorted set  source, scored by its last append in Unix milliseconds
--      4 names         sorted set  the sources that are looked up by how their name begins
--      5 befores       hash        source -> how far it was under layouts of before
--      6 backlog       hash        see lease_library.lua
-- ARGV 1 JSON:
--        before_ms     only those without an append since then, in Unix milliseconds; none for any
--        source_names  their names
--
-- Returns how many were forgotten; or 'held' if somebody has the lease: it is tidied up another time. Nothing was written then.
--
-- Atomic, or an append in between would be of a source that is forgotten then, and be counted again.

--- @include layout_library
--- @include lease_library

local sources, lasts, seen, names, befores, backlog = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local before_ms = arguments.before_ms or math.huge

if is_held(backlog) then
  return 'held'
end
local forgotten = 0
for _, name in ipairs(arguments.source_names) do
  if tonumber(redis.call('ZSCORE', seen, name) or '0') < before_ms then
    forgotten = forgotten + redis.call('HDEL', sources, name)
    redis.call('HDEL', lasts, name)
    redis.call('HDEL', befores, name)
    redis.call('ZREM', seen, name)
    redis.call('ZREM', names, name)
  end
end
return forgotten
