-- What is counted of requests and refusals, a row for each thing that is counted, with the instant after which it says
-- nothing; and refusals for operators to find.

CREATE TABLE pace (
    key TEXT NOT NULL PRIMARY KEY,
    kept_until INTEGER NOT NULL,
    document TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX pace_by_end ON pace (kept_until);

CREATE TABLE denials (
    id TEXT NOT NULL PRIMARY KEY,
    agent TEXT NOT NULL,
    code TEXT NOT NULL,
    at INTEGER NOT NULL,
    document TEXT NOT NULL
) STRICT;
CREATE INDEX denials_by_age ON denials (at);
CREATE INDEX denials_by_agent ON denials (agent, at);
