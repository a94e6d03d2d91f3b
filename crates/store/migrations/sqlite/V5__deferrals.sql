-- Token requests that wait for an approver. `code` is the SHA-256 digest of the code that collects one; the code itself is
-- nowhere.
CREATE TABLE deferrals (
    code TEXT NOT NULL PRIMARY KEY,
    client TEXT NOT NULL,
    intent TEXT NOT NULL REFERENCES intents (id),
    state TEXT NOT NULL,
    kept_until INTEGER NOT NULL,
    document TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX deferrals_by_client ON deferrals (client);
CREATE INDEX deferrals_by_end ON deferrals (kept_until);
