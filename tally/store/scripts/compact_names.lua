-- compact_names: move rare names of one hash of counts to 'other', if they still are.
--
-- KEYS 1 backlog   hash        see names_library.lua
--      2 top       sorted set  the most frequent words
--      3 numbers   hash        type -> `NUMBER:SINCE`, of those whose words are counted apart
--      4 numbered  string      how many such numbers were ever given
--      5 retired   sorted set  numbers that no type has any more
--      6 counts    hash        name -> count
--      7 all_time  hash        the same of all time, where `counts` is another one
-- ARGV 1 JSON:
--        kind      what they are names of where `counts` is the hash of all time: `words`, which leave the top ones, or `types`,
--                  which lose their numbers; '' for other hashes
--        under     of another hash, how often a name was counted in it at the least that stays
--        max_top   how many words are in `top`
--        other     the word for 'other'
--        lease     token of the caller's lease, if it has one
--      then        names; those of all time each with the count that it has there as the caller knows it
--
-- Returns
--   {'moved', how many}   of all time not those that were counted since; of another hash not those that have a place of their own
--                         in all time, nor those that were counted there alone as often as `under` says
--   {'held'}              somebody else has the lease, or the caller has lost it
--   {'wrong-type', key, type, expected type}
-- Nothing was written with the last two.
--
-- Atomic, or what is counted in between would be lost.

--- @include layout_library
--- @include types_library
--- @include windows_library
--- @include names_library
--- @include lease_library

local backlog, top, numbers, numbered, retired = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local key, all_time = KEYS[6], KEYS[7]
local kind, max_top, other, under = arguments.kind, arguments.max_top, arguments.other, arguments.under

local wrong = wrong_type({backlog, numbers, key, all_time}, 'hash') or wrong_type({top, retired}, 'zset')
  or wrong_type({numbered}, 'string')
if wrong then
  return wrong
end
if is_held(backlog, arguments.lease) then
  return {'held'}
end

local asked, expected = ARGV, nil
if kind ~= '' then
  asked, expected = {}, {}
  for at = 1, #ARGV, 2 do
    asked[#asked + 1], expected[#expected + 1] = ARGV[at], ARGV[at + 1]
  end
end
local found, places = counts_of(key, asked), kind == '' and counts_of(all_time, asked)
local names, counts = {}, {}
for at, name in ipairs(asked) do
  local count = found[at]
  local is_rare
  if expected then
    is_rare = count == expected[at]
  else
    is_rare = not places[at] and (tonumber(count) or 0) < under
  end
  if count and is_rare and name ~= other then
    names[#names + 1], counts[#counts + 1] = name, count
  end
end
if #names == 0 then
  return {'moved', 0}
end
move_to_other(key, names, counts, other)
if kind == 'words' then
  leave_top(top, backlog, names, max_top)
elseif kind == 'types' then
  retire(numbers, numbered, retired, names)
end
redis.call('HINCRBY', backlog, 'moved', 1)
return {'moved', #names}
