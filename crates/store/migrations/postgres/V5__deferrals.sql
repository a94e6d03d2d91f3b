-- Token requests that wait for an approver. `code` is the SHA-256 digest of the code that collects one; the code itself is
-- nowhere.
CREATE TABLE deferrals (
    code text COLLATE "C" NOT NULL PRIMARY KEY,
    client text COLLATE "C" NOT NULL,
    intent text COLLATE "C" NOT NULL REFERENCES intents (id),
    state text COLLATE "C" NOT NULL,
    kept_until bigint NOT NULL,
    document json NOT NULL
);
CREATE INDEX deferrals_by_client ON deferrals (client);
CREATE INDEX deferrals_by_end ON deferrals (kept_until);
