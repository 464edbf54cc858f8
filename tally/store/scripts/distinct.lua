-- distinct: how many names a hash of counts has.
--
-- KEYS 1 counts   hash  name -> count
--      2 backlog  hash  see names_library.lua
-- ARGV 1 JSON:
--        other    the word for 'other'
--
-- Returns {how many names besides 'other', the count under 'other' (as text: numbers here are exact to 2^53 only), how often names
-- were moved there}. Writes nothing.
--
-- Atomic, or 'other' could be taken for a name. A transaction would do, but Redis 7.0 takes none while it is full, not even
-- to read.

local counts, backlog, other = KEYS[1], KEYS[2], cjson.decode(ARGV[1]).other

local over = redis.call('HGET', counts, other)
return {redis.call('HLEN', counts) - (over and 1 or 0), over or '0',
  tonumber(redis.call('HGET', backlog, 'moved') or 0) or 0}
