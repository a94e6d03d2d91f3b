-- Instants are microseconds since 1970. A `document` is the JSON of the domain's own value, kept as it was written; the
-- columns beside it repeat what has to be found or compared. Every name is resolved in the trust domain's own schema.

CREATE TABLE store (
    name text NOT NULL PRIMARY KEY,
    value text NOT NULL
);

-- The one row that every transaction begins with, and locks: transactions of all replicas take turns on it.
CREATE TABLE head (
    one integer NOT NULL PRIMARY KEY CHECK (one = 1),
    size bigint NOT NULL,
    recorded bigint,
    kill_epoch bigint NOT NULL
);
INSERT INTO head (one, size, recorded, kill_epoch) VALUES (1, 0, NULL, 0);

CREATE TABLE leaves (
    seq bigint NOT NULL PRIMARY KEY,
    hash bytea NOT NULL,
    leaf bytea NOT NULL
);

CREATE TABLE checkpoints (
    one integer NOT NULL PRIMARY KEY CHECK (one = 1),
    size bigint NOT NULL,
    text text NOT NULL,
    peaks bytea NOT NULL
);

CREATE TABLE intents (
    id text COLLATE "C" NOT NULL PRIMARY KEY,
    agent text COLLATE "C" NOT NULL,
    playbook text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL,
    state_version bigint NOT NULL,
    created_at bigint NOT NULL,
    document json NOT NULL
);
CREATE INDEX intents_by_age ON intents (created_at);
CREATE INDEX intents_by_state ON intents (state, created_at);
CREATE INDEX intents_by_agent ON intents (agent, created_at);

CREATE TABLE tokens (
    id text COLLATE "C" NOT NULL PRIMARY KEY,
    intent text COLLATE "C" NOT NULL REFERENCES intents (id),
    expires_at bigint NOT NULL,
    document json NOT NULL
);
CREATE INDEX tokens_by_intent ON tokens (intent);

CREATE TABLE idempotency (
    agent text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    body text COLLATE "C" NOT NULL,
    intent text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (agent, key)
);
CREATE INDEX idempotency_by_age ON idempotency (created_at);

CREATE TABLE kills (
    epoch bigint NOT NULL PRIMARY KEY,
    document json NOT NULL
);

CREATE TABLE authorities (
    slot text COLLATE "C" NOT NULL PRIMARY KEY,
    document json NOT NULL
);

CREATE TABLE entries (
    id text COLLATE "C" NOT NULL PRIMARY KEY,
    spiffe_id text COLLATE "C" NOT NULL UNIQUE,
    document json NOT NULL
);
