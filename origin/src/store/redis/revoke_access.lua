-- Revokes one access token, and returns its status: list and index. Its row stays until its end:
-- whoever asks again is told the same status, and a row that is gone has ended (`grant.lua`).
--
-- Where the store has lost the row, one that is revoked takes its place: the token's number is not
-- given to another one (`rotate_refresh.lua`).
--
-- KEYS  1 the access token
-- ARGV  1 now · 2 the status list that the token names · 3 its index there
--       4 seconds that any access token and its row live

local expires_at, list, idx =
  unpack(redis.call('HMGET', KEYS[1], 'expires_at', 'list', 'idx'))
if not expires_at then
  redis.call('HSET', KEYS[1], 'revoked_at', ARGV[1])
  redis.call('EXPIRE', KEYS[1], ARGV[4])
  return { ARGV[2], ARGV[3] }
end

-- Changes nothing, but is never refused for want of memory, and a script that has written once
-- may go on.
redis.call('EXPIRE', KEYS[1], 1, 'GT')
redis.call('HSETNX', KEYS[1], 'revoked_at', ARGV[1])
return { list, idx }
