//! Signed notes (C2SP signed-note) with Ed25519, as far as checkpoints need them.
//!
//! Deliberately absent: other signature types (what witnesses sign is at [`crate::cosignature`]; here it passes through as
//! signatures of unknown keys) and the private key, which stays with whoever implements [`CheckpointSigner`].

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, UnparsedPublicKey};

use crate::checkpoint::MAX_CHECKPOINT_BYTES;
use crate::{AuditError, Checkpoint};

/// The signature type byte of plain Ed25519 (C2SP signed-note, "Signature types").
const ED25519_TYPE: u8 = 1;
/// More than the sixteen signatures that a verifier has to accept.
const MAX_SIGNATURES: usize = 100;
const SIGNATURE_MARK: &str = "\u{2014} ";

/// Whoever holds the log's own Ed25519 key; never a key that signs tokens or certificates.
pub trait CheckpointSigner: fmt::Debug + Send + Sync {
    /// The key's name: the log's origin.
    fn name(&self) -> &str;
    /// The 32 bytes of the Ed25519 public key (RFC 8032).
    fn public_key(&self) -> &[u8; 32];
    /// Signs the message as it is (pure Ed25519).
    ///
    /// # Errors
    /// When the key cannot be used.
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], AuditError>;
}

/// A public key with its name, written `name+hash+base64` as C2SP verifier keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey(NamedKey);

impl VerifierKey {
    /// Names a public key.
    ///
    /// # Errors
    /// When the name is empty or has a space, a plus or a control character.
    pub fn new(name: &str, public_key: [u8; 32]) -> Result<Self, AuditError> {
        NamedKey::new(name, ED25519_TYPE, public_key).map(Self)
    }

    /// The key of a signer.
    ///
    /// # Errors
    /// When the signer's name cannot be the name of a key.
    pub fn of(signer: &dyn CheckpointSigner) -> Result<Self, AuditError> {
        Self::new(signer.name(), *signer.public_key())
    }

    /// The key's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// The 32 bytes of the Ed25519 public key.
    #[must_use]
    pub fn public_key(&self) -> &[u8; 32] {
        self.0.public_key()
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for VerifierKey {
    type Err = AuditError;

    fn from_str(text: &str) -> Result<Self, AuditError> {
        NamedKey::read(text, ED25519_TYPE, "not an Ed25519 key").map(Self)
    }
}

/// An Ed25519 key with its name and what it signs, which its id says too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedKey {
    name: String,
    signature_type: u8,
    id: [u8; 4],
    public_key: [u8; 32],
}

impl NamedKey {
    pub(crate) fn new(
        name: &str,
        signature_type: u8,
        public_key: [u8; 32],
    ) -> Result<Self, AuditError> {
        if !is_key_name(name) {
            return Err(AuditError::VerifierKey("a name has no spaces and no plus"));
        }
        let id = key_id(name, signature_type, &public_key);
        Ok(Self { name: name.to_owned(), signature_type, id, public_key })
    }

    /// Reads a key that signs this; `wrong` is said of one that signs something else.
    pub(crate) fn read(
        text: &str,
        signature_type: u8,
        wrong: &'static str,
    ) -> Result<Self, AuditError> {
        let malformed = || AuditError::VerifierKey("it has the form name+hash+base64");
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(malformed());
        };
        let typed = STANDARD.decode(key).map_err(|_not_base64| malformed())?;
        let (&read_type, bytes) = typed.split_first().ok_or_else(malformed)?;
        if read_type != signature_type {
            return Err(AuditError::VerifierKey(wrong));
        }
        let public_key = bytes.try_into().map_err(|_wrong_length| malformed())?;
        let key = Self::new(name, signature_type, public_key)?;
        if hex::encode(key.id) != id {
            return Err(AuditError::VerifierKey("its hash is that of another key"));
        }
        Ok(key)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn public_key(&self) -> &[u8; 32] {
        &self.public_key
    }

    /// Whether a line says that it is of this key.
    pub(crate) fn is_of(&self, line: &SignatureLine<'_>) -> bool {
        line.name == self.name && line.id == self.id
    }
}

impl fmt::Display for NamedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let typed = [[self.signature_type].as_slice(), self.public_key.as_slice()].concat();
        write!(f, "{}+{}+{}", self.name, hex::encode(self.id), STANDARD.encode(typed))
    }
}

/// A checkpoint whose signature was made or verified here, and its whole text with all signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    text: String,
}

impl SignedCheckpoint {
    /// Signs a checkpoint.
    ///
    /// # Errors
    /// When the signer cannot sign, or its name cannot be the name of a key.
    pub fn sign(
        checkpoint: &Checkpoint,
        signer: &dyn CheckpointSigner,
    ) -> Result<Self, AuditError> {
        let key = VerifierKey::of(signer)?;
        if checkpoint.origin != key.name() {
            return Err(AuditError::Checkpoint("its origin is not the name of the key"));
        }
        let body = checkpoint.to_note_body();
        let signature = signer.sign(body.as_bytes())?;
        let blob = STANDARD.encode([key.0.id.as_slice(), signature.as_slice()].concat());
        let text = format!("{body}\n{SIGNATURE_MARK}{} {blob}\n", key.name());
        Ok(Self { checkpoint: checkpoint.clone(), text })
    }

