-- import_layout: take over since when, and how, it was counted where an export was made.
--
-- KEYS 1 history  list  what became of the layout; see tally/layout.py
-- ARGV 1 JSON:
--        history  that of the export, the newest first
--        since    when its layout was stored, in Unix seconds, as text; nothing if that is not known
--
-- Returns nothing, or {'wrong-type', key, type, expected type}; nothing was written then. May be called again.
--
-- What is there already of a history stays alone; since when it is counted is the earlier of two times.
--
-- Atomic, or a history could be there twice.

--- @include layout_library
--- @include types_library

local history, since = KEYS[1], tonumber(arguments.since) -- null is none

local wrong = wrong_type({history}, 'list')
if wrong then
  return wrong
end

ensure_layout()
if redis.call('EXISTS', history) == 0 then
  for _, change in ipairs(arguments.history) do
    redis.call('RPUSH', history, change)
  end
end
if since and since < (tonumber(redis.call('HGET', layout_key, 'since')) or 0) then
  redis.call('HSET', layout_key, 'since', arguments.since)
end
