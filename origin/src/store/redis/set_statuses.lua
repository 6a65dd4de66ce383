-- Sets statuses to "revoked". A list that is gone stays gone: its tokens are refused already.
--
-- KEYS  1 what list is being filled: not looked at, but in the slot of all lists
-- ARGV  1 the keys of the lists, up to their identifiers · 2 seconds that a token may still live
--       then lists and indices in turn

local lists = ARGV[1]

for at = 3, #ARGV, 2 do
  local key = lists .. ARGV[at]
  -- Comes first, because it is never refused for want of memory, and a script that has written
  -- once may go on.
  redis.call('EXPIRE', key, ARGV[2], 'GT')
  if redis.call('EXISTS', key) == 1 then
    -- Redis counts bits from the highest one of a byte, the lists from the lowest.
    local idx = tonumber(ARGV[at + 1])
    redis.call('SETBIT', key, idx - idx % 8 + 7 - idx % 8, 1)
  end
end
