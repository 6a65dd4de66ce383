-- Begins a grant without a code.
--
-- ARGV  4 client_id · 5 user_id · 6 scope · 7 auth_time
--       8 digest of the refresh token, or empty
--       9 end of the grant · 10 its idle end
--       11 end of the access token · 12 its status list · 13 its index there

begin(
  { client_id = ARGV[4], user_id = ARGV[5], scope = ARGV[6], auth_time = ARGV[7],
    code = '', refresh = ARGV[8] },
  { expires_at = ARGV[9], idle_expires_at = ARGV[10] },
  { expires_at = ARGV[11], list = ARGV[12], idx = ARGV[13] })
