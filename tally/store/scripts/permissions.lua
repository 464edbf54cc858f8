-- permissions: which of some calls the user may not make.
--
-- KEYS 1 key   any of ours
-- ARGV 1 JSON:
--        calls   of each the words that it begins with, its key the last of them
--
-- Returns the places, from 1, of those that the user may not make: a command is not allowed, or not on this key; or the server
-- does not know the command, as where a host has renamed it. Writes nothing, and makes none of them.

local refused = {}
for at, call in ipairs(redis.acl_check_cmd and cjson.decode(ARGV[1]).calls or {}) do -- fakeredis has no users
  local words = #call
  -- With as many words as any call has: Valkey 9.1 crashes where it looks for a key behind the last one.
  for word = words + 1, words + 5 do
    call[word] = call[words]
  end
  local known, allowed = pcall(redis.acl_check_cmd, unpack(call))
  -- Other errors are no answer: some servers that are not Redis may have a function of this name that knows less.
  if known and not allowed or not known and string.find(tostring(allowed), 'Invalid command', 1, true) then
    refused[#refused + 1] = at
  end
end
return refused
