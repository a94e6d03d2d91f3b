-- `due_at` is when a clock ends the intent, `holds_until` when nothing that it gave can be used any more; both are absent
-- from an intent that ended, and from one that an earlier version wrote last.
ALTER TABLE intents ADD COLUMN due_at INTEGER;
ALTER TABLE intents ADD COLUMN holds_until INTEGER;
CREATE INDEX intents_by_due ON intents (due_at) WHERE due_at IS NOT NULL;

-- What an open intent counts against: its agent, the person on whose behalf it is used, and what it touches.
CREATE TABLE open_grants (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    intent TEXT NOT NULL REFERENCES intents (id) ON DELETE CASCADE,
    PRIMARY KEY (kind, name, intent)
) STRICT, WITHOUT ROWID;
CREATE INDEX open_grants_by_intent ON open_grants (intent);

-- The intents that an intent was asked for under, so that its end is found from theirs.
CREATE TABLE intent_parents (
    parent TEXT NOT NULL,
    child TEXT NOT NULL REFERENCES intents (id) ON DELETE CASCADE,
    PRIMARY KEY (parent, child)
) STRICT, WITHOUT ROWID;
CREATE INDEX intent_parents_by_child ON intent_parents (child);

INSERT INTO open_grants (kind, name, intent)
SELECT 'agent', agent, id FROM intents WHERE state IN ('pending', 'approved', 'consumed');
INSERT OR IGNORE INTO open_grants (kind, name, intent)
SELECT 'target', resource.value, intents.id
FROM intents JOIN grants ON grants.intent = intents.id, json_each(grants.document, '$.resources') AS resource
WHERE state IN ('pending', 'approved', 'consumed');
