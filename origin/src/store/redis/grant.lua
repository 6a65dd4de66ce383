-- What the scripts about one grant share; it stands before each of them.
--
-- KEYS  1 the grant · 2 its code
-- ARGV  1 the keys of its access tokens, up to their number · 2 now
--       3 seconds that a row outlives its end
--
-- The rows of access tokens are the only ones that are not in KEYS: their numbers are known only
-- here. They carry the grant's hash tag, so they lie in the same slot of a cluster. While that
-- slot moves from one server to another, some may be here and some there; a server then puts off
-- whatever is about several keys of which one is missing, and of grant and code one always is:
-- the code goes when the grant begins.

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

-- Moves the number of the oldest access token that may be alive past rows that are gone, and
-- returns it. No row is deleted before its end, a revoked one neither, and none comes back: one
-- that is gone has ended. (A server that evicts rows breaks this, too, and is complained of.)
--
-- A few steps at most: a rotation adds one number and passes up to eight, so the numbers from the
-- oldest on are never more than were once issued while one row lived.
local function pass_ended(oldest, numbers)
  local last = math.min(oldest + 8, numbers)
  while oldest < last and redis.call('EXISTS', access_keys .. oldest) == 0 do
    oldest = oldest + 1
  end
  return oldest
end

-- Revokes the grant, which is there, and returns `reply` with the statuses of its access tokens
-- behind it: lists and indices in turn. The rows of the access tokens are dead by the grant's
-- `revoked_at`; they stay until their end, so that whoever asks again is told the same statuses.
--
-- Every number is looked at from the oldest that may be alive to the newest, because rows may end
-- in another order than they began: clocks differ, and the end of a grant cuts them short.
--
-- Deletes the code first: a deletion is never refused for want of memory, and a script that has
-- written once may go on.
local function revoke(reply)
  redis.call('DEL', code_key)
  redis.call('HSETNX', grant_key, 'revoked_at', now)
  local oldest, numbers = unpack(redis.call('HMGET', grant_key, 'oldest', 'numbers'))
  for number = tonumber(oldest or 1), tonumber(numbers) do
    local list, idx = unpack(redis.call('HMGET', access_keys .. number, 'list', 'idx'))
    if list then reply[#reply + 1], reply[#reply + 2] = list, idx end
  end
  return reply
end

-- Tells whether the grant was begun with this code by this client.
local function began_with(code, client_id)
  local redeemed, redeemer = unpack(redis.call('HMGET', grant_key, 'code', 'client_id'))
  return redeemed == code and redeemer == client_id
end

-- Writes a new grant and its first access token. Without a refresh token it is of generation 0.
local function begin(grant, ends, access)
  local generation = 0
  if grant.refresh ~= '' then generation = 1 end
  redis.call('HSET', grant_key,
    'client_id', grant.client_id, 'user_id', grant.user_id, 'scope', grant.scope,
    'auth_time', grant.auth_time, 'code', grant.code,
    'generation', generation, 'current', grant.refresh, 'rotated_at', now,
    'numbers', 1, 'oldest', 1,
    'expires_at', ends.expires_at, 'idle_expires_at', ends.idle_expires_at)
  keep_until(grant_key, ends.idle_expires_at)
  put_access(1, generation, access)
end
