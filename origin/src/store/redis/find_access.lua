-- Tells whether an access token is active, and returns its grant.
--
-- KEYS  1 the grant · 2 the access token
-- ARGV  1 now · 2 seconds for which the previous generation is still covered

local now, grace = tonumber(ARGV[1]), tonumber(ARGV[2])

local generation, ends_at, revoked_alone =
  unpack(redis.call('HMGET', KEYS[2], 'generation', 'expires_at', 'revoked_at'))
if not generation or revoked_alone or tonumber(ends_at) <= now then return false end

local client_id, user_id, scope, auth_time, expires_at, live, previous, rotated_at, idle_end,
  revoked_at =
  unpack(redis.call('HMGET', KEYS[1], 'client_id', 'user_id', 'scope', 'auth_time',
    'expires_at', 'generation', 'previous', 'rotated_at', 'idle_expires_at', 'revoked_at'))
if not client_id or revoked_at or tonumber(idle_end) <= now then return false end

generation, live = tonumber(generation), tonumber(live)
if generation == live then
  -- The answer to the last rotation has arrived, so its token is not needed again. A deletion,
  -- because nothing else is sure to be allowed when memory is full.
  if previous then redis.call('HDEL', KEYS[1], 'previous') end
elseif generation + 1 ~= live or now - tonumber(rotated_at) > grace then
  return false
end
return { client_id, user_id, scope, auth_time, expires_at }
