-- Counts an attempt and returns 0, or the seconds to wait when the limit is reached.
--
-- KEYS  1 the attempts
-- ARGV  1 now · 2 limit · 3 seconds that the window lasts · 4 seconds that a row outlives its end

local now, limit, window = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

local count, ends_at = unpack(redis.call('HMGET', KEYS[1], 'count', 'expires_at'))
count, ends_at = tonumber(count or 0), tonumber(ends_at or 0)
if ends_at <= now then
  count, ends_at = 0, now + window
end
-- Should the clock have gone back, nobody waits longer than a window.
if count >= limit then return math.max(1, math.min(ends_at - now, window)) end

redis.call('HSET', KEYS[1], 'count', count + 1, 'expires_at', ends_at)
redis.call('EXPIRE', KEYS[1], ends_at - now + ARGV[4])
return 0
