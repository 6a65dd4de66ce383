-- Says that nobody was told what came of some presentations of a refresh token. When nobody else was
-- since its rotation, it returns its successor until it does, however late.
--
-- KEYS  1 the grant
-- ARGV  1 digest of the previous refresh token · then the presentations

local previous, asked, idle_end =
  unpack(redis.call('HMGET', KEYS[1], 'previous', 'asked', 'idle_expires_at'))
if previous ~= ARGV[1] then return end
for at = 2, #ARGV do
  if ARGV[at] == asked then
    redis.call('HSET', KEYS[1], 'asked', '', 'rotated_at', idle_end)
  end
end
