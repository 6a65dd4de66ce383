-- What the scripts about one grant share; it stands before each of them.
--
-- KEYS  1 the grant · 2 its code
-- ARGV  1 the keys of its access tokens, up to their number · 2 now
--       3 seconds that a row outlives its end
--
-- The rows of access tokens are the only ones that are not in KEYS: their numbers are known only
-- here. They carry the grant's hash tag, so they lie in the same slot of a cluster.

local grant_key, code_key = KEYS[1], KEYS[2]
local access_keys, now, leeway = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local function keep_until(key, ends_at)
  redis.call('EXPIRE', key, ends_at - now + leeway)
end

local function put_access(number, generation, expires_at)
  local key = access_keys .. number
  redis.call('HSET', key, 'generation', generation, 'expires_at', expires_at)
  keep_until(key, expires_at)
end

-- Deletes the code first: a deletion is never refused for want of memory, and a script that has
-- written once may go on. Only the newest access tokens can still be alive; whichever row is left
-- is dead by `revoked_at`.
local function revoke(numbers)
  redis.call('DEL', code_key)
  redis.call('HSETNX', grant_key, 'revoked_at', now)
  local rows = {}
  for number = numbers, math.max(1, numbers - 63), -1 do
    rows[#rows + 1] = access_keys .. number
  end
  if #rows > 0 then redis.call('DEL', unpack(rows)) end
end

-- Writes a new grant and its first access token. Without a refresh token it is of generation 0.
local function begin(grant, ends)
  local generation = 0
  if grant.refresh ~= '' then generation = 1 end
  redis.call('HSET', grant_key,
    'client_id', grant.client_id, 'user_id', grant.user_id, 'scope', grant.scope,
    'auth_time', grant.auth_time, 'code', grant.code,
    'generation', generation, 'current', grant.refresh, 'rotated_at', now, 'numbers', 1,
    'expires_at', ends.expires_at, 'idle_expires_at', ends.idle_expires_at)
  keep_until(grant_key, ends.idle_expires_at)
  put_access(1, generation, ends.access_expires_at)
end
