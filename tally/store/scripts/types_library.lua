-- The type of each key, looked at before anything is written: what a script has written stays when an error ends it.

-- Returns {'wrong-type', key, its type, the expected type} of the first of these keys that has another type; nil if none has.
-- A key that is not there has any.
local function wrong_type(keys, expected)
  for _, key in ipairs(keys) do
    local found = redis.call('TYPE', key).ok
    if found ~= expected and found ~= 'none' then
      return {'wrong-type', key, found, expected}
    end
  end
end
