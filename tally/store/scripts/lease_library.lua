-- The lease: while somebody has it, nothing new is put onto the stream, no window is folded or dropped, and nothing is
-- forgotten, so that a shard can be read, or changed, as a whole. What waits is counted all the same.
--
-- Field of the hash `backlog`:
--   lease   TOKEN:SINCE:UNTIL, in Unix milliseconds by the server's clock. It holds from SINCE on, and before UNTIL: a clock
--           that was set back ends it, too, and nobody has to wait until it catches up. One whose UNTIL is ENDLESS_MS does not
--           end by itself: what its holder has begun must not be left as it is, so the same command takes it over, and ends it
--
-- Whoever is let through because it does not hold any more, and writes, deletes it: that it was lost is told to its holder then,
-- even if it holds again by the clock.

-- luacheck: push ignore 211 (no script uses all of it)
local ENDLESS_MS = 9999999999999

local function server_ms()
  local now = redis.call('TIME')
  return tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
end

-- Returns the token of a lease, as it is stored, whether it holds at this time, since when it does, and until when.
local function read_lease(lease, now_ms)
  local token, since, ends = string.match(lease or '', '^(.*):(%d+):(%d+)$')
  since, ends = tonumber(since), tonumber(ends)
  return token, token and since <= now_ms and now_ms < ends, since, ends
end

-- Whether this lease, as it is stored, holds now.
local function holds_now(lease)
  local _, holds = read_lease(lease, server_ms())
  return holds
end

-- Whether the lease is that of who has this token, and holds.
local function has_lease(backlog, token)
  local holder, holds = read_lease(redis.call('HGET', backlog, 'lease'), server_ms())
  return holds and holder == token
end

-- Whether the caller has to leave the shard as it is: somebody else has the lease; or the caller had it, by its token, and has it
-- no more. What does not hold any more is deleted, which changes nothing else and takes no memory.
local function is_held(backlog, token)
  if token then
    return not has_lease(backlog, token)
  end
  local lease = redis.call('HGET', backlog, 'lease')
  if lease and not holds_now(lease) then
    redis.call('HDEL', backlog, 'lease')
    return false
  end
  return lease
end
-- luacheck: pop
