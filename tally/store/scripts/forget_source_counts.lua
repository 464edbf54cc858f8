-- forget_source_counts: forget what was counted of sources from which nothing has come for long.
--
-- KEYS 1 lines         hash        what a source is called -> lines counted
--      2 rejected      hash        the same -> lines rejected
--      3 newest        hash        the same -> when the newest of them was appended, in Unix milliseconds
-- ARGV 1 JSON:
--        before_ms     only those from which nothing has come since then
--        source_names  what they are called
--
-- Returns how many were forgotten.
--
-- Atomic, or what is counted in between would be forgotten in part.

--- @include layout_library
--- @include types_library

local lines, rejected, newest = KEYS[1], KEYS[2], KEYS[3]

local wrong = wrong_type({lines, rejected, newest}, 'hash')
if wrong then
  return wrong
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
