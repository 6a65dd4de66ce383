-- Each attempt by itself, so that one of which nothing is heard any more ends by itself. Those that
-- were counted together are forgotten.
DROP TABLE attempts;
CREATE TABLE attempts (
    digest     BLOB    NOT NULL CHECK (length(digest) = 32),
    attempt    BLOB    NOT NULL CHECK (length(attempt) = 16),
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (digest, attempt)
) STRICT, WITHOUT ROWID;
CREATE INDEX attempts_end ON attempts (expires_at);
