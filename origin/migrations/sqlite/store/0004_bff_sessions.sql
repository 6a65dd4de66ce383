-- Sessions of browsers at the backend-for-frontend. `sealed` holds their tokens, which only the
-- browser's handle opens; `renewal` names a renewal of them that is under way, or was and did not
-- come back.

CREATE TABLE bff_sessions (
    digest             BLOB    NOT NULL PRIMARY KEY,
    user_id            TEXT    NOT NULL,
    client_id          TEXT    NOT NULL,
    grant_id           TEXT    NOT NULL,
    auth_time          INTEGER NOT NULL,
    sealed             TEXT    NOT NULL,
    renew_at           INTEGER NOT NULL,
    version            INTEGER NOT NULL,
    renewal            BLOB,
    renewal_expires_at INTEGER,
    expires_at         INTEGER NOT NULL,
    idle_expires_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX bff_sessions_end ON bff_sessions (idle_expires_at);

-- Whose they are: digests of users and of login sessions.
CREATE TABLE bff_owners (
    owner      BLOB    NOT NULL,
    session    BLOB    NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (owner, session)
) STRICT, WITHOUT ROWID;
CREATE INDEX bff_owners_end ON bff_owners (expires_at);
