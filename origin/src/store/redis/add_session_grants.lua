-- Remembers grants under a live session; returns how many it has then, or 0 when it is not live.
--
-- KEYS  1 the session · 2 its grants
-- ARGV  1 now · 2 seconds that a row outlives its end · then the grants, a few thousand at most,
--       because Lua unpacks no more than 8,000 at once

local now = tonumber(ARGV[1])

local expires_at, idle_end =
  unpack(redis.call('HMGET', KEYS[1], 'expires_at', 'idle_expires_at'))
if not expires_at or tonumber(idle_end) <= now then return 0 end

redis.call('SADD', KEYS[2], unpack(ARGV, 3))
redis.call('EXPIRE', KEYS[2], expires_at - now + ARGV[2])
return redis.call('SCARD', KEYS[2])
