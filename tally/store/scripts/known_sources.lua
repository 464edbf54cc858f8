-- known_sources: what is stored of some sources: of those with these names, and of those whose names begin so.
--
-- KEYS 1 sources       hash        source -> position in bytes
--      2 lasts         hash        source -> POSITION:FINGERPRINT of the bytes before its position
--      3 seen          sorted set  source, scored by its last append in Unix milliseconds
--      4 names         sorted set  the sources that are looked up by how their name begins; an empty name once it is whole
--      5 befores       hash        source -> how far it was under layouts of before, JSON; see tally/vectors.py
-- ARGV 1 JSON:
--        source_names  names of sources
--        beginnings    how names begin
--
-- Returns a list. First a word:
--   known       then name, position, fingerprint, time in milliseconds, and what is in `befores`, of each source that is
--               stored, one after the other; the fingerprint is empty if none is of that position, and so is the time if
--               there is none, and what is in `befores`
--   unlisted    `names` is not whole, as in a store of before it was kept; nothing else
--
-- Only reads. Atomic, because a position and the fingerprint of another one belong to no file.

local sources, lasts, seen, names, befores = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local arguments = cjson.decode(ARGV[1])

local asked = arguments.source_names
if #arguments.beginnings > 0 and not redis.call('ZSCORE', names, '') then
  return {'unlisted'}
end
for _, beginning in ipairs(arguments.beginnings) do
  -- No byte of a name, which is UTF-8, is as high as the one that ends the range.
  for _, name in ipairs(redis.call('ZRANGEBYLEX', names, '[' .. beginning, '(' .. beginning .. '\255')) do
    if name ~= '' then
      asked[#asked + 1] = name
    end
  end
end

local was_moved = redis.call('EXISTS', befores) == 1
local answer = {'known'}
for first = 1, #asked, 1000 do
  local some = {unpack(asked, first, math.min(first + 999, #asked))}
  local positions = redis.call('HMGET', sources, unpack(some))
  for at, position in ipairs(positions) do
    if position then
      local name = some[at]
      local stored = redis.call('HGET', lasts, name) or ''
      local of, last = string.match(stored, '^(%d+):(.+)$')
      if of ~= position then
        last = ''
      end
      answer[#answer + 1] = name
      answer[#answer + 1] = position
      answer[#answer + 1] = last
      answer[#answer + 1] = redis.call('ZSCORE', seen, name) or ''
      answer[#answer + 1] = was_moved and redis.call('HGET', befores, name) or ''
    end
  end
end
return answer
