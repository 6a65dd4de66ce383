-- Counts an attempt until another end than it had.
--
-- KEYS  1 the attempts
-- ARGV  1 now · 2 the attempt · 3 when it ends · 4 seconds that a row outlives its end

redis.call('ZADD', KEYS[1], ARGV[3], ARGV[2])
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
redis.call('EXPIRE', KEYS[1], last - ARGV[1] + ARGV[4])
