-- Lets somebody else go on with a renewal that came to nothing.
--
-- KEYS  1 the session
-- ARGV  1 the renewal

if redis.call('HGET', KEYS[1], 'renewal') ~= ARGV[1] then return end
redis.call('HSET', KEYS[1], 'renewal_expires_at', 0)
