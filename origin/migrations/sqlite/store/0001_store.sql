-- What the origin remembers for a while. Times are seconds since the epoch; digests are the 32
-- bytes of SHA-256. `expires_at` is the absolute end, `idle_expires_at` the end if nothing
-- happens, never later. Rows that have ended are swept.

CREATE TABLE sessions (
    digest          BLOB    NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    user_id         TEXT    NOT NULL,
    auth_time       INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL,
    idle_expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_end ON sessions (idle_expires_at);

-- Outlives its session, so that a logout whose answer was lost can be repeated.
CREATE TABLE session_grants (
    session    BLOB    NOT NULL CHECK (length(session) = 32),
    grant_id   TEXT    NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (session, grant_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX session_grants_end ON session_grants (expires_at);

CREATE TABLE transactions (
    digest     BLOB    NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX transactions_end ON transactions (expires_at);

CREATE TABLE codes (
    grant_id   TEXT    NOT NULL PRIMARY KEY,
    digest     BLOB    NOT NULL CHECK (length(digest) = 32),
    binding    BLOB    NOT NULL CHECK (length(binding) = 32),
    client_id  TEXT    NOT NULL,
    user_id    TEXT    NOT NULL,
    scope      TEXT    NOT NULL,
    nonce      TEXT,
    auth_time  INTEGER NOT NULL,
    session    BLOB    NOT NULL CHECK (length(session) = 32),
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX codes_end ON codes (expires_at);

-- `code` is the digest of the code that was redeemed; `current` and `previous` are digests of
-- refresh tokens, and `previous` goes when something of the current generation is seen.
-- Without a refresh token `generation` is 0. `numbers` counts access tokens.
CREATE TABLE grants (
    grant_id        TEXT    NOT NULL PRIMARY KEY,
    client_id       TEXT    NOT NULL,
    user_id         TEXT    NOT NULL,
    scope           TEXT    NOT NULL,
    auth_time       INTEGER NOT NULL,
    code            BLOB    CHECK (length(code) = 32),
    generation      INTEGER NOT NULL,
    current         BLOB    CHECK (length(current) = 32),
    previous        BLOB    CHECK (length(previous) = 32),
    rotated_at      INTEGER NOT NULL,
    numbers         INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL,
    idle_expires_at INTEGER NOT NULL,
    revoked_at      INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX grants_end ON grants (idle_expires_at);

-- The allow-list: no row, not active.
CREATE TABLE access_tokens (
    grant_id   TEXT    NOT NULL REFERENCES grants ON DELETE CASCADE,
    number     INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (grant_id, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX access_tokens_end ON access_tokens (expires_at);

CREATE TABLE attempts (
    digest     BLOB    NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    count      INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX attempts_end ON attempts (expires_at);
