-- Where tokens are on status lists, when they were decided on, and what finds them by place and by age. Places are numbers
-- through all lists; the head has the serial number of the next one.

ALTER TABLE tokens ADD COLUMN place INTEGER;
ALTER TABLE tokens ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX tokens_by_place ON tokens (place) WHERE place IS NOT NULL;
CREATE INDEX tokens_by_expiry ON tokens (expires_at);

-- A revocation goes through tokens that have ended to those that derive from them.
DROP INDEX tokens_by_family;
CREATE INDEX tokens_by_family ON tokens (intent, expires_at) WHERE parent IS NOT NULL;

ALTER TABLE head ADD COLUMN next_place INTEGER NOT NULL DEFAULT 0;
INSERT INTO store (name, value) VALUES ('status_key', lower(hex(randomblob(32))));
