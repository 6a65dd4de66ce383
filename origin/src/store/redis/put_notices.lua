-- Remembers notices; those that wait already become due no later.
--
-- KEYS  1 the notices that wait · then each of these notices
-- ARGV  1 now · 2 when they are due · 3 their end · 4 seconds that a row outlives its end
--       then digest, client_id, user_id and sid of each, in turn

local now, due_at, expires_at = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local lives_in = expires_at - now + tonumber(ARGV[4])

for at = 5, #ARGV, 4 do
  local digest, key = ARGV[at], KEYS[(at - 5) / 4 + 2]
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
