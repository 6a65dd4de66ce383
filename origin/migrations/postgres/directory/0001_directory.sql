-- What the origin knows for long. Times are seconds since the epoch. Text is compared and ordered byte
-- by byte, whatever the database's collation is.

-- `registration` is the client as JSON; the columns beside it are what the edge may not know.
CREATE TABLE clients (
    client_id     TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    registration  TEXT   NOT NULL CHECK (registration::json IS NOT NULL),
    secret_digest BYTEA  CHECK (length(secret_digest) = 32),
    disabled_at   BIGINT
);

-- Sessions and grants of a login before `valid_from` are dead.
CREATE TABLE users (
    user_id       TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    username      TEXT   COLLATE "C" NOT NULL UNIQUE,
    email         TEXT,
    name          TEXT,
    password_hash TEXT   NOT NULL,
    valid_from    BIGINT NOT NULL,
    disabled_at   BIGINT
);

-- `since` is when a user allowed a client something for the first time, `granted_at` the last time.
CREATE TABLE consents (
    user_id    TEXT   COLLATE "C" NOT NULL,
    client_id  TEXT   COLLATE "C" NOT NULL,
    scope      TEXT   NOT NULL,
    granted_at BIGINT NOT NULL,
    since      BIGINT NOT NULL,
    PRIMARY KEY (user_id, client_id)
);

-- `sealed_pkcs8` is encrypted under the server's secret.
CREATE TABLE keys (
    kid          TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    alg          TEXT   NOT NULL,
    sealed_pkcs8 BYTEA  NOT NULL,
    created_at   BIGINT NOT NULL,
    signs_at     BIGINT NOT NULL,
    expires_at   BIGINT
);
