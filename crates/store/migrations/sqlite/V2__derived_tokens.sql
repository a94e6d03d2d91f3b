-- Tokens that derive from others: which one, and when they ended before their time.

ALTER TABLE tokens ADD COLUMN parent TEXT;
ALTER TABLE tokens ADD COLUMN ended_at INTEGER;
CREATE INDEX tokens_by_family ON tokens (intent, expires_at) WHERE parent IS NOT NULL AND ended_at IS NULL;
