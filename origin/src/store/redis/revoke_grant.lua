-- Revokes everything of a grant, and returns the statuses of its access tokens. A grant that has
-- not begun has a code at most.

local numbers = redis.call('HGET', grant_key, 'numbers')
if numbers then return revoke(tonumber(numbers), {}) end
redis.call('DEL', code_key)
return {}
