-- Says that somebody who has presented a refresh token was not told its successor. When nobody was,
-- it returns its successor until it does, however late.
--
-- KEYS  1 the grant
-- ARGV  1 digest of the previous refresh token · 2 who was not told

local previous, asked, idle_end =
  unpack(redis.call('HMGET', KEYS[1], 'previous', 'asked', 'idle_expires_at'))
if previous ~= ARGV[1] or not asked then return end

local told, was_there = {}, false
for attempt in asked:gmatch('%S+') do
  if attempt == ARGV[2] then was_there = true else table.insert(told, attempt) end
end
if not was_there then return end
redis.call('HSET', KEYS[1], 'asked', table.concat(told, ' '))
if #told == 0 then redis.call('HSET', KEYS[1], 'rotated_at', idle_end) end
