-- Remembers notices; those that wait already become due no later.
--
-- KEYS  1 the notices that wait
-- ARGV  1 the keys of notices, up to their digests · 2 now · 3 when they are due
--       4 their end · 5 seconds that a row outlives its end
--       then digest, client_id, user_id and sid of each, in turn
--
-- The notices themselves are not in KEYS: there are as many as clients. They carry the same hash
-- tag.

local notices, now, due_at = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local expires_at = tonumber(ARGV[4])
local lives_in = expires_at - now + tonumber(ARGV[5])

for at = 6, #ARGV, 4 do
  local digest = ARGV[at]
  local key = notices .. digest
  local known, leased_until = unpack(redis.call('HMGET', key, 'client_id', 'leased_until'))
  if not known then
    redis.call('HSET', key, 'client_id', ARGV[at + 1], 'user_id', ARGV[at + 2],
      'sid', ARGV[at + 3], 'attempt', 0, 'expires_at', expires_at)
    redis.call('EXPIRE', key, lives_in)
    redis.call('ZADD', KEYS[1], due_at, digest)
  elseif not leased_until or tonumber(leased_until) <= now then
    redis.call('ZADD', KEYS[1], 'LT', due_at, digest)
  end
end
-- As long as the last notice: the first time it gets its end, later only a later one.
if redis.call('TTL', KEYS[1]) < lives_in then redis.call('EXPIRE', KEYS[1], lives_in) end
