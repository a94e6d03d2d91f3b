-- Proofs that count once: the digest that names each, and the last instant at which it would be accepted again.
CREATE TABLE replays (
    key BLOB NOT NULL PRIMARY KEY,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX replays_by_end ON replays (until);

-- How many rows `replays` has, so that its bound costs no count.
CREATE TABLE replay_count (
    one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    kept INTEGER NOT NULL
) STRICT;
INSERT INTO replay_count (one, kept) VALUES (1, 0);
