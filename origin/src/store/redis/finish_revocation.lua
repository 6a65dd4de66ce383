-- Returns the statuses of a grant's access tokens again, if it is revoked.

if redis.call('HEXISTS', grant_key, 'revoked_at') == 0 then return {} end
return revoke({})
