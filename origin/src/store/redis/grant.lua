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

local function put_access(number, generation, access)
  local key = access_keys .. number
  redis.call('HSET', key, 'generation', generation, 'expires_at', access.expires_at,
    'list', access.list, 'idx', access.idx)
  keep_until(key, access.expires_at)
end

-- Revokes the grant, and returns `reply` with the statuses of its access tokens behind it: lists
-- and indices in turn. The rows of the access tokens are dead by `revoked_at`; they stay until
-- their end, so that whoever asks again is told the same statuses. Rows that are missing had
-- ended or were revoked alone. The newest thousand are looked at: older ones are of generations
-- that ended long ago, of a client that refreshes several times a second.
--
-- Deletes the code first: a deletion is never refused for want of memory, and a script that has
-- written once may go on.
local function revoke(numbers, reply)
  redis.call('DEL', code_key)
  redis.call('HSETNX', grant_key, 'revoked_at', now)
  local missing = 0
  for number = numbers, math.max(1, numbers - 999), -1 do
    local list, idx = unpack(redis.call('HMGET', access_keys .. number, 'list', 'idx'))
    if list then
      reply[#reply + 1], reply[#reply + 2], missing = list, idx, 0
    else
      missing = missing + 1
      if missing == 64 then break end
    end
  end
  return reply
end

-- Writes a new grant and its first access token. Without a refresh token it is of generation 0.
local function begin(grant, ends, access)
  local generation = 0
  if grant.refresh ~= '' then generation = 1 end
  redis.call('HSET', grant_key,
    'client_id', grant.client_id, 'user_id', grant.user_id, 'scope', grant.scope,
    'auth_time', grant.auth_time, 'code', grant.code,
    'generation', generation, 'current', grant.refresh, 'rotated_at', now, 'numbers', 1,
    'expires_at', ends.expires_at, 'idle_expires_at', ends.idle_expires_at)
  keep_until(grant_key, ends.idle_expires_at)
  put_access(1, generation, access)
end
