-- forget_source_counts: forget what was counted of sources from which nothing has come for long.
--
-- KEYS 1 lines         hash        what a source is called -> lines counted
--      2 rejected      hash        the same -> lines rejected
--      3 newest        hash        the same -> when the newest of them was appended, in Unix milliseconds
--      4 backlog       hash        see lease_library.lua
-- ARGV 1 JSON:
--        before_ms     only those from which nothing has come since then
--        source_names  what they are called
--
-- Returns how many were forgotten; or 'held' if somebody has the lease: it is tidied up another time. Nothing was written then.
--
-- Atomic, or what is counted in between would be forgotten in part.

--- @include layout_library
--- @include types_library
--- @include lease_library

local lines, rejected, newest, backlog = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

local wrong = wrong_type({lines, rejected, newest, backlog}, 'hash')
if wrong then
  return wrong
end
if is_held(backlog) then
  return 'held'
end
local forgotten = 0
for _, name in ipairs(arguments.source_names) do
  if (tonumber(redis.call('HGET', newest, name) or 0) or 0) < arguments.before_ms then
    redis.call('HDEL', newest, name)
    redis.call('HDEL', rejected, name)
    forgotten = forgotten + redis.call('HDEL', lines, name)
  end
end
return forgotten
