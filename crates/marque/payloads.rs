//! What an agent wrote, sealed beside the log: for playbooks with `logging.prompt = "sealed"`.
//!
//! A text is encrypted with AES-256-GCM (RFC 5116) under a key of its own, which is itself sealed under a key that is derived
//! from the issuer's sealing key. Both are one row of the store; a leaf has the SHA-256 digest of what was encrypted. To
//! read a text is a leaf first. To erase it is to take the row's content away for good, of which there is a leaf, too: what the
//! log says stays as it is, and the encrypted text has no key any more wherever it may have been copied alone.

use std::sync::Arc;

use marque_audit::{Event, EventKind, LogError, LogStore as _};
use marque_intent::{Digest, Intent, IntentId, IntentStoreError, PromptKept};
use marque_jose::base64url;
use marque_spiffe::{Clock, Random, RandomError};
use marque_store::{FOR_GOOD, Failure, Kept, KeptChange, Store};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The rows, by the id of the intent and the name of the text.
const PAYLOADS: &str = "payload";
/// The texts that an intent may have.
const NAMES: [&str; 2] = ["justification", "report"];
const KEY: usize = 32;
/// How often a text is erased that another replica seals at the same moment.
const TRIES: usize = 8;

/// The key under which the keys of texts are sealed. It does not print.
pub(crate) struct PayloadKey(LessSafeKey);

