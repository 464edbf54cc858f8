-- rebuild_top: put words among the top ones that are missing there since others were taken out.
--
-- KEYS 1 backlog  hash        see names_library.lua
--      2 words    hash        word -> count, of all time
--      3 top      sorted set  the most frequent words
-- ARGV 1 JSON:
--        moved    the field of `backlog` as it was when the caller began to look through all words, '' if there was none
--        max_top  how many words are in `top`
--        lease    token of the caller's lease, if it has one
--      then       words: the most frequent ones that the caller found
--
-- Returns
--   {'rebuilt'}
--   {'moved'}   more words were taken out since: begin again
--   {'held'}    somebody else has the lease, or the caller has lost it
--   {'wrong-type', key, type, expected type}
-- Nothing was written with the last three.
--
-- Words are counted all the while. One that was counted since the caller began is in `top`, or as many are in it as may be that
-- were counted as often: apply.lua sees to it, as long as none is taken out. One that was not has the count that the caller found.
-- So the most frequent ones of both together are the most frequent ones of all.

--- @include layout_library
--- @include types_library
--- @include windows_library
--- @include names_library
--- @include lease_library

local backlog, words, top = KEYS[1], KEYS[2], KEYS[3]
local max_top = arguments.max_top

local wrong = wrong_type({backlog, words}, 'hash') or wrong_type({top}, 'zset')
if wrong then
  return wrong
end
if (redis.call('HGET', backlog, 'moved') or '') ~= arguments.moved then
  return {'moved'}
end
if is_held(backlog, arguments.lease) then
  return {'held'}
end
-- The first write takes no memory: a full Redis would refuse the script.
redis.call('HDEL', backlog, 'top_floor')
for at, count in ipairs(counts_of(words, ARGV)) do
  if tonumber(count or '') then
    redis.call('ZADD', top, count, ARGV[at])
  end
end
local too_many = redis.call('ZCARD', top) - max_top
if too_many > 0 then
  redis.call('ZREMRANGEBYRANK', top, 0, too_many - 1)
end
return {'rebuilt'}
