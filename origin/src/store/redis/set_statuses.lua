-- Sets statuses to "revoked". A list that is gone stays gone: its tokens are refused already.
--
-- KEYS  the lists, all of them: one that is missing only because its slot moves must not count as gone
-- ARGV  1 seconds that a token may still live · then numbers of lists and indices in turn

for at = 2, #ARGV, 2 do
  local key = KEYS[tonumber(ARGV[at])]
  -- Comes first, because it is never refused for want of memory, and a script that has written
  -- once may go on.
  redis.call('EXPIRE', key, ARGV[1], 'GT')
  if redis.call('EXISTS', key) == 1 then
    -- Redis counts bits from the highest one of a byte, the lists from the lowest.
    local idx = tonumber(ARGV[at + 1])
    redis.call('SETBIT', key, idx - idx % 8 + 7 - idx % 8, 1)
  end
end
