-- Lets the previous refresh token return its successor until it does, however late.
--
-- KEYS  1 the grant
-- ARGV  1 digest of the previous refresh token

local previous, idle_end = unpack(redis.call('HMGET', KEYS[1], 'previous', 'idle_expires_at'))
if previous == ARGV[1] then redis.call('HSET', KEYS[1], 'rotated_at', idle_end) end
