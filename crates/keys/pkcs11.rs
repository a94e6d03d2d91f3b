//! Keys in a hardware token, by PKCS#11: made there, never seen here.
//!
//! A key pair is two objects of the token with one `CKA_ID` and the label `<trust domain>/<slot>`, so that trust domains
//! may share a token. The private object is sensitive and not extractable; one that is neither is refused when it is
//! found. Messages are hashed here for ECDSA, so that every token will do, and signed there.
//!
//! Sessions are pooled. When the token went away they are opened anew, and if that is not enough the module is
//! initialised anew. A PIN that was refused once is not tried a second time: tokens lock themselves.
//!
//! Deliberately absent: initialising tokens, setting PINs, copying keys in or out.

mod error;
mod module;
mod objects;
mod pin;
mod token;

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use cryptoki::{
    mechanism::{
        Mechanism,
        eddsa::{EddsaParams, EddsaSignatureScheme},
    },
    object::ObjectHandle,
};
use ring::{digest, rand::SecureRandom as _};

pub use error::TokenError;

use self::{
    error::Trouble,
    module::Module,
    objects::{Label, Objects},
    token::Token,
};
use crate::{
    KeyAlgorithm, KeyError, KeyManager, RemoteSigner, SigningKey, SlotId, remote::aside,
    signing::check_allowed, system_random,
};

/// Where a token is, and how it is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSettings {
    /// The vendor's library.
    pub module: PathBuf,
    /// The label of the token, which one token alone has.
    pub label: String,
    /// The file with the user PIN: closed to others, nothing but the PIN and perhaps a line feed.
    pub pin_file: PathBuf,
    /// How many sessions may be open at once: 1 to [`TokenSettings::MAX_SESSIONS`].
    pub sessions: usize,
}

impl TokenSettings {
    /// How many sessions are open at once where nothing else is said.
    pub const SESSIONS: usize = 8;
    /// The most sessions.
    pub const MAX_SESSIONS: usize = 64;
}

/// A key manager whose keys are in a hardware token.
#[derive(Debug)]
pub struct TokenKeys {
    token: Arc<Token>,
    context: String,
    /// Held while a key is made, so that one process makes one.
    making: Mutex<()>,
    /// Whether a key was found there: from then on the token has one.
    has_held: AtomicBool,
}

impl TokenKeys {
    /// Loads the module, finds the token, logs in, and takes up every key of `context` once, so that a wrong PIN or a bad
    /// key shows at the start and not at the first signature.
    ///
    /// # Errors
    /// [`KeyError::Context`] as for sealed files; [`KeyError::Token`], which says what to do.
    pub fn open(settings: &TokenSettings, context: &str) -> Result<Self, KeyError> {
        if !crate::sealed::is_context(context) {
            return Err(KeyError::Context);
        }
        let module = Module::open(&settings.module);
        let module =
            module.map_err(|source| KeyError::Token { token: settings.label.clone(), source })?;
        let token = Arc::new(Token::new(module, settings));
        let (context, making) = (context.to_owned(), Mutex::new(()));
        let keys = Self { token, context, making, has_held: AtomicBool::new(false) };
        for slot in keys.list()? {
            keys.load(&slot)?;
        }
        Ok(keys)
    }

    fn label(&self, slot: &SlotId) -> Label {
        Label::new(&self.context, slot)
    }

