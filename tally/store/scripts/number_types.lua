-- number_types: give numbers to types whose words are counted apart.
--
-- KEYS 1 numbers   hash        type -> `NUMBER:SINCE`
--      2 numbered  string      how many numbers were ever given
--      3 retired   sorted set  numbers that no type has any more
-- ARGV 1 JSON:
--        types   those that are to have one, the most wanted first
--        most    how many types may have one at the most
--
-- Returns {how many numbers were ever given, {type, `NUMBER:SINCE`, …}} of all types that have one then.
-- Or {'wrong-type', key, type, expected type}; nothing was written then.
--
-- Under a lease, too, because what waits is counted then.
--
-- Atomic, or two types could get the same number.

--- @include layout_library
--- @include types_library

local numbers, numbered, retired = KEYS[1], KEYS[2], KEYS[3]

local wrong = wrong_type({numbers}, 'hash') or wrong_type({numbered}, 'string') or wrong_type({retired}, 'zset')
if wrong then
  return wrong
end
local given = redis.call('GET', numbered) or '0'
if #given > 9 or not string.match(given, '^%d+$') then
  return {'wrong-type', numbered, given, 'number'}
end
local missing, room = {}, arguments.most - redis.call('HLEN', numbers)
for _, type_ in ipairs(arguments.types) do
  if #missing >= room then
    break
  elseif redis.call('HEXISTS', numbers, type_) == 0 then
    missing[#missing + 1] = type_
  end
end

if #missing > 0 then
  -- Changes nothing. A full Redis refuses a script whose first write may take memory; but only what is counted empties one that is
  -- full of blocks.
  redis.call('ZREM', retired, '')
  ensure_layout()
  local since = redis.call('TIME')[1]
  for _, type_ in ipairs(missing) do
    redis.call('HSET', numbers, type_, string.format('%d:%s', redis.call('INCR', numbered), since))
  end
end
return {tonumber(redis.call('GET', numbered) or 0), redis.call('HGETALL', numbers)}
