-- permissions: which commands the user may not run.
--
-- KEYS 1 key   any of ours
-- ARGV 1 JSON:
--        calls   of each command the words that a call of it begins with, up to its key
--
-- Returns the names of those that the user may not run, or that the server does not know, as where a host has renamed them.
-- Writes nothing, and calls none of them.

local refused = {}
for _, call in ipairs(redis.acl_check_cmd and cjson.decode(ARGV[1]).calls or {}) do -- fakeredis has no users
  local words = #call
  local name = words == 2 and call[1] .. ' ' .. call[2] or call[1]
  -- With as many words as any call has: Valkey 9.1 crashes where it looks for a key behind the last one.
  for word = words + 1, words + 6 do
    call[word] = KEYS[1]
  end
  local known, allowed = pcall(redis.acl_check_cmd, unpack(call))
  -- Other errors are no answer: some servers that are not Redis may have a function of this name that knows less.
  if known and not allowed or not known and string.find(tostring(allowed), 'Invalid command', 1, true) then
    refused[#refused + 1] = name
  end
end
return refused
