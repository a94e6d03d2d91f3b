-- Instants are microseconds since 1970. A `document` is the JSON of the domain's own value; the columns beside it repeat
-- what has to be found or compared.

CREATE TABLE store (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The one row that every transaction begins with.
CREATE TABLE head (
    one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    size INTEGER NOT NULL,
    recorded INTEGER,
    kill_epoch INTEGER NOT NULL
) STRICT;
INSERT INTO head (one, size, recorded, kill_epoch) VALUES (1, 0, NULL, 0);

CREATE TABLE leaves (
    seq INTEGER NOT NULL PRIMARY KEY,
    hash BLOB NOT NULL,
    leaf BLOB NOT NULL
) STRICT;

CREATE TABLE checkpoints (
    one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    size INTEGER NOT NULL,
    text TEXT NOT NULL,
    peaks BLOB NOT NULL
) STRICT;

CREATE TABLE intents (
    id TEXT NOT NULL PRIMARY KEY,
    agent TEXT NOT NULL,
    playbook TEXT NOT NULL,
    state TEXT NOT NULL,
    state_version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    document TEXT NOT NULL
) STRICT;
CREATE INDEX intents_by_age ON intents (created_at);
CREATE INDEX intents_by_state ON intents (state, created_at);
CREATE INDEX intents_by_agent ON intents (agent, created_at);

CREATE TABLE tokens (
    id TEXT NOT NULL PRIMARY KEY,
    intent TEXT NOT NULL REFERENCES intents (id),
    expires_at INTEGER NOT NULL,
    document TEXT NOT NULL
) STRICT;
CREATE INDEX tokens_by_intent ON tokens (intent);

CREATE TABLE idempotency (
    agent TEXT NOT NULL,
    key TEXT NOT NULL,
    body TEXT NOT NULL,
    intent TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (agent, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_by_age ON idempotency (created_at);

CREATE TABLE kills (
    epoch INTEGER NOT NULL PRIMARY KEY,
    document TEXT NOT NULL
) STRICT;

CREATE TABLE authorities (
    slot TEXT NOT NULL PRIMARY KEY,
    document TEXT NOT NULL
) STRICT;

CREATE TABLE entries (
    id TEXT NOT NULL PRIMARY KEY,
    spiffe_id TEXT NOT NULL UNIQUE,
    document TEXT NOT NULL
) STRICT;
