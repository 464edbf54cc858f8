-- purge_stream: write a stream anew without some of its entries, a slice a call.
--
-- KEYS 1 stream    stream  samples, or dead letters
--      2 copy      stream  what of it is written anew, until it takes its place
--      3 backlog   hash    see names_library.lua
-- ARGV 1 JSON:
--        ids       of the entries that are to go
--        after     the ID up to which it is copied; '' to begin
--        bytes     how many to look at in this call, about
--        entries   how many at the most, about. Of `ids` as many will do, the first ones behind `after`
--        lease     token of the caller's lease
--
-- Returns
--   {'more', ID}   there are entries behind this one
--   {'purged'}     the copy has taken its place
--   {'held'}       the caller has lost the lease
--   {'wrong-type', key, type, expected type}
-- Nothing was written with the last two.
--
-- XDEL alone would leave what an entry holds in the server's memory and in its files, as long as an entry beside it stays.
-- Atomic in the last slice, or what is added in between would be lost; before that the stream is as it was.

--- @include layout_library
--- @include types_library
--- @include lease_library

local stream, copy, backlog = KEYS[1], KEYS[2], KEYS[3]

local wrong = wrong_type({stream, copy}, 'stream') or wrong_type({backlog}, 'hash')
if wrong then
  return wrong
end
if is_held(backlog, arguments.lease) then
  return {'held'}
end
local gone = {}
for _, id in ipairs(arguments.ids) do
  gone[id] = true
end

local after, bytes, entries = arguments.after, 0, 0
-- The first write takes no memory: a full Redis would refuse the script.
if after == '' then
  redis.call('UNLINK', copy)
else
  redis.call('XDEL', copy, '0-1')
end
local first = after == '' and '-' or '(' .. after
while bytes < arguments.bytes and entries < arguments.entries do
  local found = redis.call('XRANGE', stream, first, '+', 'COUNT', 10)
  for _, entry in ipairs(found) do
    local id, fields = entry[1], entry[2]
    if not gone[id] then
      redis.call('XADD', copy, id, unpack(fields))
    end
    for _, text in ipairs(fields) do
      bytes = bytes + #text
    end
    after, first, entries = id, '(' .. id, entries + 1
  end
  if #found < 10 then
    local expires_ms = redis.call('PEXPIRETIME', stream)
    redis.call('UNLINK', stream)
    if redis.call('EXISTS', copy) == 1 then
      redis.call('RENAME', copy, stream)
      if expires_ms > 0 then
        redis.call('PEXPIREAT', stream, string.format('%d', expires_ms))
      end
    end
    redis.call('HSET', backlog, 'forgotten', 1)
    return {'purged'}
  end
end
return {'more', after}
