-- Lists a session among those of its user.
--
-- KEYS  1 the user's sessions
-- ARGV  1 digest of the session · 2 its absolute end · 3 now · 4 seconds that a row outlives its end
--       5 how many are listed at most; without it, all
--
-- The list lives as long as its last session: the first time it gets its end, later only a later one.
-- Those that are past their ends give way, and of too many those whose ends come first.

local expires_at, now, leeway = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - leeway)
redis.call('ZADD', KEYS[1], expires_at, ARGV[1])
local lives_in = expires_at - now + leeway
if redis.call('TTL', KEYS[1]) < lives_in then redis.call('EXPIRE', KEYS[1], lives_in) end
if ARGV[5] then
  -- One at most, unless the list was longer before this limit came. One by one, as Lua unpacks no
  -- more than 8,000 at once.
  for _, oldest in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1 - ARGV[5])) do
    redis.call('ZREM', KEYS[1], oldest)
  end
end