    fn on_token<T>(
        &self,
        work: impl Fn(&Objects<'_>) -> Result<T, Trouble>,
    ) -> Result<T, KeyError> {
        aside(|| self.token.with_session(|session, _generation| work(&Objects(session))))
            .map_err(|source| self.token.failed(source))
    }

    fn take_up(&self, slot: &SlotId, found: objects::Found) -> Result<SigningKey, KeyError> {
        self.has_held.store(true, Ordering::Relaxed);
        let signer = TokenKey {
            token: Arc::clone(&self.token),
            label: self.label(slot),
            id: found.id,
            algorithm: found.algorithm,
            handle: Mutex::new(None),
        };
        SigningKey::remote(slot, found.algorithm, found.public_key, Arc::new(signer))
    }
}

impl KeyManager for TokenKeys {
    fn generate(&self, slot: &SlotId, algorithm: KeyAlgorithm) -> Result<SigningKey, KeyError> {
        check_allowed(slot, algorithm)?;
        let _one_at_a_time = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let label = self.label(slot);
        let taken = || KeyError::AlreadyExists { slot: slot.clone() };
        if self.on_token(|objects| objects.has(&label))? {
            return Err(taken());
        }
        let mechanisms = aside(|| self.token.mechanisms());
        let mechanisms = mechanisms.map_err(|source| self.token.failed(source))?;
        if !objects::supports(&mechanisms, algorithm) {
            return Err(self.token.failed(TokenError::Algorithm { algorithm }));
        }
        let mut id = [0; 16];
        system_random()
            .fill(&mut id)
            .map_err(|_unspecified| KeyError::Generate { slot: slot.clone() })?;
        self.on_token(|objects| objects.make(&label, &id, algorithm))?;
        // A token knows no unique names: whoever sees another key beside the own one takes the own one back, so that
        // two processes never both keep theirs. The other one may do the same now, so that it is not to be relied on yet.
        if self.on_token(|objects| objects.privates(&label))?.len() > 1 {
            self.on_token(|objects| objects.remove(&label, Some(&id)))?;
            return Err(self
                .token
                .failed(TokenError::SeveralKeys { label: label.as_str().to_owned() }));
        }
        self.load(slot)?.ok_or_else(|| self.token.failed(TokenError::Vanished))
    }

    fn load(&self, slot: &SlotId) -> Result<Option<SigningKey>, KeyError> {
        let label = self.label(slot);
        let found = self.on_token(|objects| objects.read(&label))?;
        found.map(|found| self.take_up(slot, found)).transpose()
    }

    fn list(&self) -> Result<Vec<SlotId>, KeyError> {
        let labels = self.on_token(|objects| objects.labels())?;
        let prefix = format!("{}/", self.context);
        let mut slots = Vec::new();
        for name in labels.iter().filter_map(|label| label.strip_prefix(&prefix)) {
            let slot = name.parse().map_err(|_slot_id_error| {
                self.token.failed(TokenError::StrangeKey { label: format!("{prefix}{name}") })
            })?;
            slots.push(slot);
        }
        slots.sort();
        slots.dedup();
        Ok(slots)
    }

    fn remove(&self, slot: &SlotId) -> Result<(), KeyError> {
        let label = self.label(slot);
        self.on_token(|objects| objects.remove(&label, None))
    }

    fn reachable(&self) -> Result<(), KeyError> {
        // Every key is asked for: a token that answers from its memory what its store does not hold is of no use.
        let slots = self.list()?;
        // One whose store is gone may go on signing from its memory, and say that it holds nothing.
        if slots.is_empty() && self.has_held.load(Ordering::Relaxed) {
            return Err(self.token.failed(TokenError::Absent));
        }
        for slot in slots {
            if let Some(found) = self.on_token(|objects| objects.read(&self.label(&slot)))? {
                self.take_up(&slot, found)?;
            }
        }
        Ok(())
    }
}

/// One private key of the token.
#[derive(Debug)]
struct TokenKey {
    token: Arc<Token>,
    label: Label,
    id: Vec<u8>,
    algorithm: KeyAlgorithm,
    /// Where the token last had it, and in which life of the module.
    handle: Mutex<Option<(u64, ObjectHandle)>>,
}

impl TokenKey {
    fn handle(&self, objects: &Objects<'_>, generation: u64) -> Result<ObjectHandle, Trouble> {
        let mut known = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, handle)) = *known
            && of == generation
        {
            return Ok(handle);
        }
        let handle = objects.private(&self.label, &self.id)?;
        *known = Some((generation, handle));
        Ok(handle)
    }

    fn forget_handle(&self) {
        *self.handle.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl RemoteSigner for TokenKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let hashed;
        let (mechanism, data) = match self.algorithm {
            KeyAlgorithm::EcdsaP256 => {
                hashed = digest::digest(&digest::SHA256, message);
                (Mechanism::Ecdsa, hashed.as_ref())
            }
            KeyAlgorithm::Ed25519 => {
                (Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure)), message)
            }
            KeyAlgorithm::Rsa2048 => (Mechanism::Sha256RsaPkcs, message),
        };
        let signed = self.token.with_session(|session, generation| {
            let handle = self.handle(&Objects(session), generation)?;
            session.sign(&mechanism, handle, data).map_err(|error| {
                self.forget_handle();
                Trouble::from(error)
            })
        });
        signed.map_err(|source| self.token.failed(source))
    }
}
