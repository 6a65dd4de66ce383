-- Revokes everything of a grant, and returns the statuses of its access tokens. A grant that has
-- not begun has a code at most.

if redis.call('EXISTS', grant_key) == 1 then return revoke({}) end
redis.call('DEL', code_key)
return {}
