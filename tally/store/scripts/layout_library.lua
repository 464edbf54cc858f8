-- Reads the arguments, and compares the stored layout with the caller's before anything else. Every script that writes
-- includes it first. It takes its own off KEYS and ARGV: what is left of ARGV are the values behind the arguments.
--
-- KEYS last but one  absent  a key that is never there
--      last      layout   hash  how it was counted; see tally/layout.py
-- ARGV 1         JSON: the script's own arguments, and
--                layout   field -> value of the caller's layout; `format` at least, `shards` and `stripe_bytes` where there
--                         is more than one shard, and `digest` where it matters how lines are counted
--
-- Replies with an error `TALLYLAYOUT <stored format>` where they differ; nothing was written then. A layout that is missing,
-- or of which only the format is stored, differs from none: Redis is new, or was flushed a moment ago, or an ingestor was
-- first. A script that writes what another layout would write differently calls ensure_layout then, among its writes.
--
-- The absent key is never read. While a Redis Cluster moves a slot key by key, it refuses a script before it begins if one of its
-- keys is not there (any more), but also in its middle, when it comes to a key that it has itself deleted: what it had written
-- would stay. So none of ours begins then.
--
-- In the script, or a process with another layout could write in the moment after it had looked.

-- luacheck: push ignore 211 (no script uses all of it)
local arguments = cjson.decode(table.remove(ARGV, 1))
local layout_key = table.remove(KEYS)
table.remove(KEYS) -- absent
local layout_stored = redis.call('HMGET', layout_key, 'format', 'digest', 'shards', 'stripe_bytes')
if layout_stored[1] and (layout_stored[1] ~= arguments.layout.format
    or (layout_stored[3] or nil) ~= arguments.layout.shards
    or (layout_stored[4] or nil) ~= arguments.layout.stripe_bytes)
  or layout_stored[2] and arguments.layout.digest and layout_stored[2] ~= arguments.layout.digest then
  return redis.error_reply('TALLYLAYOUT ' .. (layout_stored[1] or '?'))
end

-- Store the caller's layout where there is none.
local function ensure_layout()
  if layout_stored[1] and (layout_stored[2] or not arguments.layout.digest) then
    return
  end
  local pairs_of = {}
  for field, value in pairs(arguments.layout) do
    pairs_of[#pairs_of + 1] = field
    pairs_of[#pairs_of + 1] = value
  end
  redis.call('HSET', layout_key, 'since', redis.call('TIME')[1], unpack(pairs_of))
end
-- luacheck: pop
