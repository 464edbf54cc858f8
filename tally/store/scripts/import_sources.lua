-- import_sources: note how far sources were appended under layouts of before, each in the shard of its first stripe.
--
-- KEYS 1 sources       hash        source -> position in bytes
--      2 lasts         hash        source -> POSITION:FINGERPRINT of the bytes before its position
--      3 seen          sorted set  source, scored by its last append in Unix milliseconds
--      4 names         sorted set  the sources that are looked up by how their name begins
--      5 befores       hash        source -> how far it was under layouts of before, JSON; see tally/vectors.py
--      6 imports       hash        see imports_library.lua
--      7 backlog       hash        see lease_library.lua
-- ARGV 1 JSON:
--        imported      a list of objects, one a source:
--          name          its name
--          position      how far its first lane is, as text: Lua writes long numbers as 1e+15
--          last          the fingerprint of the bytes before that, marked if an ingestor that opened the source before is
--                        to append nothing; empty for none
--          before        what is put into `befores`, as text
--          seen_ms       when it was last appended to, in Unix milliseconds, as text; empty for now
--          listed        whether it is one of `names`
--
--        id             of the export that they are of; nothing if this is no step of an import
--        before, after  how far the import is before this, and then, as texts
--
-- Returns {word, name, ...}:
--   written   they are stored, but for those with these names, which were already, otherwise than by a call with the same
--   stored    this is a step, and these were already, however: nothing was written
--   moved     the import is elsewhere; see imports_library.lua. Nothing was written
--   held      somebody needs the shard to stay as it is; nothing was written
-- Or {'wrong-type', key, type, expected type}; nothing was written then.
--
-- Atomic, or an ingestor that opened a source in between would append again what it was given.

--- @include layout_library
--- @include lease_library
--- @include imports_library
--- @include types_library

local sources, lasts, seen, names, befores = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local imports, backlog, id = KEYS[6], KEYS[7], arguments.id

local wrong = wrong_type({sources, lasts, befores, imports, backlog}, 'hash') or wrong_type({seen, names}, 'zset')
if wrong then
  return wrong
end
if id then
  local word = step_of(imports, id, arguments.before, arguments.after)
  if word ~= 'write' then
    return {word}
  end
end
local stored, missing = {}, {}
for _, each in ipairs(arguments.imported) do
  local before = redis.call('HGET', befores, each.name)
  if id or before ~= each.before then
    -- One at position 0 is an empty file, or one that an ingestor is about to read: nothing was appended of it.
    local position = redis.call('HGET', sources, each.name)
    if before or position and position ~= '0' then
      stored[#stored + 1] = each.name
    else
      missing[#missing + 1] = each
    end
  end
end
if id and #stored > 0 then
  return {'stored', unpack(stored)}
end
if is_held(backlog) then
  return {'held'}
end

ensure_layout()
for _, each in ipairs(missing) do
  redis.call('HSET', befores, each.name, each.before)
  redis.call('HSET', sources, each.name, each.position)
  redis.call('HDEL', lasts, each.name)
  if each.last ~= '' then
    redis.call('HSET', lasts, each.name, each.position .. ':' .. each.last)
  end
  redis.call('ZADD', seen, each.seen_ms ~= '' and each.seen_ms or server_ms(), each.name)
  if each.listed then
    redis.call('ZADD', names, 0, each.name)
  end
end
if id then
  redis.call('HSET', imports, id, arguments.after)
end
return {'written', unpack(stored)}
