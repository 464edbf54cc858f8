-- settle_import: have chunks of counts of an export applied, and note how far its import is then.
--
-- KEYS 1 imports  hash  see imports_library.lua
--      2 deltas   list  settled batches; see settle.lua
--      3 list     list  the chunks, staged; its name was never used before
--      4 backlog  hash  see backlog_library.lua
-- ARGV 1 JSON:
--        id               of the export
--        before, after    how far the import is before this, and then, as texts
--        chunks           how many were staged; 0 if only that is to be noted
--        delta_bytes      how many bytes they have
--        max_delta_bytes  how many bytes of settled chunks may wait to be applied
--        expires_ms       how long the list stays if the answer is `full` or `held`, in milliseconds
--
-- Returns {word}, or {'settled', number of the last chunk}:
--   settled   they are to be applied, behind the others
--   written   they were already: the reply to an earlier try was lost
--   moved     the import is elsewhere; see imports_library.lua
--   stale     the list has expired, or lacks chunks
--   full      so much waits to be applied that no more is taken, unless nothing waits
--   held      somebody needs the shard to stay as it is
-- Or {'wrong-type', key, type, expected type}. Nothing was written then, but that a list that is left expires.
--
-- Atomic, or what an import that was killed has added could be added again, or never.

--- @include layout_library
--- @include lease_library
--- @include imports_library
--- @include types_library

local imports, deltas, list, backlog = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

local wrong = wrong_type({deltas, list}, 'list') or wrong_type({imports, backlog}, 'hash')
if wrong then
  return wrong
end
local word = step_of(imports, arguments.id, arguments.before, arguments.after)
if word ~= 'write' then
  return {word}
end
local chunks = arguments.chunks
-- What does not expire is settled already.
if chunks > 0 and (redis.call('PTTL', list) < 0 or redis.call('LLEN', list) ~= 2 * chunks) then
  return {'stale'}
end
local stored = redis.call('HMGET', backlog, 'delta_bytes', 'settled')
local delta_bytes, settled = tonumber(stored[1] or 0), tonumber(stored[2] or 0)
local why_not = is_held(backlog) and 'held'
  or chunks > 0 and delta_bytes >= arguments.max_delta_bytes and redis.call('LLEN', deltas) > 0 and 'full'
if why_not then
  redis.call('PEXPIRE', list, arguments.expires_ms)
  return {why_not}
end

-- The first write takes memory, so a full Redis refuses the script. What is counted of a stream frees its blocks; an import frees
-- nothing, and would go on for ever.
redis.call('HSET', imports, arguments.id, arguments.after)
if chunks > 0 then
  redis.call('PERSIST', list)
  redis.call('RPUSH', deltas, cjson.encode({
    list = list, first = settled + 1, last = settled + chunks, blocks = 0, bytes = 0,
    appended_ms = tonumber(redis.call('TIME')[1]) * 1000,
  }))
  redis.call('HSET', backlog, 'settled', settled + chunks, 'delta_bytes', delta_bytes + arguments.delta_bytes)
end
return {'settled', settled + chunks}
