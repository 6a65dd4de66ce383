-- Ends a session and returns its grants. Their list stays until its own end, so that somebody
-- whose answer was lost can ask again.
--
-- KEYS  1 the session · 2 its grants

local grants = redis.call('SMEMBERS', KEYS[2])
redis.call('DEL', KEYS[1])
return grants
