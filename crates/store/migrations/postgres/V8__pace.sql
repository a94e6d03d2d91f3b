-- What is counted of requests and refusals, a row for each thing that is counted, with the instant after which it says
-- nothing; and refusals for operators to find.

CREATE TABLE pace (
    key text COLLATE "C" NOT NULL PRIMARY KEY,
    kept_until bigint NOT NULL,
    document json NOT NULL
);
CREATE INDEX pace_by_end ON pace (kept_until);

CREATE TABLE denials (
    id text COLLATE "C" NOT NULL PRIMARY KEY,
    agent text COLLATE "C" NOT NULL,
    code text COLLATE "C" NOT NULL,
    at bigint NOT NULL,
    document json NOT NULL
);
CREATE INDEX denials_by_age ON denials (at);
CREATE INDEX denials_by_agent ON denials (agent, at);
