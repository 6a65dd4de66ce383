-- The secret that a client had before: good until `former_secret_until`, while its instances learn the new
-- one.
ALTER TABLE clients ADD COLUMN former_secret_digest BLOB CHECK (length(former_secret_digest) = 32);
ALTER TABLE clients ADD COLUMN former_secret_until INTEGER;
