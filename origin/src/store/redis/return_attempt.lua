-- Takes one counted attempt back.
--
-- KEYS  1 the attempts

local count = tonumber(redis.call('HGET', KEYS[1], 'count') or 0)
if count > 0 then redis.call('HINCRBY', KEYS[1], 'count', -1) end
