-- import_once: take over idempotency keys of an export, so that what was appended under them is not appended again.
--
-- KEYS 1 imports  hash  see imports_library.lua
--      2 backlog  hash  see lease_library.lua
--      3 keys     hash  `new` or `old` of append_once.lua: key -> digest of a body; under the empty one since when, in Unix ms
-- ARGV 1 JSON:
--        id             of the export
--        before, after  how far the import is before this, and then, as texts
--        since_ms       since when keys were put there, in Unix milliseconds, as text
--        expires_ms     when they are to be forgotten, likewise
--      2 ...            a key and its digest, by turns
--
-- Returns a word:
--   written   they are there, or are forgotten by now; some may have been already
--   moved     the import is elsewhere; see imports_library.lua
--   held      somebody needs the shard to stay as it is
-- Or {'wrong-type', key, type, expected type}. Nothing was written then.
--
-- A key that is there already stays as it is. Of two times since when keys are put there the later one holds: what is in `old` goes
-- when keys were put into `new` for as long as one is kept, and is as young as that time. The hash itself goes at the later one of
-- two times, too. So no key is forgotten earlier than where it came from, unless there are too many.
--
-- Atomic, or there could be keys without a time, which would never be forgotten.

--- @include layout_library
--- @include lease_library
--- @include imports_library
--- @include types_library

local imports, backlog, keys = KEYS[1], KEYS[2], KEYS[3]
local since_ms, expires_ms = arguments.since_ms, arguments.expires_ms

local wrong = wrong_type({imports, backlog, keys}, 'hash')
if wrong then
  return wrong
end
local word = step_of(imports, arguments.id, arguments.before, arguments.after)
if word ~= 'write' then
  return word
end
if is_held(backlog) then
  return 'held'
end

ensure_layout()
if tonumber(expires_ms) > server_ms() then
  for at = 1, #ARGV, 2 do
    redis.call('HSETNX', keys, ARGV[at], ARGV[at + 1])
  end
  local since = redis.call('HGET', keys, '')
  if not since or tonumber(since) < tonumber(since_ms) then
    redis.call('HSET', keys, '', since_ms)
  end
  if redis.call('PEXPIRETIME', keys) < tonumber(expires_ms) then
    redis.call('PEXPIREAT', keys, expires_ms)
  end
end
redis.call('HSET', imports, arguments.id, arguments.after)
return 'written'
