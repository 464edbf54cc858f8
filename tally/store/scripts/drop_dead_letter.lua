-- drop_dead_letter: delete a dead letter, which nobody wants counted; of a block, count it as lost.
--
-- KEYS 1 dead_letters  stream  see dead_letter.lua and apply.lua
--      2 totals        hash    its `lost`
--      3 backlog       hash    see lease_library.lua
-- ARGV 1 JSON:
--        id      of the dead letter
--        digest  of what it holds, as list_dead_letters.lua told it
--        lease   token of the caller's lease, if it has one
--
-- Returns
--   {'dropped'}
--   {'gone'}     there is none under this ID: the reply to an earlier try was lost, or somebody else has moved or dropped it
--   {'changed'}  another one is there than the one that was looked at
--   {'held'}     somebody else has the lease
--   {'wrong-type', key, type, expected type}
-- Nothing was written then.
--
-- Atomic, or what somebody retries meanwhile could be lost, or a block be counted as lost twice.

--- @include layout_library
--- @include types_library
--- @include dead_letters_library
--- @include lease_library

local dead_letters, totals, backlog = KEYS[1], KEYS[2], KEYS[3]
local id = arguments.id

local wrong = wrong_type({dead_letters}, 'stream') or wrong_type({totals, backlog}, 'hash')
if wrong then
  return wrong
end
local letter, why_not = letter_of(dead_letters, id, arguments.digest)
if not letter then
  return {why_not}
end
local is_block = kind_of(letter) == 'block'
local lost = is_block and redis.call('HGET', totals, 'lost')
if lost and not string.match(lost, '^%-?%d+$') then
  return {'wrong-type', totals, 'lost ' .. lost, 'number'}
end
if is_held(backlog, arguments.lease) then
  return {'held'}
end

redis.call('XDEL', dead_letters, id)
if is_block then
  redis.call('HINCRBY', totals, 'lost', 1)
end
return {'dropped'}
