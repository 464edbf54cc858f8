-- stage: put chunks of a batch onto a list of their own, from which nothing is counted yet.
--
-- KEYS 1 list      list  the chunks: targets and body of each, by turns; see tally/deltas.py
--      2 backlog   hash  its `delta_bytes`; see backlog_library.lua
--      3 deltas    list  settled batches; see settle.lua
-- ARGV 1 JSON:
--        first            number of the first of these chunks, counted from 0 in this list
--        expires_ms       how long the list stays if nothing comes after this, in milliseconds
--        max_delta_bytes  how many bytes of settled chunks may wait to be applied
--      2 ...              the chunks
--
-- Returns a word:
--   staged   all of these chunks are on the list: some may have been already, when the reply to an earlier try was lost
--   stale    the chunks before them are not all there, because the list has expired; or it is settled: this call is late
--   full     so much waits to be applied that no more is taken, unless nothing waits; nothing was written
--
-- Atomic, or a retry could put a chunk onto the list twice.

--- @include layout_library

local list, backlog, deltas = KEYS[1], KEYS[2], KEYS[3]

local have, first = redis.call('LLEN', list), 2 * arguments.first
-- What does not expire is settled. A call that was sent long ago, before its connection was lost, may come only now.
if have < first or (have > 0 and redis.call('PTTL', list) < 0) then
  return 'stale'
end
if first == 0 and tonumber(redis.call('HGET', backlog, 'delta_bytes') or 0) >= arguments.max_delta_bytes
  and redis.call('LLEN', deltas) > 0 then
  return 'full'
end

-- Changes nothing. A full Redis refuses a script whose first write may take memory; but only what is counted empties one that is
-- full of blocks.
redis.call('HDEL', backlog, '')

for at = have - first + 1, #ARGV do
  redis.call('RPUSH', list, ARGV[at])
end
redis.call('PEXPIRE', list, arguments.expires_ms)
return 'staged'
