-- append: put one block onto the stream and move its source's position on, together.
--
-- KEYS 1 stream        stream      the blocks that are not yet counted
--      2 sources       hash        source -> position in bytes
--      3 seen          sorted set  source, scored by its last append in Unix milliseconds
--      4 lasts         hash        source -> POSITION:FINGERPRINT of the bytes before its position
--      5 names         sorted set  the sources that are looked up by how their name begins
--      6 backlog       hash        see backlog_library.lua
--      7 totals        hash        its `lost`
-- ARGV 1 JSON:
--        source        name of where the lines come from
--        start         position of the block's first byte, in bytes, as text: Lua writes long numbers as 1e+15
--        finish        position behind its last byte, likewise
--        max_blocks    how many blocks the stream may hold
--        max_bytes     how many bytes
--        bulk          whether these are the limits of a source that is read in bulk
--        before        fingerprint of the bytes before `start`; empty for a source that is not replayable
--        last          fingerprint of the bytes before `finish`, likewise
--        listed        whether the source is one of `names`
--      2 lines         the block
--
-- Returns {word, position}, the position being the stored one afterwards:
--   appended    the block is on the stream
--   duplicate   it was already: the reply to an earlier try was lost
--   moved       the source stands elsewhere (lost data, a flush, another ingestor), or what was appended up to there are other
--               bytes (another ingestor appends another file under this name); nothing was written
--   full        the stream holds max_blocks blocks or max_bytes bytes; nothing was written but that. Or somebody has the lease
--
-- Atomic, or a crash between the writes would repeat the block or lose it, or leave a fingerprint of another position.

--- @include layout_library
--- @include backlog_library

local stream, sources, seen, lasts, names = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local backlog, totals = KEYS[6], KEYS[7]
local source, start, finish, lines = arguments.source, arguments.start, arguments.finish, ARGV[1]

local position = redis.call('HGET', sources, source) or '0'
-- Whether other bytes than these stand before the position in what was appended. Fingerprints are LENGTH-DIGEST; only those
-- of one length can be compared, and what was stored before there were any is taken for the same; but one with a mark of
-- tally/vectors.py is stored where it is, or lost.
local function is_another(fingerprint)
  local stored = fingerprint ~= '' and redis.call('HGET', lasts, source)
  local at, known = string.match(stored or '', '^(%d+):(.*)$')
  if at ~= position then
    return string.find(fingerprint, '^', 1, true) ~= nil
  end
  return known ~= fingerprint
    and string.match(known, '^%d+%-') == string.match(fingerprint, '^%d+%-')
end
if tonumber(position) > tonumber(finish) then
  return {'duplicate', position}
end
if tonumber(position) == tonumber(finish) then
  return {is_another(arguments.last) and 'moved' or 'duplicate', position}
end
if tonumber(position) ~= tonumber(start) or is_another(arguments.before) then
  return {'moved', position}
end
if not note_put(stream, totals, backlog, 1, #lines, arguments.max_blocks, arguments.max_bytes, arguments.bulk) then
  return {'full', position}
end

local now = redis.call('TIME')
local now_ms = now[1] .. string.format('%03d', math.floor(tonumber(now[2]) / 1000))
ensure_layout()
-- Its time is in the entry, because IDs never go back: after a clock that was ahead they stay there until it catches up.
redis.call('XADD', stream, '*', 'lines', lines, 'source', source, 'appended_ms', now_ms)
redis.call('HSET', sources, source, finish)
if arguments.last ~= '' then
  redis.call('HSET', lasts, source, finish .. ':' .. arguments.last)
end
if arguments.listed and position == '0' then
  redis.call('ZADD', names, 0, source)
end
redis.call('ZADD', seen, now_ms, source)
return {'appended', finish}
