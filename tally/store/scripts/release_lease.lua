-- release_lease: give the lease of a shard back.
--
-- KEYS 1 backlog   hash   see lease_library.lua
-- ARGV 1 JSON:
--        token   of who has it
--
-- Returns 'released'; 'gone' if it is not theirs (any more), or 'kept' if it does not end before what they began has: nothing was
-- written then.
--
-- Atomic, or it could be that of somebody else by then.

--- @include layout_library
--- @include lease_library

local backlog = KEYS[1]

local holder, _, _, ends = read_lease(redis.call('HGET', backlog, 'lease'), 0)
if holder ~= arguments.token then
  return 'gone'
end
if ends == ENDLESS_MS then
  return 'kept'
end
redis.call('HDEL', backlog, 'lease')
return 'released'
