-- Compares the stored layout with the caller's, before anything else; put in front of every script that writes (see
-- tally/store/client.py). It takes its own keys and arguments off the ends of KEYS and ARGV, and its names begin with layout.
--
-- KEYS last      layout   hash  how it was counted; see tally/layout.py
-- ARGV the last  how many values stand before it: field, value, … of the caller's layout; `format` at least, and
--                `digest` where it matters how lines are counted
--
-- Replies with an error `TALLYLAYOUT <stored format>` where they differ; nothing was written then. A layout that is missing,
-- or of which only the format is stored, differs from none: Redis is new, or was flushed a moment ago, or an ingestor was
-- first. A script that writes what another layout would write differently calls keep_layout then, among its writes.
--
-- In the script, or a process with another layout could write in the moment after it had looked.

local layout_key = table.remove(KEYS)
local layout_fields, layout_pairs = {}, {}
for at = tonumber(table.remove(ARGV)), 1, -1 do
  layout_pairs[at] = table.remove(ARGV)
end
for at = 1, #layout_pairs, 2 do
  layout_fields[layout_pairs[at]] = layout_pairs[at + 1]
end
local layout_stored = redis.call('HMGET', layout_key, 'format', 'digest')
if layout_stored[1] and layout_stored[1] ~= layout_fields.format
  or layout_stored[2] and layout_fields.digest and layout_stored[2] ~= layout_fields.digest then
  return redis.error_reply('TALLYLAYOUT ' .. (layout_stored[1] or '?'))
end

-- Store the caller's layout where there is none.
local function keep_layout()
  if not layout_stored[1] or layout_fields.digest and not layout_stored[2] then
    redis.call('HSET', layout_key, 'since', redis.call('TIME')[1], unpack(layout_pairs))
  end
end

