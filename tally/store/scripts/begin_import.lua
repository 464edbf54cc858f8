-- begin_import: note that an export is being imported, with what has to be known before any of its counts come.
--
-- KEYS 1 imports    hash        see imports_library.lua
--      2 backlog    hash        see lease_library.lua
--      3 floors     sorted set  see windows_library.lua
--      4 numbers    hash        type -> `NUMBER:SINCE`, of those whose words are counted apart
--      5 numbered   string      how many such numbers were ever given
--      6 types      hash        type -> count
-- ARGV 1 JSON:
--        id          of the export
--        floors      {length, floor} of each length that has one, as texts
--        types       {type, since} of each type that is to have its words apart, since in Unix seconds
--        incomplete  {type, since} of types that were counted without that, if they have their words apart here
--        most        how many types may have their words apart at the most
--
-- Returns {word, ...}:
--   begun   and how far it is; then {type, `NUMBER:SINCE`, ...} of all types that have a number
--   other   and the ID of an export whose import has begun and not ended; nothing was written
--   held    somebody needs the shard to stay as it is; nothing was written
-- Or {'wrong-type', key, type, expected type}; nothing was written then.
--
-- May be called again, by the same import that goes on: numbers are given once, and floors and times only rise.
--
-- Atomic, or two imports could begin at once, or two types could get the same number.

--- @include layout_library
--- @include lease_library
--- @include types_library

local imports, backlog, floors, numbers, numbered = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local types, id = KEYS[6], arguments.id

local wrong = wrong_type({imports, backlog, numbers, types}, 'hash') or wrong_type({floors}, 'zset')
  or wrong_type({numbered}, 'string')
if wrong then
  return wrong
end
local given = redis.call('GET', numbered) or '0'
if #given > 9 or not string.match(given, '^%d+$') then
  return {'wrong-type', numbered, given, 'number'}
end
local begun = redis.call('HGETALL', imports)
for at = 1, #begun, 2 do
  if begun[at] ~= id and string.sub(begun[at + 1], 1, 5) ~= 'done:' then
    return {'other', begun[at]}
  end
end
if is_held(backlog) then
  return {'held'}
end

ensure_layout()
redis.call('HSETNX', imports, id, 0)
for _, floor in ipairs(arguments.floors) do
  redis.call('ZADD', floors, 'GT', floor[2], floor[1])
end

-- Words of a type are all counted apart only from the later of two times on.
local function put(type_, number, since, stored)
  redis.call('HSET', numbers, type_, number .. ':' .. string.format('%d', math.max(since, tonumber(stored) or 0)))
end
local room = arguments.most - redis.call('HLEN', numbers)
for _, each in ipairs(arguments.types) do
  local type_, since = each[1], each[2]
  local number, stored = string.match(redis.call('HGET', numbers, type_) or '', '^(%d+):(%d+)$')
  if number then
    put(type_, number, since, stored)
  elseif room > 0 then
    room = room - 1
    local counted = redis.call('HEXISTS', types, type_) == 1
    put(type_, string.format('%d', redis.call('INCR', numbered)), since, counted and redis.call('TIME')[1])
  end
end
for _, each in ipairs(arguments.incomplete) do
  local number, stored = string.match(redis.call('HGET', numbers, each[1]) or '', '^(%d+):(%d+)$')
  if number then
    put(each[1], number, each[2], stored)
  end
end
return {'begun', redis.call('HGET', imports, id), redis.call('HGETALL', numbers)}
