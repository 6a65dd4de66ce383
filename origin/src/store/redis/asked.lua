-- What the scripts about the previous refresh token share.

-- Returns who may have been told its successor: of `asked`, the presentations of the token since it
-- was rotated, those that are not in ARGV from `from` on, of which it is known that they were not.
-- '*' stands for more than are remembered, and for those of whom nothing is known.
local function may_be_told(asked, from)
  local untold, told = {}, {}
  for at = from, #ARGV do untold[ARGV[at]] = true end
  for attempt in asked:gmatch('%S+') do
    if not untold[attempt] then told[#told + 1] = attempt end
  end
  return told
end

