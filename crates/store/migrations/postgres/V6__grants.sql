-- What an intent permits never changes. It is written once, apart from what becomes of the intent, which is written with
-- every use.
CREATE TABLE grants (
    intent text COLLATE "C" NOT NULL PRIMARY KEY REFERENCES intents (id) ON DELETE CASCADE,
    document json NOT NULL
);
INSERT INTO grants (intent, document) SELECT id, document -> 'grant' FROM intents;
UPDATE intents SET document = (document::jsonb - 'grant')::json;
-- Room beside each, so that a use is written into the page that the intent is in, and no index hears of it.
ALTER TABLE intents SET (fillfactor = 70);
