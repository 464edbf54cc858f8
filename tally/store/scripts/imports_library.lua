-- Functions about how far an import is.
--
-- A hash in each shard says so: ID of the export -> the number of the line of it up to which the shard has all that is its own, or
-- `done:` with when that was, in Unix seconds. It is written by the very scripts that write what it tells of.

-- luacheck: push ignore 211 (no script uses all of it)
-- Whether a step of an import is to be written, which begins at the line `before` and ends at the line `after`. Returns a word:
--   write     it is
--   written   it is already: the reply to an earlier try was lost
--   moved     the import is elsewhere: another process runs it, or the server has lost its last writes
local function step_of(imports, id, before, after)
  local at = redis.call('HGET', imports, id)
  return at == after and 'written' or at == before and 'write' or 'moved'
end
-- luacheck: pop
