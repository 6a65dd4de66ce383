-- Rotates a refresh token and writes the new access token's row.
--
-- ARGV  4 client_id · 5 generation in the presented token · 6 its digest
--       7 digest of its successor · 8 the scope that is asked for, or empty
--       9 end of the access token · 10 idle end of the successor
--       11 seconds for which the previous token returns its successor
--       12 status list of the access token · 13 its index there
--       14 access tokens of the grant that are alive at most
--       15 presentations of one token that are remembered at most · 16 this one
--       then those of which it is known that nobody was told what came of them

local client_id, generation = ARGV[4], tonumber(ARGV[5])
local presented, successor, scope = ARGV[6], ARGV[7], ARGV[8]
local access_expires_at, idle_expires_at = tonumber(ARGV[9]), tonumber(ARGV[10])
local grace, at_most = tonumber(ARGV[11]), tonumber(ARGV[14])
local remembered, attempt = tonumber(ARGV[15]), ARGV[16]

local owner, user_id, granted, auth_time, live, current, previous, rotated_at, asked, numbers,
  oldest, expires_at, idle_end, revoked_at =
  unpack(redis.call('HMGET', grant_key, 'client_id', 'user_id', 'scope', 'auth_time',
    'generation', 'current', 'previous', 'rotated_at', 'asked', 'numbers', 'oldest',
    'expires_at', 'idle_expires_at', 'revoked_at'))
if owner ~= client_id then return { 'missing' } end
-- Whoever revoked it may have failed to set the statuses, and is perhaps asking again.
if revoked_at then return revoke({ 'missing' }) end
if tonumber(idle_end) <= now then return { 'missing' } end
live, numbers, expires_at = tonumber(live), tonumber(numbers), tonumber(expires_at)

-- `previous` is there only as long as nothing of the current generation was seen.
local is_current = presented == current
asked = asked or '*'
local told = may_be_told(asked, 17)
-- One that is held was rotated in the future.
local is_forgiven = now - tonumber(rotated_at) <= grace or (asked ~= '' and #told == 0)
local is_repeated = presented == previous and is_forgiven
if not (is_current or is_repeated) then
  -- A generation that was never reached was lost with the store: nobody's fault.
  if generation > live then return { 'missing' } end
  return revoke({ 'reused' })
end

-- Scope tokens hold no space, so each stands between two of them.
for token in scope:gmatch('%S+') do
  if not (' ' .. granted .. ' '):find(' ' .. token .. ' ', 1, true) then
    return { 'scope_exceeded' }
  end
end

oldest = pass_ended(tonumber(oldest or 1), numbers + 1)
if numbers + 1 - oldest >= at_most then
  -- Those that have ended are passed a few at a time, by whoever is refused, too.
  redis.call('HSET', grant_key, 'oldest', oldest)
  return { 'crowded' }
end

-- The grace begins when the rotation happens, which may be long after it was asked for: a script
-- that waited in a stalled server must not find its own answer too late to repeat.
local happened_at = math.max(now, math.min(tonumber(redis.call('TIME')[1]), now + 60))
-- A store that has lost its last writes counts anew; what is revoked since keeps its number.
repeat numbers = numbers + 1 until redis.call('EXISTS', access_keys .. numbers) == 0
access_expires_at = math.min(access_expires_at, expires_at)
if is_current then
  live, current = live + 1, successor
  idle_expires_at = math.min(idle_expires_at, expires_at)
  redis.call('HSET', grant_key, 'generation', live, 'current', successor,
    'previous', presented, 'rotated_at', happened_at, 'asked', attempt, 'numbers', numbers,
    'oldest', oldest, 'idle_expires_at', idle_expires_at)
  keep_until(grant_key, idle_expires_at)
else
  -- When nobody was told until now, whoever asks now is in the place of the first, and the grace
  -- begins.
  rotated_at = math.min(tonumber(rotated_at), happened_at)
  if #told == 0 then rotated_at = happened_at end
  told[#told + 1] = attempt
  if #told > remembered then told = { '*' } end
  redis.call('HSET', grant_key, 'rotated_at', rotated_at, 'asked', table.concat(told, ' '),
    'numbers', numbers, 'oldest', oldest)
end
put_access(numbers, live,
  { expires_at = access_expires_at, list = ARGV[12], idx = ARGV[13] })
return { is_current and 'next' or 'repeated', user_id, granted, auth_time, expires_at,
  numbers, access_expires_at, current }
