-- claim: claim blocks that have been pending to an idle consumer for too long.
--
-- KEYS 1 stream     stream  the blocks
--      2 totals     hash    its `lost`
--      3 backlog    hash    see backlog_library.lua
-- ARGV 1 JSON:
--        group
--        consumer   that claims
--        idle_ms    how long a block must have been pending, in milliseconds; n times as long after its n-th delivery
--        cursor     where the last call ended, '-' at first
--        count      how many blocks at the most; ten times as many are looked at
--
-- Returns {cursor for the next call ('-' after the end), how many were claimed}.
--
-- JUSTID leaves the delivery counts alone: a block's count rises when it is tried again, one block at a time (retry.lua),
-- so that one that kills its reader does not take its neighbours to the dead letters with it.
--
-- A block that takes its reader longer than `idle_ms` would go from one to the other for ever, because only the one that it is
-- pending to may count it. So each try gets more time than the one before.
--
-- Redis says 0 of what was delivered in the future, which it is when the clock was set back. Such blocks and consumers get
-- the present time, or those of a dead aggregator would be pending until the clock catches up, perhaps for years. For what was
-- really delivered or seen in this millisecond that changes nothing.
--
-- It also shows that the consumer is alive. Since Redis 7.2 any read does so; before, a read of new entries that finds none
-- leaves the consumer as idle as it was, or unknown. A read of its pending ones does not, and behind this ID there are
-- none whose delivery count could rise. (The one ID after it means '>' to Redis.)

--- @include layout_library
--- @include backlog_library

local stream, totals, backlog = KEYS[1], KEYS[2], KEYS[3]
local group, consumer, count = arguments.group, arguments.consumer, arguments.count
local behind_all = '18446744073709551615-18446744073709551614'

local function show_alive(name)
  redis.call('XREADGROUP', 'GROUP', group, name, 'COUNT', 1, 'STREAMS', stream, behind_all)
end

-- Look.
local overdue, from_the_future = {}, {}
local found = redis.call('XPENDING', stream, group, arguments.cursor, '+', 10 * count)
local following = '-'
if #found == 10 * count then
  following = '(' .. found[#found][1]
end
for at, pending in ipairs(found) do
  local id, owner, idle_ms, deliveries = pending[1], pending[2], pending[3], pending[4]
  if idle_ms == 0 then
    from_the_future[owner] = from_the_future[owner] or {}
    table.insert(from_the_future[owner], id)
  elseif idle_ms >= arguments.idle_ms * math.max(1, deliveries) then
    overdue[#overdue + 1] = id
    if #overdue == count and at < #found then
      following = '(' .. id
      break
    end
  end
end

-- Write.
local deleted, claimed = 0, 0
local function claim_for(owner, ids)
  local kept = 0
  for first = 1, #ids, 1000 do -- unpack takes under 8,000 values
    local last = math.min(first + 999, #ids)
    local some = {unpack(ids, first, last)}
    some[#some + 1] = 'JUSTID'
    kept = kept + #redis.call('XCLAIM', stream, group, owner, 0, unpack(some))
  end
  deleted = deleted + #ids - kept -- a deleted entry cannot be claimed, and is no longer pending then
  return kept
end
if #overdue > 0 then
  claimed = claim_for(consumer, overdue)
end
for owner, ids in pairs(from_the_future) do
  claim_for(owner, ids)
end
for _, flat in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
  local about = {}
  for at = 1, #flat, 2 do
    about[flat[at]] = flat[at + 1]
  end
  if about.idle == 0 then
    show_alive(about.name)
  end
end
redis.pcall('XGROUP', 'CREATECONSUMER', stream, group, consumer) -- refused by a full Redis, which must be emptied
show_alive(consumer)
if deleted > 0 then
  find_lost(stream, totals, backlog)
end
return {following, claimed}
