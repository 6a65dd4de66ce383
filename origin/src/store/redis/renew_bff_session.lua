-- Writes the renewed tokens of a session down, if the renewal is still the one under way.
--
-- KEYS  1 the session
-- ARGV  1 the renewal · 2 when the tokens are to be renewed again · 3 the tokens, sealed

if redis.call('HGET', KEYS[1], 'renewal') ~= ARGV[1] then return 0 end

redis.call('HSET', KEYS[1], 'renew_at', ARGV[2], 'sealed', ARGV[3])
redis.call('HINCRBY', KEYS[1], 'version', 1)
redis.call('HDEL', KEYS[1], 'renewal', 'renewal_expires_at')
return 1
