-- Revokes the grant that was begun with a code, and returns 1 and the statuses of its access
-- tokens. Takes no code and begins nothing.
--
-- ARGV  4 digest of the code · 5 client_id

if began_with(ARGV[4], ARGV[5]) then return revoke({ '1' }) end
return {}
