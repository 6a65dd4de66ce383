-- Writes a row that ends by itself.
--
-- KEYS  1 the row
-- ARGV  1 seconds until its end · then its fields and their values

redis.call('HSET', KEYS[1], unpack(ARGV, 2))
redis.call('EXPIRE', KEYS[1], ARGV[1])
