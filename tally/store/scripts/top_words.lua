-- top_words: the most frequent words of all time.
--
-- KEYS 1 backlog  hash        see names_library.lua
--      2 top      sorted set  the most frequent words
-- ARGV 1 JSON:
--        most     how many to tell at the most
--
-- Returns {how often a word may have been counted, at the most, that `top` lacks because others were taken out, or 0,
-- {word, count, ...}}: the most frequent first, and all of them more often than that. Writes nothing.
--
-- Atomic, or words could be taken out in between.

local backlog, top = KEYS[1], KEYS[2]
local most = cjson.decode(ARGV[1]).most

local floor = string.match(redis.call('HGET', backlog, 'top_floor') or '', '^%d+$') or '0'
return {tonumber(floor), redis.call('ZRANGE', top, '+inf', '(' .. floor, 'BYSCORE', 'REV', 'LIMIT', 0, most, 'WITHSCORES')}
