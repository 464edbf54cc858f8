-- next_chunk: where the counts of the chunk go that is to be applied next.
--
-- KEYS 1 deltas    list  settled batches; see settle.lua
--      2 list      list  the chunks of the first of them
--
-- ARGV 1 JSON:
--        most      how many chunks to tell of
--
-- Returns {number of the chunk, its targets, those of the chunks behind it in its batch…}; empty targets alone if somebody has
-- deleted it. {} if another batch is the first by now. Writes nothing.
--
-- Atomic, or the number could be that of another chunk.

local deltas, list = KEYS[1], KEYS[2]

local head = redis.call('LINDEX', deltas, 0)
local batch = head and cjson.decode(head)
if not batch or batch.list ~= list then
  return {}
end
local found = {batch.last + 1 - math.ceil(redis.call('LLEN', list) / 2), redis.call('LINDEX', list, 0) or ''}
for at = 1, cjson.decode(ARGV[1]).most - 1 do
  found[2 + at] = redis.call('LINDEX', list, 2 * at) or nil
end
return found
