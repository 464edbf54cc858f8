-- import_entries: take over entries of streams of an export: samples, or a dead letter.
--
-- KEYS 1 imports  hash    see imports_library.lua
--      2 backlog  hash    see lease_library.lua
--      3 stream   stream  where they go
-- ARGV 1 JSON:
--        id             of the export
--        before, after  how far the import is before this, and then, as texts
--        entries        of each entry the milliseconds of its ID and its number, or `*` for any, as texts; and how many of the
--                       values behind are its own, fields and their values by turns
--        most           how many entries the stream may have: the last of these that there is room for are taken; nothing: all are
--        expires_ms     when the stream goes, in Unix milliseconds, as text, unless it goes later; nothing: never
--      2 ...            fields and values
--
-- Returns a word:
--   written   they are there, or past their time; they may have been already
--   moved     the import is elsewhere; see imports_library.lua
--   held      somebody needs the shard to stay as it is
-- Or {'wrong-type', key, type, expected type}. Nothing was written then.
--
-- An entry keeps its ID, which says when it was set aside, if that is behind all that are there; else it gets a new one.
--
-- Atomic, or entries would be there twice after a crash.

--- @include layout_library
--- @include lease_library
--- @include imports_library
--- @include types_library

local imports, backlog, stream = KEYS[1], KEYS[2], KEYS[3]
local expires_ms = arguments.expires_ms

local wrong = wrong_type({imports, backlog}, 'hash') or wrong_type({stream}, 'stream')
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
local last_ms, last_number = 0, 0
if redis.call('EXISTS', stream) == 1 then
  local about = redis.call('XINFO', 'STREAM', stream)
  for at = 1, #about, 2 do
    if about[at] == 'last-generated-id' then
      last_ms, last_number = string.match(about[at + 1], '^(%d+)-(%d+)$')
      last_ms, last_number = tonumber(last_ms), tonumber(last_number)
    end
  end
end
local now_ms = server_ms()

ensure_layout()
local entries = arguments.entries
local room = arguments.most and arguments.most - redis.call('XLEN', stream) or #entries
if expires_ms and tonumber(expires_ms) <= now_ms then
  room = 0
end
local value = 1
for at, entry in ipairs(entries) do
  local ms, number, values = entry[1], entry[2], entry[3]
  if at > #entries - room then
    local is_behind = tonumber(ms) > last_ms or tonumber(ms) == last_ms and (tonumber(number) or 0) > last_number
    local id = is_behind and tonumber(ms) <= now_ms and ms .. '-' .. number or '*'
    last_ms, last_number = string.match(redis.call('XADD', stream, id, unpack(ARGV, value, value + values - 1)), '^(%d+)-(%d+)$')
    last_ms, last_number = tonumber(last_ms), tonumber(last_number)
  end
  value = value + values
end
if expires_ms and room > 0 and redis.call('PEXPIRETIME', stream) < tonumber(expires_ms) then
  redis.call('PEXPIREAT', stream, expires_ms)
end
redis.call('HSET', imports, arguments.id, arguments.after)
return 'written'
