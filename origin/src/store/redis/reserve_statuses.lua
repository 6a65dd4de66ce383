-- Reserves a block of statuses and returns its list and first index.
--
-- KEYS  1 what list is being filled
-- ARGV  1 the keys of the lists, up to their identifiers · 2 identifier of a new list
--       3 statuses in a list · 4 statuses in a block · 5 seconds that a list is kept from now on
--
-- The list itself is not in KEYS: its identifier is known only here. It carries the same hash tag.

local lists, length, block = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])

local list, first = unpack(redis.call('HMGET', KEYS[1], 'list', 'next'))
first = tonumber(first or 0)
if not list or first + block > length or redis.call('EXISTS', lists .. list) == 0 then
  list, first = ARGV[2], 0
  -- All of its bits at once: setting one later needs no more memory.
  redis.call('SETBIT', lists .. list, length - 1, 0)
end
redis.call('HSET', KEYS[1], 'list', list, 'next', first + block)
redis.call('EXPIRE', KEYS[1], ARGV[5])
redis.call('EXPIRE', lists .. list, ARGV[5])
return { list, tostring(first) }
