-- ensure_layout: store the layout where there is none, and say which one is stored.
--
-- KEYS 1 layout   hash  how lines are counted; see tally/layout.py
-- ARGV 1 JSON:
--        layout   field -> value of the caller's layout, `format`, `digest` and `windows` among them, and `shards` and
--                 `stripe_bytes` where there is more than one shard; an ingestor's without `digest` and `windows`
--
-- Returns {field, value, …} of what is stored afterwards, which is another layout than the caller's if its format, shards,
-- stripes or digest differ; nothing was written then. Nor is anything where it is equal, so that a server that takes no
-- writes, a full one say, is no reason not to start. Only how many windows are kept is renewed.
--
-- Atomic, or two aggregators with different settings could each find none.

local layout = KEYS[1]
local ours, flat = cjson.decode(ARGV[1]).layout, {}
for field, value in pairs(ours) do
  flat[#flat + 1] = field
  flat[#flat + 1] = value
end
local format, digest, windows, shards, stripe_bytes =
  unpack(redis.call('HMGET', layout, 'format', 'digest', 'windows', 'shards', 'stripe_bytes'))
local other = format and (format ~= ours.format
    or (shards or nil) ~= ours.shards or (stripe_bytes or nil) ~= ours.stripe_bytes)
  or digest and digest ~= ours.digest

if not other and not digest then
  -- A full server refuses what needs memory as a script's first write, but nothing behind one that needs none.
  redis.call('HDEL', layout, 'since')
  redis.call('HSET', layout, 'since', redis.call('TIME')[1], unpack(flat))
elseif not other and windows ~= ours.windows then
  redis.call('HDEL', layout, 'windows')
  redis.call('HSET', layout, 'windows', ours.windows)
end
return redis.call('HGETALL', layout)
