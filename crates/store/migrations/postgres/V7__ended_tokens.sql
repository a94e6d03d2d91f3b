-- Status lists are built of tokens that ended, and anybody may ask for one: those are found without a look at any other.
-- `intent_ended` says that a token's intent has ended, which its own row did not say before.

ALTER TABLE tokens ADD COLUMN intent_ended integer NOT NULL DEFAULT 0;
UPDATE tokens SET intent_ended = 1
WHERE intent IN (SELECT id FROM intents WHERE state NOT IN ('pending', 'approved', 'consumed'));

CREATE INDEX tokens_ended ON tokens (place, expires_at)
WHERE place IS NOT NULL AND (ended_at IS NOT NULL OR intent_ended = 1);
