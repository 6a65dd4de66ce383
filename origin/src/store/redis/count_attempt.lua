-- Counts an attempt that is under way and returns 0; or, when the limit is reached, the seconds until
-- the first one that is counted ends.
--
-- Writes the attempt before anything else: so it is refused when memory is full, and nobody guesses
-- what cannot be counted. What has ended is deleted after it.
--
-- KEYS  1 the attempts
-- ARGV  1 now · 2 limit · 3 the attempt · 4 when it ends, if nothing is heard of it · 5 seconds that a
--       row outlives its end

local now = tonumber(ARGV[1])
local counted = redis.call('ZRANGE', KEYS[1], '(' .. now, '+inf', 'BYSCORE', 'WITHSCORES')
if #counted / 2 >= tonumber(ARGV[2]) then
  return math.max(1, tonumber(counted[2] or now) - now)
end

redis.call('ZADD', KEYS[1], ARGV[4], ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local last = math.max(tonumber(counted[#counted] or now), tonumber(ARGV[4]))
redis.call('EXPIRE', KEYS[1], last - now + ARGV[5])
return 0
