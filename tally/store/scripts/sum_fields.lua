-- sum_fields: how much some names come to in each of several hashes of counts.
--
-- KEYS         counts  hashes  name -> count
-- ARGV 1 JSON:
--        names   which, one at least
--        other   the word for 'other'
--
-- Returns of each hash two texts (numbers here are exact to 2^53 only): what the names come to; and what they may come to besides,
-- which is what is under 'other' where one of them has no place of its own, else 0. Writes nothing.
--
-- In a script, for tens of thousands of hashes cost the asker twenty times less than as many answers of a line each.

local arguments = cjson.decode(ARGV[1])
local names = arguments.names
names[#names + 1] = arguments.other

local found = {}
for _, key in ipairs(KEYS) do
  local counts = redis.call('HMGET', key, unpack(names))
  local sum, hidden = 0, '0'
  for at = 1, #names - 1 do
    if counts[at] then
      sum = sum + tonumber(counts[at])
    else
      hidden = counts[#names] or '0'
    end
  end
  found[#found + 1] = string.format('%.0f', sum)
  found[#found + 1] = hidden
end
return found
