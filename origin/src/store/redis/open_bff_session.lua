-- Finds a session of the backend-for-frontend, moves its idle end, and tells who renews its tokens
-- when they are due: whoever asks first, and again somebody when that one has not come back.
--
-- KEYS  1 the session
-- ARGV  1 now · 2 the new idle end · 3 seconds that a row outlives its end
--       4 a version whose tokens are not good any more, or empty
--       5 a name for the renewal that this may begin · 6 its end

local now = tonumber(ARGV[1])

local version, user_id, client_id, grant_id, auth_time, expires_at, idle_end, renew_at, sealed,
  renewal, renewal_ends_at =
  unpack(redis.call('HMGET', KEYS[1], 'version', 'user_id', 'client_id', 'grant_id', 'auth_time',
    'expires_at', 'idle_expires_at', 'renew_at', 'sealed', 'renewal', 'renewal_expires_at'))
if not version or tonumber(idle_end) <= now then return { 'missing' } end

idle_end = math.min(tonumber(ARGV[2]), tonumber(expires_at))
redis.call('HSET', KEYS[1], 'idle_expires_at', idle_end)
redis.call('EXPIRE', KEYS[1], idle_end - now + ARGV[3])

local verdict = 'current'
if tonumber(renew_at) <= now or version == ARGV[4] then
  if renewal and tonumber(renewal_ends_at) > now then return { 'underway' } end
  verdict = renewal and 'resume' or 'renew'
  redis.call('HSET', KEYS[1], 'renewal', ARGV[5], 'renewal_expires_at', ARGV[6])
end
return { verdict, version, user_id, client_id, grant_id, auth_time, expires_at, renew_at, sealed }
