-- Takes a code and begins its grant.
--
-- ARGV  4 digest of the code · 5 digest of the binding · 6 client_id
--       7 digest of the refresh token, or empty
--       8 end of the grant · 9 its idle end
--       10 end of the access token · 11 its status list · 12 its index there

local digest, binding, client_id = ARGV[4], ARGV[5], ARGV[6]

-- A grant that is there used up its code when it began. Only the client that redeemed it can
-- have it revoked.
if redis.call('EXISTS', grant_key) == 1 then
  if not began_with(digest, client_id) then return { 'missing' } end
  return revoke({ 'replayed' })
end

local issued, bound_to, asker, user_id, scope, nonce, auth_time, session, expires_at =
  unpack(redis.call('HMGET', code_key, 'digest', 'binding', 'client_id', 'user_id', 'scope',
    'nonce', 'auth_time', 'session', 'expires_at'))
if issued ~= digest or tonumber(expires_at) <= now then return { 'missing' } end
if bound_to ~= binding or asker ~= client_id then return { 'mismatched' } end

-- The code goes last: should a write be refused, it is still there.
begin(
  { client_id = client_id, user_id = user_id, scope = scope, auth_time = auth_time,
    code = digest, refresh = ARGV[7] },
  { expires_at = ARGV[8], idle_expires_at = ARGV[9] },
  { expires_at = ARGV[10], list = ARGV[11], idx = ARGV[12] })
redis.call('DEL', code_key)
return { 'once', user_id, scope, auth_time, session, nonce }
