-- Says that nobody was told what came of some presentations of a refresh token. When that goes for all
-- since its rotation, it returns its successor until somebody is told, however late.
--
-- KEYS  1 the grant
-- ARGV  1 digest of the previous refresh token · then the presentations

local previous, asked, idle_end =
  unpack(redis.call('HMGET', KEYS[1], 'previous', 'asked', 'idle_expires_at'))
if previous ~= ARGV[1] or not asked or asked == '' then return end
local told = may_be_told(asked, 2)
redis.call('HSET', KEYS[1], 'asked', table.concat(told, ' '))
if #told == 0 then redis.call('HSET', KEYS[1], 'rotated_at', idle_end) end
