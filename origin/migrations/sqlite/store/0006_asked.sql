-- Who has presented the previous refresh token since its rotation.
ALTER TABLE grants ADD COLUMN asked TEXT;