    /// Reads a checkpoint that `key` signed. Signatures of other keys are left alone.
    ///
    /// # Errors
    /// When the text is not a signed note, does not carry a signature of `key`, carries one that does not verify, or
    /// is not a checkpoint of the log that the key is named for.
    pub fn verify(text: &str, key: &VerifierKey) -> Result<Self, AuditError> {
        let body = verify_note(text, key)?;
        let checkpoint = Checkpoint::parse(body)?;
        if checkpoint.origin != key.name() {
            return Err(AuditError::Checkpoint("its origin is not the name of the key"));
        }
        Ok(Self { checkpoint, text: text.to_owned() })
    }

    /// What was signed.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The same note with more signature lines, each once; whoever calls this has verified them.
    pub(crate) fn with_lines<'a>(&self, lines: impl Iterator<Item = &'a str>) -> Self {
        let mut text = self.text.clone();
        for line in lines {
            if !text.lines().any(|there| there == line) {
                text.push_str(line);
                text.push('\n');
            }
        }
        Self { checkpoint: self.checkpoint.clone(), text }
    }

    /// The signed note.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// One signature of a note, unverified.
#[derive(Debug)]
pub(crate) struct SignatureLine<'a> {
    pub(crate) name: &'a str,
    pub(crate) id: [u8; 4],
    pub(crate) signature: Vec<u8>,
    /// The line itself.
    pub(crate) text: &'a str,
}

/// The text of a note that `key` signed.
fn verify_note<'a>(note: &'a str, VerifierKey(key): &VerifierKey) -> Result<&'a str, AuditError> {
    let (body, lines) = read(note)?;
    let mut signed = false;
    for line in lines.iter().filter(|line| key.is_of(line)) {
        UnparsedPublicKey::new(&ED25519, &key.public_key)
            .verify(body.as_bytes(), &line.signature)
            .map_err(|_unspecified| AuditError::BadSignature { name: key.name.clone() })?;
        signed = true;
    }
    if signed { Ok(body) } else { Err(AuditError::NotSignedBy { name: key.name.clone() }) }
}

/// The text of a note, with its last newline, and its signatures.
pub(crate) fn read(note: &str) -> Result<(&str, Vec<SignatureLine<'_>>), AuditError> {
    if note.len() > MAX_CHECKPOINT_BYTES {
        return Err(AuditError::Note("it is too long"));
    }
    if note.bytes().any(|byte| byte < b' ' && byte != b'\n') {
        return Err(AuditError::Note("it has a control character"));
    }
    // The text keeps its own newline; the blank line belongs to neither part.
    let end = note.rfind("\n\n").ok_or(AuditError::Note("it has no signatures"))?;
    let (body, signatures) =
        note.split_at_checked(end + 1).ok_or(AuditError::Note("it has no signatures"))?;
    let signatures = signatures
        .strip_prefix('\n')
        .and_then(|lines| lines.strip_suffix('\n'))
        .ok_or(AuditError::Note("its last line does not end"))?;
    let mut lines = Vec::new();
    for line in signatures.split('\n') {
        if lines.len() == MAX_SIGNATURES {
            return Err(AuditError::Note("it has too many signatures"));
        }
        lines.push(parse_signature(line)?);
    }
    Ok((body, lines))
}

fn parse_signature(line: &str) -> Result<SignatureLine<'_>, AuditError> {
    let malformed = || AuditError::Note("a signature line is malformed");
    let (name, blob) = line
        .strip_prefix(SIGNATURE_MARK)
        .and_then(|rest| rest.split_once(' '))
        .ok_or_else(malformed)?;
    if !is_key_name(name) {
        return Err(malformed());
    }
    let blob = STANDARD.decode(blob).map_err(|_not_base64| malformed())?;
    match blob.split_first_chunk::<4>() {
        Some((id, signature)) if !signature.is_empty() => {
            Ok(SignatureLine { name, id: *id, signature: signature.to_vec(), text: line })
        }
        _ => Err(malformed()),
    }
}

fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

/// SHA-256(name ‖ newline ‖ type ‖ public key), its first four bytes (C2SP signed-note, "Ed25519 signatures").
fn key_id(name: &str, signature_type: u8, public_key: &[u8; 32]) -> [u8; 4] {
    let input = [name.as_bytes(), b"\n", &[signature_type], public_key].concat();
    let mut id = [0; 4];
    id.iter_mut().zip(digest(&SHA256, &input).as_ref()).for_each(|(to, from)| *to = *from);
    id
}

#[cfg(test)]
mod tests;
