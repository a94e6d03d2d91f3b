-- `due_at` is when a clock ends the intent, `holds_until` when nothing that it gave can be used any more; both are absent
-- from an intent that ended, and from one that an earlier version wrote last.
ALTER TABLE intents ADD COLUMN due_at bigint;
ALTER TABLE intents ADD COLUMN holds_until bigint;
CREATE INDEX intents_by_due ON intents (due_at) WHERE due_at IS NOT NULL;

-- What an open intent counts against: its agent, the person on whose behalf it is used, and what it touches.
CREATE TABLE open_grants (
    kind text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    intent text COLLATE "C" NOT NULL REFERENCES intents (id) ON DELETE CASCADE,
    PRIMARY KEY (kind, name, intent)
);
CREATE INDEX open_grants_by_intent ON open_grants (intent);

-- The intents that an intent was asked for under, so that its end is found from theirs.
CREATE TABLE intent_parents (
    parent text COLLATE "C" NOT NULL,
    child text COLLATE "C" NOT NULL REFERENCES intents (id) ON DELETE CASCADE,
    PRIMARY KEY (parent, child)
);
CREATE INDEX intent_parents_by_child ON intent_parents (child);

INSERT INTO open_grants (kind, name, intent)
SELECT 'agent', agent, id FROM intents WHERE state IN ('pending', 'approved', 'consumed');
INSERT INTO open_grants (kind, name, intent)
SELECT DISTINCT 'target', resource.value, intents.id
FROM intents JOIN grants ON grants.intent = intents.id,
     LATERAL json_array_elements_text(grants.document -> 'resources') AS resource (value)
WHERE state IN ('pending', 'approved', 'consumed');
