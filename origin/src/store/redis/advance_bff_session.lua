-- Writes down newer tokens of a session whose renewal goes on from them, if it is still under way.
--
-- KEYS  1 the session
-- ARGV  1 the renewal · 2 the tokens, sealed

if redis.call('HGET', KEYS[1], 'renewal') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'sealed', ARGV[2])
return 1
