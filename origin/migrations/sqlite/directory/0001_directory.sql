-- What the origin knows for long. Times are seconds since the epoch.

-- `registration` is the client as JSON; the columns beside it are what the edge may not know.
CREATE TABLE clients (
    client_id     TEXT    NOT NULL PRIMARY KEY,
    registration  TEXT    NOT NULL CHECK (json_valid(registration)),
    secret_digest BLOB    CHECK (length(secret_digest) = 32),
    disabled_at   INTEGER
) STRICT, WITHOUT ROWID;

-- Sessions and grants of a login before `valid_from` are dead.
CREATE TABLE users (
    user_id       TEXT    NOT NULL PRIMARY KEY,
    username      TEXT    NOT NULL UNIQUE,
    email         TEXT,
    name          TEXT,
    password_hash TEXT    NOT NULL,
    valid_from    INTEGER NOT NULL,
    disabled_at   INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE consents (
    user_id    TEXT    NOT NULL,
    client_id  TEXT    NOT NULL,
    scope      TEXT    NOT NULL,
    granted_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, client_id)
) STRICT, WITHOUT ROWID;

-- `sealed_pkcs8` is encrypted under the server's secret.
CREATE TABLE keys (
    kid          TEXT    NOT NULL PRIMARY KEY,
    alg          TEXT    NOT NULL,
    sealed_pkcs8 BLOB    NOT NULL,
    created_at   INTEGER NOT NULL,
    signs_at     INTEGER NOT NULL,
    expires_at   INTEGER
) STRICT, WITHOUT ROWID;
