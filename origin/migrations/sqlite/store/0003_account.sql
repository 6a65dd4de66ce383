-- What a login session and its user know of each other, and whom to tell when it ends.

-- As they were at the login, where they are known. `used_at` is missing until a session from before
-- is used again.
ALTER TABLE sessions ADD COLUMN used_at INTEGER;
ALTER TABLE sessions ADD COLUMN user_agent TEXT;
ALTER TABLE sessions ADD COLUMN address TEXT;
CREATE INDEX sessions_of_user ON sessions (user_id);

-- Missing for grants from before: their clients have never heard of a session.
ALTER TABLE session_grants ADD COLUMN client_id TEXT;
ALTER TABLE session_grants ADD COLUMN user_id TEXT;
ALTER TABLE session_grants ADD COLUMN sid TEXT;

-- What clients are yet to be told: that the session `sid` has ended. `attempt` counts how often a
-- notice was taken; `leased_until` is there while somebody sends it.
CREATE TABLE notices (
    digest       BLOB    NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    client_id    TEXT    NOT NULL,
    user_id      TEXT    NOT NULL,
    sid          TEXT    NOT NULL,
    due_at       INTEGER NOT NULL,
    attempt      INTEGER NOT NULL,
    leased_until INTEGER,
    expires_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX notices_due ON notices (due_at);
CREATE INDEX notices_end ON notices (expires_at);
