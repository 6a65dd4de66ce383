-- Finds a live session and moves its idle end.
--
-- KEYS  1 the session
-- ARGV  1 now · 2 the new idle end · 3 seconds that a row outlives its end

local now = tonumber(ARGV[1])

local user_id, auth_time, expires_at, idle_end, user_agent, address =
  unpack(redis.call('HMGET', KEYS[1], 'user_id', 'auth_time', 'expires_at', 'idle_expires_at',
    'user_agent', 'address'))
if not user_id or tonumber(idle_end) <= now then return false end

idle_end = math.min(tonumber(ARGV[2]), tonumber(expires_at))
redis.call('HSET', KEYS[1], 'idle_expires_at', idle_end, 'used_at', now)
redis.call('EXPIRE', KEYS[1], idle_end - now + ARGV[3])
return { user_id, auth_time, expires_at, user_agent, address }
