-- Proofs that count once: the digest that names each, and the last instant at which it would be accepted again.
CREATE TABLE replays (
    key bytea NOT NULL PRIMARY KEY,
    until bigint NOT NULL
);
CREATE INDEX replays_by_end ON replays (until);

-- How many rows `replays` has, so that its bound costs no count.
CREATE TABLE replay_count (
    one integer NOT NULL PRIMARY KEY CHECK (one = 1),
    kept bigint NOT NULL
);
INSERT INTO replay_count (one, kept) VALUES (1, 0);
