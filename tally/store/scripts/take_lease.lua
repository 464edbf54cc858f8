-- take_lease: take the lease of a shard, or renew it.
--
-- KEYS 1 backlog   hash   see lease_library.lua
-- ARGV 1 JSON:
--        token      of who wants it, without a colon; nobody else has the same
--        lease_ms   for how long from now on, in milliseconds
--        renews     whether it is to be one that was held all along
--
-- Returns
--   'taken'    it is theirs
--   'lost'     it was to be renewed, and did not hold any more; nothing was written
--   'held'     somebody else has it; nothing was written. One that does not end by itself is taken over by the same command, which
--              is what stands in front of the `@` of a token
-- Taken again with the same token, as after a lost reply, it is the same lease, and goes on.
--
-- Atomic, or two could have it.

--- @include layout_library
--- @include lease_library

local backlog = KEYS[1]

local now_ms = server_ms()
local holder, holds, since, ends = read_lease(redis.call('HGET', backlog, 'lease'), now_ms)
local is_endless = holds and ends == ENDLESS_MS
if holds and holder ~= arguments.token then
  local is_same = string.match(holder, '^[^@]*') == string.match(arguments.token, '^[^@]*')
  if arguments.renews or not is_endless or not is_same then
    return 'held'
  end
end
if arguments.renews and not holds then
  return 'lost'
end

-- Changes nothing. A full Redis refuses a script whose first write may take memory, and a full one is to be exported, too.
redis.call('HDEL', backlog, '')
redis.call('HSET', backlog, 'lease',
  string.format('%s:%d:%d', arguments.token, holds and since or now_ms,
    is_endless and ENDLESS_MS or now_ms + arguments.lease_ms))
return 'taken'
