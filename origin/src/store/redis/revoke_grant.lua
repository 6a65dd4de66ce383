-- Revokes everything of a grant. A grant that has not begun has a code at most.

local numbers = redis.call('HGET', grant_key, 'numbers')
if numbers then
  revoke(tonumber(numbers))
else
  redis.call('DEL', code_key)
end
