-- remove_consumer: remove a consumer that has nothing pending.
--
-- KEYS 1 stream     stream  the blocks
-- ARGV 1 JSON:
--        group
--        consumer
--        idle_ms    only if it has been idle for so long, in milliseconds
--
-- Returns 'removed', 'pending' (it still holds blocks), 'active' (it was not idle for long enough) or 'gone'.
--
-- Atomic, because XGROUP DELCONSUMER throws away whatever is pending: a block delivered in between would be lost.

--- @include layout_library

local stream = KEYS[1]
local group, consumer = arguments.group, arguments.consumer

for _, flat in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
  local about = {}
  for at = 1, #flat, 2 do
    about[flat[at]] = flat[at + 1]
  end
  if about.name == consumer then
    if about.pending > 0 then
      return 'pending'
    end
    if about.idle < arguments.idle_ms then
      return 'active'
    end
    redis.call('XGROUP', 'DELCONSUMER', stream, group, consumer)
    return 'removed'
  end
end
return 'gone'
