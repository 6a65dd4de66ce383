-- Forgets a notice, unless it was taken again.
--
-- KEYS  1 the notices that wait · 2 the notice
-- ARGV  1 its digest · 2 the attempt that has come to its end

if redis.call('HGET', KEYS[2], 'attempt') == ARGV[2] then
  redis.call('ZREM', KEYS[1], ARGV[1])
  redis.call('DEL', KEYS[2])
end
