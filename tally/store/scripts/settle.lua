-- settle: take a batch of blocks off the stream, and have what they add up to applied, together.
--
-- KEYS 1 stream    stream  the blocks
--      2 deltas    list    settled batches that are not yet all applied, the oldest first, each as JSON:
--                            list         key of its chunks
--                            first, last  numbers of its first and its last chunk, of all that were ever settled
--                            blocks       how many it was
--                            bytes        of their lines, as far as they were in the backlog
--                            appended_ms  when the oldest of them was appended, in Unix milliseconds
--      3 list      list    its chunks, staged
--      4 backlog   hash    see backlog_library.lua
--      5 totals    hash    its `lost`
--      6 numbers   hash    type -> `NUMBER:SINCE`, of those whose words are counted apart
--      7 numbered  string  how many such numbers were ever given
-- ARGV 1 JSON:
--        group
--        consumer
--        ids              entry IDs of the blocks, at least one
--        sizes            of each, the bytes of its `lines`, or -1 if it has no `appended_ms`
--        appended_ms      when the oldest of them was appended
--        chunks           how many were staged
--        delta_bytes      how many bytes they have
--        max_delta_bytes  how many bytes of settled chunks may wait to be applied
--        expires_ms       how long the list stays if the answer is `full`, in milliseconds
--        numbered         how many numbers were given when the chunks were made; nothing if words are not counted by type
--        types, numbers   types that have their words apart in the chunks, or any other one that has a number, and
--                         `NUMBER:SINCE` of each
--
-- Returns
--   {'settled', number of its last chunk}
--   {'missing', ID…}  with the blocks that are not pending to this consumer, because another aggregator claimed or counted
--                     them, or because the reply to an earlier try was lost
--   {'stale'}         the list has expired, or lacks chunks
--   {'full'}          so much waits to be applied that no more is taken, unless nothing waits
--   {'renumbered'}    types have other numbers than the chunks were made with, or some have got theirs since
--   {'wrong-type', key, type, expected type}
-- Nothing was written then, but that the list is gone after `missing` and `renumbered`, if it is not settled, and stays after
-- `full`.
--
-- Atomic, or a block could be counted and delivered again, or acknowledged and never counted.

--- @include layout_library
--- @include backlog_library
--- @include types_library

local stream, deltas, list, backlog, totals = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local numbers, numbered = KEYS[6], KEYS[7]
local group, consumer, ids, sizes = arguments.group, arguments.consumer, arguments.ids, arguments.sizes

local wrong = wrong_type({deltas, list}, 'list') or wrong_type({backlog, totals, numbers}, 'hash')
  or wrong_type({numbered}, 'string')
if wrong then
  return wrong
end
local expires_ms = redis.call('PTTL', list)

-- The list of pending entries is the gate: a consumer that finds a block in it, pending to itself, may count it, once. To
-- itself, because an ID may come again with another block: from a replica that was promoted without the newest entries, and
-- whose clock is behind. No two processes have the same consumer.
local missing = {'missing'}
for _, id in ipairs(ids) do
  if #redis.call('XPENDING', stream, group, id, id, 1, consumer) == 0 then
    missing[#missing + 1] = id
  end
end
if #missing > 1 then
  if expires_ms >= 0 then
    redis.call('UNLINK', list)
  end
  return missing
end
-- What does not expire is settled already, under whatever blocks.
if expires_ms < 0 or redis.call('LLEN', list) ~= 2 * arguments.chunks then
  return {'stale'}
end
-- In the script, or words of one type could go to another one's, and a type lack some that were counted after it got its number.
local function is_renumbered()
  if not arguments.numbered then
    return false
  end
  if arguments.numbered ~= tonumber(redis.call('GET', numbered) or 0) then
    return true
  end
  local found = #arguments.types > 0 and redis.call('HMGET', numbers, unpack(arguments.types)) or {}
  for at, number in ipairs(arguments.numbers) do
    if found[at] ~= number then
      return true
    end
  end
  return false
end
if is_renumbered() then
  redis.call('UNLINK', list)
  return {'renumbered'}
end
local stored = redis.call('HMGET', backlog, 'delta_bytes', 'settled', 'settled_blocks', 'settled_bytes')
local delta_bytes, settled = tonumber(stored[1] or 0), tonumber(stored[2] or 0)
if delta_bytes >= arguments.max_delta_bytes and redis.call('LLEN', deltas) > 0 then
  redis.call('PEXPIRE', list, arguments.expires_ms)
  return {'full'}
end

-- The first writes take no memory: a full Redis would refuse the script.
local found = 0
for first = 1, #ids, 1000 do -- unpack takes under 8,000 values
  local last = math.min(first + 999, #ids)
  redis.call('XACK', stream, group, unpack(ids, first, last))
  found = found + redis.call('XDEL', stream, unpack(ids, first, last))
end
ensure_layout()
note_taken(stream, totals, backlog, ids, sizes, found)

local bytes = 0
for _, size in ipairs(sizes) do
  bytes = bytes + math.max(0, size)
end
redis.call('PERSIST', list)
redis.call('RPUSH', deltas, cjson.encode({
  list = list, first = settled + 1, last = settled + arguments.chunks,
  blocks = #ids, bytes = bytes, appended_ms = arguments.appended_ms,
}))
redis.call('HSET', backlog, 'settled', settled + arguments.chunks, 'delta_bytes', delta_bytes + arguments.delta_bytes,
  'settled_blocks', tonumber(stored[3] or 0) + #ids, 'settled_bytes', tonumber(stored[4] or 0) + bytes)
return {'settled', settled + arguments.chunks}
