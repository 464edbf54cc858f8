-- windows: what windows there are.
--
-- KEYS 1 layout    hash        its `format` and `windows`
--      2 dropped   sorted set  length, scored by the start of the oldest window that was left when one was dropped
--      then, a length:         windows (sorted set), rolled (sorted set)
--
-- Returns {format, windows} of the layout (false where it has none), {length, score, …} of `dropped`, then of each length
-- {start, …} of its windows and of those that are rolled, the oldest first. Writes nothing.
--
-- Atomic, or a window could be taken for one that is not rolled yet, and its counts be found twice; or the lengths that were
-- asked for be no longer those that are counted. A transaction would do, but Redis 7.0 takes none while it is full, not even
-- to read.

local found = {redis.call('HMGET', KEYS[1], 'format', 'windows'), redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES')}
for at = 3, #KEYS do
  found[at] = redis.call('ZRANGE', KEYS[at], 0, -1)
end
return found
