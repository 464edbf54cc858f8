-- claim: take over blocks that have been with a silent consumer for too long.
--
-- KEYS 1 stream     stream  the blocks
--      2 totals     hash    its `lost`
-- ARGV 1 group
--      2 consumer   who takes over
--      3 idle       how long a block must have been pending, in milliseconds
--      4 cursor     where the last call ended, '0-0' at first
--      5 count      how many blocks at the most
--
-- Returns {cursor for the next call ('0-0' after the end), how many were claimed}.
--
-- JUSTID leaves the delivery counts alone: a block's count rises when it is tried again, one block at a time (retry.lua),
-- so that one that kills its reader does not take its neighbours to the dead stream with it. A deleted entry that is found
-- here is gone from the pending list by that; atomic, or it would not be counted as lost.
--
-- It also shows that the consumer is alive. Since Redis 7.2 any read does so; before, a read of new entries that finds none
-- leaves the consumer as silent as it was, or unknown. A read of its pending ones does not, and behind this ID there are
-- none whose delivery count could rise. (The one ID after it means '>' to Redis.)

local stream, totals = KEYS[1], KEYS[2]
local group, consumer, idle, cursor, count = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local behind_all = '18446744073709551615-18446744073709551614'

local reply = redis.call('XAUTOCLAIM', stream, group, consumer, idle, cursor, 'COUNT', count, 'JUSTID')
redis.pcall('XGROUP', 'CREATECONSUMER', stream, group, consumer) -- refused by a full Redis, which must be emptied
redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', 1, 'STREAMS', stream, behind_all)
local deleted = reply[3] and #reply[3] or 0
if deleted > 0 then
  redis.call('HINCRBY', totals, 'lost', deleted)
end
return {reply[1], #reply[2]}
