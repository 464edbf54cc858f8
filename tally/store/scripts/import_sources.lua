-- import_sources: note how far sources were appended under layouts of before, each in the shard of its first stripe.
--
-- KEYS 1 sources       hash        source -> position in bytes
--      2 lasts         hash        source -> POSITION:FINGERPRINT of the bytes before its position
--      3 seen          sorted set  source, scored by its last append in Unix milliseconds
--      4 names         sorted set  the sources that are looked up by how their name begins
--      5 befores       hash        source -> how far it was under layouts of before, JSON; see tally/vectors.py
-- ARGV 1 JSON:
--        imported      a list of objects, one a source:
--          name          its name
--          position      how far its first lane is, as text: Lua writes long numbers as 1e+15
--          last          the fingerprint of the bytes before that, marked if an ingestor that opened the source before is
--                        to append nothing; empty for none
--          before        what is put into `befores`, as text
--          seen_ms       when it was last appended to, in Unix milliseconds, as text
--          listed        whether it is one of `names`
--
-- Returns the names of those that were stored already, unless by the same import; nothing was written of these.
--
-- Atomic, or an ingestor that opened a source in between would append again what it was given.

--- @include layout_library

local sources, lasts, seen, names, befores = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]

local clashes = {}
for _, each in ipairs(arguments.imported) do
  local before = redis.call('HGET', befores, each.name)
  if before ~= each.before then
    -- One at position 0 is an empty file, or one that an ingestor is about to read: nothing was appended of it.
    local position = redis.call('HGET', sources, each.name)
    if before or position and position ~= '0' then
      clashes[#clashes + 1] = each.name
    else
      redis.call('HSET', befores, each.name, each.before)
      redis.call('HSET', sources, each.name, each.position)
      redis.call('HDEL', lasts, each.name)
      if each.last ~= '' then
        redis.call('HSET', lasts, each.name, each.position .. ':' .. each.last)
      end
      redis.call('ZADD', seen, each.seen_ms, each.name)
      if each.listed then
        redis.call('ZADD', names, 0, each.name)
      end
    end
  end
end
return clashes
