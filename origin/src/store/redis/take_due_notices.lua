-- Takes notices that are due: each is due again when its lease ends. Returns of each its client_id,
-- user_id, sid, attempt and end, in turn.
--
-- KEYS  1 the notices that wait · 2 a key that is never there
-- ARGV  1 the keys of notices, up to their digests · 2 now · 3 how many at most
--       4 the end of their lease
--
-- The notices themselves are not in KEYS: they are known only here, and carry the same hash tag.
-- While their slot moves from one server to another, some are here and some are there, and one
-- that is missing must not count as gone. The second key keeps this from running then: a server
-- puts off whatever is about several keys of which one is missing.

local notices, now, limit, leased_until = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]

local taken = {}
local due = redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, limit)
for _, digest in ipairs(due) do
  local key = notices .. digest
  local client_id, user_id, sid, expires_at =
    unpack(redis.call('HMGET', key, 'client_id', 'user_id', 'sid', 'expires_at'))
  if client_id and tonumber(expires_at) > now then
    local attempt = redis.call('HINCRBY', key, 'attempt', 1)
    redis.call('HSET', key, 'leased_until', leased_until)
    redis.call('ZADD', KEYS[1], leased_until, digest)
    for _, value in ipairs({ client_id, user_id, sid, tostring(attempt), expires_at }) do
      taken[#taken + 1] = value
    end
  else
    redis.call('ZREM', KEYS[1], digest)
    redis.call('DEL', key)
  end
end
return taken
