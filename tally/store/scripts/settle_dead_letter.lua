-- settle_dead_letter: have a chunk of counts that is a dead letter applied after all.
--
-- KEYS 1 dead_letters  stream  see apply.lua
--      2 deltas        list    settled batches; see settle.lua
--      3 list          list    to hold the chunk; its name was never used before
--      4 backlog       hash    see backlog_library.lua
-- ARGV 1 JSON:
--        id               of the dead letter
--        digest           of what it holds, as list_dead_letters.lua told it
--        max_delta_bytes  how many bytes of settled chunks may wait to be applied
--
-- Returns
--   {'settled', number of the chunk}  it is a batch of its own, to be applied behind the others, and no dead letter any more
--   {'gone'}     there is none under this ID: the reply to an earlier try was lost, or somebody else has moved or dropped it
--   {'changed'}  another one is there, or one that is no chunk
--   {'windows'}  it was made for windows of other lengths than those that are counted now, and could only be put into wrong ones
--   {'full'}     so much waits to be applied that no more is taken, unless nothing waits; or somebody has the lease
--   {'wrong-type', key, type, expected type}
-- Nothing was written then.
--
-- Atomic, or its counts could be added twice, or never.

--- @include layout_library
--- @include types_library
--- @include dead_letters_library
--- @include lease_library

local dead_letters, deltas, list, backlog = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local id = arguments.id

local wrong = wrong_type({dead_letters}, 'stream') or wrong_type({deltas, list}, 'list') or wrong_type({backlog}, 'hash')
if wrong then
  return wrong
end
local letter, why_not = letter_of(dead_letters, id, arguments.digest, 'chunk')
if not letter then
  return {why_not}
end
local chunk = values_of(letter, {'targets', 'body', 'blocks', 'lengths', 'appended_ms'})
local windows = string.gsub(redis.call('HGET', layout_key, 'windows') or '', 'x%d+', '')
if chunk.lengths ~= windows then
  return {'windows'}
end
local stored = redis.call('HMGET', backlog, 'delta_bytes', 'settled', 'settled_blocks')
local delta_bytes, settled = tonumber(stored[1] or 0), tonumber(stored[2] or 0)
-- Anybody may add entries: what is no number of ours (1e999, say, which JSON has none of) is none.
local function number_of(text)
  return text and #text <= 15 and string.match(text, '^%d+$') and tonumber(text) or 0
end
local blocks, appended_ms = number_of(chunk.blocks), number_of(chunk.appended_ms)
if is_held(backlog) or delta_bytes >= arguments.max_delta_bytes and redis.call('LLEN', deltas) > 0 then
  return {'full'}
end

-- Changes nothing. A full Redis refuses a script whose first write may take memory, and a chunk that moves takes none.
redis.call('XDEL', dead_letters, '0-1')

redis.call('RPUSH', list, chunk.targets, chunk.body)
redis.call('RPUSH', deltas, cjson.encode({
  list = list, first = settled + 1, last = settled + 1, blocks = blocks, bytes = 0,
  appended_ms = appended_ms > 0 and appended_ms or tonumber(string.match(id, '^%d+')),
}))
redis.call('HSET', backlog, 'settled', settled + 1, 'delta_bytes', delta_bytes + #chunk.targets + #chunk.body,
  'settled_blocks', tonumber(stored[3] or 0) + blocks)
redis.call('XDEL', dead_letters, id)
return {'settled', settled + 1}
