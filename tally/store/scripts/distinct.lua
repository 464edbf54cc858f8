-- distinct: how many names a hash of counts has.
--
-- KEYS 1 counts   hash  name -> count
-- ARGV 1 JSON:
--        other    the word for 'other'
--
-- Returns {how many names besides 'other', the count under 'other' (as text: numbers here are exact to 2^53 only)}.
-- Writes nothing.
--
-- Atomic, or 'other' could be taken for a name. A transaction would do, but Redis 7.0 takes none while it is full, not even
-- to read.

local counts, other = KEYS[1], cjson.decode(ARGV[1]).other

local over = redis.call('HGET', counts, other)
return {redis.call('HLEN', counts) - (over and 1 or 0), over or '0'}
