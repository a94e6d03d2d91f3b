-- What the edges keep: sessions of approvers, and how far webhooks have come. Each row has an end after which it is as if it
-- were not there.
CREATE TABLE kept (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    version INTEGER NOT NULL,
    until INTEGER NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX kept_by_end ON kept (until);
