-- list_dead_letters: which dead letters there are, without what they hold.
--
-- KEYS 1 dead_letters  stream  see dead_letter.lua and apply.lua
-- ARGV 1 JSON:
--        first          ID of the first one to tell of; '-' for the oldest, '(ID' for the one behind an ID
--        last           of the last one; '+' for the newest
--        most           how many to tell of
--        bytes_at_once  how many bytes of them to look at in one call, about
--        fields         of which fields to tell the values
--        most_bytes     how many bytes of each value
--
-- Returns {ID of the last one that was looked at, or '' after the end;
--          then of each: {ID, kind, digest, bytes of its lines or its body, its lines, value of the first field, …}}
-- where a field that is not there has an empty value. Writes nothing.
--
-- In a script, because a block may hold megabytes, and what is asked for is who they are.

--- @include dead_letters_library

local dead_letters = KEYS[1]
local arguments = cjson.decode(ARGV[1])

local function lines_of(text)
  local lines, at = text ~= '' and 1 or 0, string.find(text, '\n', 1, true)
  while at do
    lines, at = lines + 1, string.find(text, '\n', at + 1, true)
  end
  return lines
end

local found, first, bytes = {''}, arguments.first, 0
while #found <= arguments.most and bytes < arguments.bytes_at_once do
  local entry = redis.call('XRANGE', dead_letters, first, arguments.last, 'COUNT', 1)[1]
  if not entry then
    found[1] = ''
    break
  end
  local values = values_of(entry[2], arguments.fields)
  local whole = values_of(entry[2], {'lines', 'body'})
  local content = whole.lines or whole.body or ''
  local one = {entry[1], kind_of(entry[2]), digest_of(entry[2]), #content, lines_of(whole.lines or '')}
  for _, field in ipairs(arguments.fields) do
    one[#one + 1] = string.sub(values[field] or '', 1, arguments.most_bytes)
  end
  found[#found + 1] = one
  bytes, first = bytes + #content, '(' .. entry[1]
  found[1] = entry[1]
  if entry[1] == '18446744073709551615-18446744073709551615' then -- nothing can come behind, and Redis refuses to look
    found[1] = ''
    break
  end
end
return found
