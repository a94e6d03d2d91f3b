-- What an intent permits never changes. It is written once, apart from what becomes of the intent, which is written with
-- every use.
CREATE TABLE grants (
    intent TEXT NOT NULL PRIMARY KEY REFERENCES intents (id) ON DELETE CASCADE,
    document TEXT NOT NULL
) STRICT;
INSERT INTO grants (intent, document) SELECT id, json_extract(document, '$.grant') FROM intents;
UPDATE intents SET document = json_remove(document, '$.grant');
