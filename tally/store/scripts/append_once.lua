-- append_once: put a whole body onto the stream, unless it is there already.
--
-- KEYS 1 stream        stream      the blocks that are not yet counted
--      2 new           hash        key -> digest of the body that was appended under it; under the empty key, since when
--                                  keys are put here, in Unix milliseconds
--      3 old           hash        the same of the time before: what was `new` then
--      4 sources       hash        source -> position; for a source without positions, bytes so far
--      5 seen          sorted set  source, scored by its last append in Unix milliseconds
--      6 names         sorted set  the sources that are looked up by how their name begins
--      7 backlog       hash        see backlog_library.lua
--      8 totals        hash        its `lost`
-- ARGV 1 JSON:
--        source        name of where the lines come from
--        keep_ms       how long the key is remembered at the least, in milliseconds, unless there are too many
--        max_keys      how many keys are remembered; at the least the last half of so many
--        max_blocks    how many blocks the stream may hold
--        max_bytes     how many bytes
--      2 key           by which the body is known again, not empty
--      3 digest        of the body
--      4 ...           the blocks, at least one
--
-- Returns a word:
--   appended    all of the blocks are on the stream
--   duplicate   they were already: the reply to an earlier try was lost, or the client's own retry
--   conflict    another body was appended under this key; nothing was written
--   full        the stream holds max_blocks blocks or max_bytes bytes; nothing was written but that
--   held        somebody has the lease; nothing was written
--
-- Atomic, or a crash between the blocks or before the key would make a retry repeat a part of the body.
-- A body is never split: the stream may go over its limit by the blocks of one.
--
-- Two hashes that take turns are half the memory of a key of its own for each, and forgetting half of them is one command.

--- @include layout_library
--- @include backlog_library

local stream, new, old = KEYS[1], KEYS[2], KEYS[3]
local sources, seen, names, backlog, totals = KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local key, digest, keep_ms, source = ARGV[1], ARGV[2], arguments.keep_ms, arguments.source

local holder = new
local known = redis.call('HGET', new, key)
if not known then
  holder, known = old, redis.call('HGET', old, key)
end
if known == digest then
  -- A write, though nothing changes: a client that waits for the disk waits for a write of this connection. It takes no memory.
  redis.call('PEXPIRE', holder, math.max(1000, redis.call('PTTL', holder)))
  return 'duplicate'
end
if known then
  return 'conflict'
end
local blocks, bytes = #ARGV - 2, 0
for at = 3, #ARGV do
  bytes = bytes + #ARGV[at]
end
local fits, why_not = note_put(stream, totals, backlog, blocks, bytes, arguments.max_blocks, arguments.max_bytes)
if not fits then
  return why_not
end

ensure_layout()
local now = redis.call('TIME')
local now_ms = now[1] .. string.format('%03d', math.floor(tonumber(now[2]) / 1000))
for at = 3, #ARGV do
  redis.call('XADD', stream, '*', 'lines', ARGV[at], 'source', source, 'appended_ms', now_ms)
end

local since = redis.call('HGET', new, '')
if since and (tonumber(now_ms) - tonumber(since) >= keep_ms or redis.call('HLEN', new) > arguments.max_keys / 2) then
  redis.call('UNLINK', old)
  redis.call('RENAME', new, old)
  since = false
end
if not since then
  -- Keys are put here for as long as one is kept, and the last of them must be kept for as long again.
  redis.call('HSET', new, '', now_ms)
  redis.call('PEXPIRE', new, 2 * keep_ms)
end
redis.call('HSET', new, key, digest)

local taken = bytes + blocks -- each with a line end
if redis.call('HINCRBY', sources, source, taken) == taken then
  redis.call('ZADD', names, 0, source)
end
redis.call('ZADD', seen, now_ms, source)
return 'appended'
