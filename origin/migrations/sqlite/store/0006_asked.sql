-- Which presentation of the previous refresh token may have been told the current one: an id, nothing
-- when nobody was, '*' when it may be more than one. What is from before this is of that kind.
ALTER TABLE grants ADD COLUMN asked TEXT NOT NULL DEFAULT '*';
