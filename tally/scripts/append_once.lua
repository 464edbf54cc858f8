-- append_once: put a whole body onto the stream, unless it is there already.
-- Uses backlog_library.lua.
--
-- KEYS 1 stream        stream      the blocks that are not yet counted
--      2 once          string      digest of the body that was appended under this key
--      3 sources       hash        source -> position; for a source without positions, bytes so far
--      4 seen          sorted set  source, scored by its last append in Unix milliseconds
--      5 names         sorted set  the sources that are looked up by how their name begins
--      6 backlog       hash        see backlog_library.lua
--      7 totals        hash        its `lost`
-- ARGV 1 digest        of the body
--      2 keep          how long the key is remembered, in milliseconds
--      3 source        name of where the lines come from
--      4 max_blocks    how many blocks the stream may hold
--      5 max_bytes     how many bytes
--      6 ...           the blocks, at least one
--
-- Returns a word:
--   appended    all of the blocks are on the stream
--   duplicate   they were already: the reply to an earlier try was lost, or the client's own retry
--   conflict    another body was appended under this key; nothing was written
--   full        the stream holds max_blocks blocks or max_bytes bytes; nothing was written but that
--
-- Atomic, or a crash between the blocks or before the key would make a retry repeat a part of the body.
-- A body is never split: the stream may go over its limit by the blocks of one.

local stream, once, sources, seen, names = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local backlog, totals = KEYS[6], KEYS[7]
local digest, keep, source = ARGV[1], ARGV[2], ARGV[3]
local max_blocks, max_bytes = tonumber(ARGV[4]), tonumber(ARGV[5])

local known = redis.call('GET', once)
if known == digest then
  -- A write, though nothing changes: whoever waits for the disk now waits for a write of this connection.
  redis.call('PEXPIRE', once, keep)
  return 'duplicate'
end
if known then
  return 'conflict'
end
local blocks, bytes = #ARGV - 5, 0
for at = 6, #ARGV do
  bytes = bytes + #ARGV[at]
end
if not note_put(stream, totals, backlog, blocks, bytes, max_blocks, max_bytes) then
  return 'full'
end

keep_layout()
local now = redis.call('TIME')
local now_ms = now[1] .. string.format('%03d', math.floor(tonumber(now[2]) / 1000))
for at = 6, #ARGV do
  redis.call('XADD', stream, '*', 'lines', ARGV[at], 'source', source, 'appended_ms', now_ms)
end
redis.call('SET', once, digest, 'PX', keep)
local taken = bytes + blocks -- each with a line end
if redis.call('HINCRBY', sources, source, taken) == taken then
  redis.call('ZADD', names, 0, source)
end
redis.call('ZADD', seen, now_ms, source)
return 'appended'
