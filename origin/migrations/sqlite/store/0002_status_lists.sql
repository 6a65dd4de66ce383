-- Status lists: one bit per access token, the first one in the lowest bit of the first byte; 1 is
-- revoked. `next` is the first index that is not reserved. An access token from before has no
-- place in a list; it ends within minutes.

CREATE TABLE status_lists (
    list       TEXT    NOT NULL PRIMARY KEY,
    next       INTEGER NOT NULL,
    bits       BLOB    NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX status_lists_end ON status_lists (expires_at);

ALTER TABLE access_tokens ADD COLUMN list TEXT;
ALTER TABLE access_tokens ADD COLUMN idx INTEGER;
