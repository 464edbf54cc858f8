-- windows: what windows there are.
--
-- KEYS 1 dropped   sorted set  length, scored by the start of the oldest window that was left when one was dropped
--      then, a length:         windows (sorted set), rolled (sorted set)
--
-- Returns {length, score, …} of `dropped`, then of each length {start, …} of its windows and of those that are rolled, the
-- oldest first. Writes nothing.
--
-- Atomic, or a window could be taken for one that is not rolled yet, and its counts be found twice. A transaction would do,
-- but Redis 7.0 takes none while it is full, not even to read.

local found = {redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')}
for at = 2, #KEYS do
  found[at] = redis.call('ZRANGE', KEYS[at], 0, -1)
end
return found
