-- What the edges keep: sessions of approvers, and how far webhooks have come. Each row has an end after which it is as if it
-- were not there.
CREATE TABLE kept (
    kind text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    until bigint NOT NULL,
    document json NOT NULL,
    PRIMARY KEY (kind, key)
);
CREATE INDEX kept_by_end ON kept (until);
