-- create_group: make the consumer group, from the stream's first entry on; and the stream, if there is none.
--
-- KEYS 1 stream    stream  the blocks
--      2 backlog   hash    see backlog_library.lua
-- ARGV 1 JSON:
--        group
--
-- Returns 'created' or 'exists'.
--
-- In a script, because a full Redis refuses XGROUP CREATE by itself, and blocks leave the stream only through a group: a
-- stream that was filled before it had one would stay full for ever. Atomic only for that.

--- @include layout_library

local stream, backlog, group = KEYS[1], KEYS[2], arguments.group

-- Changes nothing. A full Redis refuses a script whose first write may take memory.
redis.call('HDEL', backlog, '')

-- From the start, never from `$`: what was appended before is to be counted.
local reply = redis.pcall('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')
if reply.err and string.find(reply.err, 'BUSYGROUP', 1, true) then
  return 'exists'
end
if reply.err then
  return reply
end
return 'created'
