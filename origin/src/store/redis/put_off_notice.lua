-- Puts a notice off, unless it was taken again.
--
-- KEYS  1 the notices that wait · 2 the notice
-- ARGV  1 its digest · 2 the attempt that has come to its end · 3 when it is due

if redis.call('HGET', KEYS[2], 'attempt') == ARGV[2] then
  redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
  redis.call('HDEL', KEYS[2], 'leased_until')
end
