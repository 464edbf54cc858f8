-- What an entry of the dead letters is. Anybody may add entries there, too.

-- luacheck: push ignore 211 (no script uses all of it)
-- Returns 'block' (dead_letter.lua put it there: its own fields, then `id` and `deliveries`), 'chunk' (apply.lua did: `targets`
-- and `body` first), or 'unknown'.
local function kind_of(fields)
  local last = #fields
  if last >= 4 and fields[last - 3] == 'id' and string.match(fields[last - 2], '^%d+%-%d+$')
    and fields[last - 1] == 'deliveries' then
    return 'block'
  end
  if fields[1] == 'targets' and fields[3] == 'body' then
    return 'chunk'
  end
  return 'unknown'
end

-- Returns what an entry holds by these fields; of one that it has several times the last, which is what clients see of it.
local function values_of(fields, names)
  local asked_for, found = {}, {}
  for _, name in ipairs(names) do
    asked_for[name] = true
  end
  for at = 1, #fields, 2 do
    if asked_for[fields[at]] then
      found[fields[at]] = fields[at + 1]
    end
  end
  return found
end

-- Returns what tells an entry from another one under the same ID, which may come after a fail-over.
local function digest_of(fields)
  return redis.sha1hex(cmsgpack.pack(fields))
end

-- Returns the fields of the dead letter that was looked at: under this ID, with this digest and, if it is given, of this kind.
-- Otherwise nil and why not: 'gone' or 'changed'.
local function letter_of(dead_letters, id, digest, kind)
  local entry = redis.call('XRANGE', dead_letters, id, id)[1]
  if not entry then
    return nil, 'gone'
  end
  if digest_of(entry[2]) ~= digest or (kind and kind_of(entry[2]) ~= kind) then
    return nil, 'changed'
  end
  return entry[2]
end
-- luacheck: pop
