-- When a user allowed a client something for the first time; `granted_at` is the last time.
ALTER TABLE consents ADD COLUMN since INTEGER;
UPDATE consents SET since = granted_at;
