-- Lists a session among those of its user.
--
-- KEYS  1 the user's sessions
-- ARGV  1 digest of the session · 2 its absolute end · 3 now · 4 seconds that a row outlives its end
--
-- The list lives as long as its last session: the first time it gets its end, later only a later one.
-- Those that are past their ends give way.

local expires_at, now, leeway = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - leeway)
redis.call('ZADD', KEYS[1], expires_at, ARGV[1])
local lives_in = expires_at - now + leeway
if redis.call('TTL', KEYS[1]) < lives_in then redis.call('EXPIRE', KEYS[1], lives_in) end
