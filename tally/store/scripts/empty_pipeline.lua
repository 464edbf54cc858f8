-- empty_pipeline: delete what waits to be counted, and how far sources are, together: the first step of emptying a shard.
--
-- KEYS 1 backlog   hash   see backlog_library.lua; of it only the lease stays, and from now on does not end by itself
--      then, what is deleted: the stream, the settled batches, all that is known of sources, the keys of bodies
-- ARGV 1 JSON:
--        lease   token of the caller's lease
--
-- Returns 'emptied', or 'held' if the lease is not theirs any more; nothing was written then.
--
-- Atomic, or blocks that go would be counted as lost, or a source go on behind some that are gone; and whoever is killed behind it
-- would have sources read again on top of the counts that are left.

--- @include layout_library
--- @include lease_library

local backlog = table.remove(KEYS, 1)

if is_held(backlog, arguments.lease) then
  return 'held'
end
redis.call('UNLINK', unpack(KEYS))
for _, field in ipairs(redis.call('HKEYS', backlog)) do
  if field ~= 'lease' then
    redis.call('HDEL', backlog, field)
  end
end
local _, _, since = read_lease(redis.call('HGET', backlog, 'lease'), 0)
redis.call('HSET', backlog, 'lease', string.format('%s:%d:%d', arguments.lease, since, ENDLESS_MS))
return 'emptied'