/// The sealed texts of one trust domain.
#[derive(Debug)]
pub(crate) struct Payloads {
    key: PayloadKey,
    trust_domain: String,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
enum Row {
    /// Nonce and content of each, in base64url.
    Sealed { key: String, text: String },
    /// There was one.
    Erased,
}

/// Why a text was not sealed, opened or erased.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PayloadError {
    /// The store cannot be read or written.
    #[error("the store of sealed texts is unavailable")]
    Store(#[from] Failure),
    /// It cannot be recorded that a text is read.
    #[error("the log is unavailable")]
    Log(#[from] LogError),
    /// No randomness.
    #[error("no randomness")]
    Random(#[from] RandomError),
    /// Others write at the same time, again and again.
    #[error("the texts change at the same time")]
    Contended,
    /// It was sealed under another key, or changed.
    #[error("the text does not open")]
    Seal,
}

impl From<PayloadError> for IntentStoreError {
    fn from(error: PayloadError) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

impl std::fmt::Debug for PayloadKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PayloadKey").finish_non_exhaustive()
    }
}

impl PayloadKey {
    /// From 32 bytes that are derived for nothing else.
    pub(crate) fn new(secret: &Zeroizing<[u8; KEY]>) -> anyhow::Result<Self> {
        let key = UnboundKey::new(&AES_256_GCM, secret.as_slice());
        let key = key.map_err(|_unspecified| anyhow::anyhow!("make the key that seals texts"))?;
        Ok(Self(LessSafeKey::new(key)))
    }
}

impl Payloads {
    pub(crate) fn new(
        key: PayloadKey,
        trust_domain: &str,
        (store, clock, random): (&Arc<Store>, &Arc<dyn Clock>, &Arc<dyn Random>),
    ) -> Self {
        Self {
            key,
            trust_domain: trust_domain.to_owned(),
            store: Arc::clone(store),
            clock: Arc::clone(clock),
            random: Arc::clone(random),
        }
    }

    /// Keeps a text of an intent sealed, where its playbook wants that and it was not kept, or erased, before.
    ///
    /// # Errors
    /// It cannot be kept and recorded.
    pub(crate) async fn keep(
        &self,
        intent: &Intent,
        name: &str,
        text: Option<&str>,
    ) -> Result<(), PayloadError> {
        let wanted = intent.grant().conditions.provisions.logging.prompt == PromptKept::Sealed;
        let Some(text) = text.filter(|_| wanted) else { return Ok(()) };
        let (now, key) = (self.clock.now(), row_key(intent.id(), name));
        if self.store.kept(PAYLOADS, &key, now).await?.is_some() {
            return Ok(());
        }
        let (row, digest) = self.seal(&key, text)?;
        let event = Event::new(EventKind::PayloadSealed, now)
            .with_agent(intent.agent().clone())
            .with_intent(intent.id().as_str())
            .with_detail("payload", name)
            .with_detail("digest", digest.to_string());
        // Where another replica was first, its row stands.
        let change = KeptChange::new(PAYLOADS, &key, &row, FOR_GOOD)?;
        self.store.keep_on_record(vec![change], event).await?;
        Ok(())
    }

    /// The texts of an intent that are there, by name; that somebody reads them is on record first.
    ///
    /// # Errors
    /// They cannot be read, or that cannot be recorded.
    pub(crate) async fn read(
        &self,
        intent: &IntentId,
        actor: &str,
    ) -> Result<Vec<(&'static str, String)>, PayloadError> {
        let found = self.found(intent).await?;
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<&str> = found.iter().map(|(name, _)| *name).collect();
        let event = Event::new(EventKind::PayloadRead, self.clock.now())
            .with_intent(intent.as_str())
            .with_actor(actor)
            .with_detail("read", names);
        self.store.append(event).await?;
        let open = |(name, row): &(&'static str, Kept)| Ok((*name, self.open(row)?));
        found.iter().map(open).collect()
    }

    /// Takes the texts of an intent away for good; whether there were any. None is sealed after that, either.
    ///
    /// # Errors
    /// They cannot be erased, or that cannot be recorded.
    pub(crate) async fn erase(
        &self,
        intent: &IntentId,
        actor: &str,
        reason: &str,
    ) -> Result<bool, PayloadError> {
        for _ in 0..TRIES {
            let (names, erased) = self.erasing(intent).await?;
            if erased.is_empty() {
                return Ok(false);
            }
            let there = !names.is_empty();
            let written = if there {
                let event = Event::new(EventKind::PayloadErased, self.clock.now())
                    .with_intent(intent.as_str())
                    .with_actor(actor)
                    .with_detail("erased", names)
                    .with_detail("reason", reason);
                self.store.keep_on_record(erased, event).await?
            } else {
                self.store.keep(erased).await?
            };
            if written {
                return Ok(there);
            }
        }
        Err(PayloadError::Contended)
    }

    /// The names of the texts that are there, and what has each name say that it is erased, also where there is none yet.
    async fn erasing(
        &self,
        intent: &IntentId,
    ) -> Result<(Vec<&'static str>, Vec<KeptChange>), PayloadError> {
        let (mut names, mut changes) = (Vec::new(), Vec::new());
        for name in NAMES {
            let key = row_key(intent, name);
            match self.store.kept(PAYLOADS, &key, self.clock.now()).await? {
                Some(row) if row.read::<Row>()? == Row::Erased => {}
                Some(row) => {
                    names.push(name);
                    changes.push(row.replaced_by(&Row::Erased, FOR_GOOD)?);
                }
                None => changes.push(KeptChange::new(PAYLOADS, &key, &Row::Erased, FOR_GOOD)?),
            }
        }
        Ok((names, changes))
    }

    /// The rows that have a text.
    async fn found(&self, intent: &IntentId) -> Result<Vec<(&'static str, Kept)>, PayloadError> {
        let mut found = Vec::new();
        for name in NAMES {
            let key = row_key(intent, name);
            let row = self.store.kept(PAYLOADS, &key, self.clock.now()).await?;
            if let Some(row) = row
                && row.read::<Row>()? != Row::Erased
            {
                found.push((name, row));
            }
        }
        Ok(found)
    }

    fn seal(&self, about: &str, text: &str) -> Result<(Row, Digest), PayloadError> {
        let mut own = Zeroizing::new([0; KEY]);
        self.random.fill(own.as_mut_slice())?;
        let sealing = PayloadKey::new(&own).map_err(|_unspecified| PayloadError::Seal)?;
        let text = self.sealed(&sealing, about, text.as_bytes())?;
        let key = self.sealed(&self.key, about, own.as_slice())?;
        let digest = Digest::of(&text);
        let row = Row::Sealed { key: base64url::encode(key), text: base64url::encode(text) };
        Ok((row, digest))
    }

    fn open(&self, row: &Kept) -> Result<String, PayloadError> {
        let Row::Sealed { key, text } = row.read()? else { return Err(PayloadError::Seal) };
        let own = Zeroizing::new(self.opened(&self.key, &row.key, &key)?);
        let own = <[u8; KEY]>::try_from(own.as_slice()).map(Zeroizing::new);
        let own = own.map_err(|_length| PayloadError::Seal)?;
        let own = PayloadKey::new(&own).map_err(|_unspecified| PayloadError::Seal)?;
        let text = self.opened(&own, &row.key, &text)?;
        String::from_utf8(text).map_err(|_no_text| PayloadError::Seal)
    }

    /// The nonce, and what is sealed under the key.
    fn sealed(&self, key: &PayloadKey, about: &str, bytes: &[u8]) -> Result<Vec<u8>, PayloadError> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce)?;
        let mut sealed = bytes.to_vec();
        let unique = Nonce::assume_unique_for_key(nonce);
        key.0
            .seal_in_place_append_tag(unique, self.about(about), &mut sealed)
            .map_err(|_unspecified| PayloadError::Seal)?;
        Ok([&nonce[..], &sealed].concat())
    }

    fn opened(&self, key: &PayloadKey, about: &str, sealed: &str) -> Result<Vec<u8>, PayloadError> {
        let bytes = base64url::decode(sealed).map_err(|_no_base64| PayloadError::Seal)?;
        let (nonce, bytes) = bytes.split_at_checked(NONCE_LEN).ok_or(PayloadError::Seal)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce);
        let nonce = nonce.map_err(|_length| PayloadError::Seal)?;
        let mut bytes = bytes.to_vec();
        let opened = key.0.open_in_place(nonce, self.about(about), &mut bytes);
        Ok(opened.map_err(|_unspecified| PayloadError::Seal)?.to_vec())
    }

