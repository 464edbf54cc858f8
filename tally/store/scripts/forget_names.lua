-- forget_names: move what some hashes of counts have of some names to 'other'.
--
-- KEYS 1 backlog   hash        see names_library.lua
--      2 top       sorted set  the most frequent words
--      3 numbers   hash        type -> `NUMBER:SINCE`, of those whose words are counted apart
--      4 numbered  string      how many such numbers were ever given
--      5 retired   sorted set  numbers that no type has any more
--      then        counts      hashes, name -> count
-- ARGV 1 JSON:
--        kind      what they are names of where the hashes are those of all time: `words`, which leave the top ones, or `types`,
--                  which lose their numbers; '' for other hashes
--        max_top   how many words are in `top`
--        other     the word for 'other'
--        lease     token of the caller's lease, if it has one
--      then        names
--
-- Returns
--   {'moved', how many fields}
--   {'held'}   somebody else has the lease, or the caller has lost it
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
local kind, max_top, other = arguments.kind, arguments.max_top, arguments.other
local hashes = {unpack(KEYS, 6)}

local wrong = wrong_type({backlog, numbers}, 'hash') or wrong_type({top, retired}, 'zset')
  or wrong_type({numbered}, 'string') or wrong_type(hashes, 'hash')
if wrong then
  return wrong
end
if is_held(backlog, arguments.lease) then
  return {'held'}
end

local moved = 0
for _, key in ipairs(hashes) do
  local names, counts = {}, {}
  for at, count in ipairs(counts_of(key, ARGV)) do
    if count and ARGV[at] ~= other then
      names[#names + 1], counts[#counts + 1] = ARGV[at], count
    end
  end
  if #names > 0 then
    move_to_other(key, names, counts, other)
    moved = moved + #names
  end
end
if kind == 'words' then
  leave_top(top, backlog, ARGV, max_top)
elseif kind == 'types' then
  retire(numbers, numbered, retired, ARGV)
end
if moved > 0 then
  redis.call('HINCRBY', backlog, 'moved', 1)
  redis.call('HSET', backlog, 'forgotten', 1)
end
return {'moved', moved}
