-- append_dead_letter: put a block that is a dead letter back onto the stream, to be counted after all.
--
-- KEYS 1 dead_letters  stream  see dead_letter.lua
--      2 stream        stream  the blocks that are not yet counted
--      3 backlog       hash    see backlog_library.lua
--      4 totals        hash    its `lost`
-- ARGV 1 JSON:
--        id            of the dead letter
--        digest        of what it holds, as list_dead_letters.lua told it
--        max_blocks    how many blocks the stream may hold
--        max_bytes     how many bytes
--
-- Returns
--   {'appended', ID of its entry}   it is on the stream, as new, and no dead letter any more
--   {'gone'}     there is none under this ID: the reply to an earlier try was lost, or somebody else has moved or dropped it
--   {'changed'}  another one is there, or one that is no block
--   {'full'}     the stream holds max_blocks blocks or max_bytes bytes, or somebody has the lease
--   {'wrong-type', key, type, expected type}
-- Nothing was written then, but the limits with `full`.
--
-- Atomic, or the block could be in both streams and be counted twice, or in none.
--
-- Its source's position moved when it was first appended, and stays. Nor does its time change: what has no timestamp is counted in
-- the window in which it came.

--- @include layout_library
--- @include types_library
--- @include backlog_library
--- @include dead_letters_library

local dead_letters, stream, backlog, totals = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local id = arguments.id

local wrong = wrong_type({dead_letters, stream}, 'stream') or wrong_type({backlog, totals}, 'hash')
if wrong then
  return wrong
end
local letter, why_not = letter_of(dead_letters, id, arguments.digest, 'block')
if not letter then
  return {why_not}
end
-- What an aggregator reads of it. unpack could not take all that another client may have put there.
local values = values_of(letter, {'lines', 'source', 'appended_ms'})
local fields, blocks = {'source', values.source or ''}, 0
if values.lines then
  -- It is one of the backlog from here on, even if another client had added it.
  local appended_ms = appended_ms_of({'appended_ms', values.appended_ms or ''}) and values.appended_ms
    or string.match(letter[#letter - 2], '^%d+')
  fields, blocks = {'lines', values.lines, 'source', values.source or '', 'appended_ms', appended_ms}, 1
end

-- Changes nothing. A full Redis refuses a script whose first write may take memory, and a block that moves takes none.
redis.call('XDEL', dead_letters, '0-1')

if not note_put(stream, totals, backlog, blocks, #(values.lines or ''), arguments.max_blocks, arguments.max_bytes) then
  return {'full'}
end
ensure_layout()
local appended = redis.call('XADD', stream, '*', unpack(fields))
redis.call('XDEL', dead_letters, id)
return {'appended', appended}