    /// What binds a sealed text to its place.
    fn about(&self, row: &str) -> Aad<Vec<u8>> {
        Aad::from(format!("marque/payload/v1|{}|{row}", self.trust_domain).into_bytes())
    }
}

fn row_key(intent: &IntentId, name: &str) -> String {
    format!("{intent}/{name}")
}

#[cfg(test)]
mod tests {
    use marque_store::SqliteStore;
    use marque_testkit::{FixedClock, SeededRandom, temp_dir};

    use super::*;

    #[tokio::test]
    async fn what_is_erased_leaves_no_place_for_a_text() {
        let (folder, clock) = (temp_dir(), FixedClock::default());
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let trust_domain = "prod.example.org".parse().unwrap();
        let file = folder.path().join("marque.sqlite");
        let store = SqliteStore::open(&file, &trust_domain, Arc::clone(&shared)).await.unwrap();
        let (store, random): (_, Arc<dyn Random>) =
            (Arc::new(store), Arc::new(SeededRandom::new(1)));
        let key = PayloadKey::new(&Zeroizing::new([1; KEY])).unwrap();
        let own = Payloads::new(key, "prod.example.org", (&store, &shared, &random));
        let intent = IntentId::generate(&SeededRandom::new(7), clock.now()).unwrap();
        let sealed = row_key(&intent, "justification");
        let (row, _) = own.seal(&sealed, "for Jane Roe").unwrap();
        let change = KeptChange::new(PAYLOADS, &sealed, &row, FOR_GOOD).unwrap();
        assert!(store.keep(vec![change]).await.unwrap());
        assert!(own.erase(&intent, "operator:user1000", "request 17").await.unwrap());
        for name in NAMES {
            let row = store.kept(PAYLOADS, &row_key(&intent, name), clock.now()).await.unwrap();
            assert_eq!(row.unwrap().read::<Row>().unwrap(), Row::Erased, "{name}");
        }
        assert!(own.found(&intent).await.unwrap().is_empty());
        // Once more changes nothing.
        let size = store.size().await.unwrap();
        assert!(!own.erase(&intent, "operator:user1000", "request 17").await.unwrap());
        assert_eq!(store.size().await.unwrap(), size);
    }

    #[tokio::test]
    async fn a_text_opens_in_its_place_under_its_key_alone() {
        let (folder, clock) = (temp_dir(), FixedClock::default());
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let trust_domain = "prod.example.org".parse().unwrap();
        let file = folder.path().join("marque.sqlite");
        let store = SqliteStore::open(&file, &trust_domain, Arc::clone(&shared)).await.unwrap();
        let (store, random): (_, Arc<dyn Random>) =
            (Arc::new(store), Arc::new(SeededRandom::new(1)));
        let payloads = |secret: u8, trust_domain: &str| {
            let key = PayloadKey::new(&Zeroizing::new([secret; KEY])).unwrap();
            Payloads::new(key, trust_domain, (&store, &shared, &random))
        };
        let own = payloads(1, "prod.example.org");
        let (row, digest) = own.seal("int_1/report", "for Jane Roe").unwrap();
        let Row::Sealed { key, text } = row.clone() else { panic!("{row:?}") };
        assert_eq!(Digest::of(&base64url::decode(&text).unwrap()), digest);
        let kept = |name: &str, row: &Row| Kept {
            kind: PAYLOADS.to_owned(),
            key: name.to_owned(),
            version: 1,
            until: FOR_GOOD,
            document: serde_json::to_value(row).unwrap(),
        };
        assert_eq!(own.open(&kept("int_1/report", &row)).unwrap(), "for Jane Roe");
        assert!(!format!("{row:?}{own:?}").contains("Jane"));
        let elsewhere = [payloads(2, "prod.example.org"), payloads(1, "dev.example.org")];
        for other in &elsewhere {
            assert!(matches!(other.open(&kept("int_1/report", &row)), Err(PayloadError::Seal)));
        }
        let swapped = Row::Sealed { key: text.clone(), text: key.clone() };
        let cut = Row::Sealed { key: key.chars().take(8).collect(), text };
        for (name, row) in
            [("int_2/report", &row), ("int_1/report", &swapped), ("int_1/report", &cut)]
        {
            assert!(matches!(own.open(&kept(name, row)), Err(PayloadError::Seal)), "{name}");
        }
    }
}
