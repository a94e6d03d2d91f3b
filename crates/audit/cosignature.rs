//! Cosignatures of witnesses (C2SP tlog-cosignature, `cosignature/v1`): a witness says that a checkpoint is consistent with
//! every other one of the log that it has seen, and when it said so.
//!
//! Deliberately absent: how a witness is asked ([`crate::witness`]), and cosignatures with ML-DSA, which pass through as
//! signatures of unknown keys.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ring::signature::{ED25519, UnparsedPublicKey};

use crate::note::{self, NamedKey, SignatureLine};
use crate::{AuditError, SignedCheckpoint};

/// The signature type byte of timestamped Ed25519 cosignatures.
const COSIGNATURE_TYPE: u8 = 4;
/// The first line of what a witness signs.
const HEADER: &str = "cosignature/v1";

/// The public key of a witness with its name, written `name+hash+base64` as C2SP verifier keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CosignerKey(NamedKey);

/// What one witness said of one checkpoint, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosignature {
    witness: String,
    at: Timestamp,
    line: String,
}

impl CosignerKey {
    /// Names a public key.
    ///
    /// # Errors
    /// When the name is empty or has a space, a plus or a control character.
    pub fn new(name: &str, public_key: [u8; 32]) -> Result<Self, AuditError> {
        NamedKey::new(name, COSIGNATURE_TYPE, public_key).map(Self)
    }

    /// The name of the witness.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// The 32 bytes of the Ed25519 public key.
    #[must_use]
    pub fn public_key(&self) -> &[u8; 32] {
        self.0.public_key()
    }

    /// The newest cosignature of this witness that a note has; lines of other keys are left alone.
    ///
    /// # Errors
    /// The text is no signed note, or a line in the name of this key is not its cosignature.
    pub fn find(&self, note: &str) -> Result<Option<Cosignature>, AuditError> {
        let (body, lines) = note::read(note)?;
        let own = lines.iter().filter(|line| self.0.is_of(line));
        let own = own.map(|line| self.verify(body, line)).collect::<Result<Vec<_>, _>>()?;
        Ok(own.into_iter().max_by_key(Cosignature::at))
    }

    fn verify(&self, body: &str, line: &SignatureLine<'_>) -> Result<Cosignature, AuditError> {
        let bad = || AuditError::BadSignature { name: self.name().to_owned() };
        let (time, signature) = line.signature.split_first_chunk::<8>().ok_or_else(bad)?;
        let time = i64::try_from(u64::from_be_bytes(*time)).map_err(|_too_large| bad())?;
        let at = Timestamp::from_second(time).map_err(|_beyond_calendars| bad())?;
        UnparsedPublicKey::new(&ED25519, self.public_key())
            .verify(&message(time, body), signature)
            .map_err(|_unspecified| bad())?;
        Ok(Cosignature { witness: self.name().to_owned(), at, line: line.text.to_owned() })
    }
}

/// What is signed: the header, the time, and the whole body of the note.
fn message(time: i64, body: &str) -> Vec<u8> {
    format!("{HEADER}\ntime {time}\n{body}").into_bytes()
}

impl fmt::Display for CosignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for CosignerKey {
    type Err = AuditError;

    fn from_str(text: &str) -> Result<Self, AuditError> {
        let wrong = "not the Ed25519 key of a witness (its base64 begins with `B`)";
        NamedKey::read(text, COSIGNATURE_TYPE, wrong).map(Self)
    }
}

impl Cosignature {
    /// The name of the witness.
    #[must_use]
    pub fn witness(&self) -> &str {
        &self.witness
    }

    /// When the witness signed, by its own clock.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// The line of the note, without its line end.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }
}

/// How many of which witnesses have to have seen a checkpoint.
#[derive(Debug, Clone)]
pub struct WitnessPolicy {
    keys: Vec<CosignerKey>,
    quorum: usize,
    within: Option<Duration>,
}

/// Why a policy cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// One witness under two names would count twice.
    #[error("two of the witnesses have the same key")]
    SameKey,
    /// No number of cosignatures would do, or none would be needed.
    #[error("the quorum is at least 1, and at most the number of witnesses")]
    Quorum,
}

/// Why a checkpoint was not seen by enough witnesses.
#[derive(Debug, thiserror::Error)]
pub enum UnwitnessedError {
    /// A line in the name of a witness is not its cosignature.
    #[error("a cosignature of the checkpoint is not the witness's")]
    False(#[source] AuditError),
    /// Fewer witnesses cosigned than have to.
    #[error("{found} of the {quorum} witnesses that have to have cosigned the checkpoint")]
    Missing {
        /// How many did.
        found: usize,
        /// How many have to.
        quorum: usize,
    },
    /// Enough witnesses cosigned, and too few of them lately.
    #[error("{fresh} of {quorum} cosignatures are of the last {} seconds", within.as_secs())]
    TooOld {
        /// How many are.
        fresh: usize,
        /// How many have to be.
        quorum: usize,
        /// How old they may be.
        within: Duration,
    },
}

impl UnwitnessedError {
    /// A stable name of the kind of finding, for machines.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::False(_) => "cosignature_false",
            Self::Missing { .. } => "cosignatures_missing",
            Self::TooOld { .. } => "cosignatures_too_old",
        }
    }
}

impl WitnessPolicy {
    /// So many of these witnesses.
    ///
    /// # Errors
    /// See [`PolicyError`].
    pub fn new(keys: Vec<CosignerKey>, quorum: usize) -> Result<Self, PolicyError> {
        let mut seen = HashSet::new();
        if !keys.iter().all(|key| seen.insert(*key.public_key())) {
            return Err(PolicyError::SameKey);
        }
        if !(1..=keys.len()).contains(&quorum) {
            return Err(PolicyError::Quorum);
        }
        Ok(Self { keys, quorum, within: None })
    }

    /// So many of them within so long before and, as their clocks are their own, after the time of looking.
    #[must_use]
    pub fn within(self, within: Duration) -> Self {
        Self { within: Some(within), ..self }
    }

    /// The cosignatures of these witnesses that a checkpoint has.
    ///
    /// # Errors
    /// There are too few, they are too old, or one is false; see [`UnwitnessedError`].
    pub fn check(&self, note: &str, now: Timestamp) -> Result<Vec<Cosignature>, UnwitnessedError> {
        let found = self.keys.iter().filter_map(|key| key.find(note).transpose());
        let found = found.collect::<Result<Vec<_>, _>>().map_err(UnwitnessedError::False)?;
        let quorum = self.quorum;
        if found.len() < quorum {
            return Err(UnwitnessedError::Missing { found: found.len(), quorum });
        }
        if let Some(within) = self.within {
            let limit = SignedDuration::try_from(within).unwrap_or(SignedDuration::MAX);
            let is_fresh = |one: &&Cosignature| now.duration_since(one.at).abs() <= limit;
            let fresh = found.iter().filter(is_fresh).count();
            if fresh < quorum {
                return Err(UnwitnessedError::TooOld { fresh, quorum, within });
            }
        }
        Ok(found)
    }
}

impl SignedCheckpoint {
    /// The same checkpoint with more cosignatures; each line once.
    #[must_use]
    pub fn cosigned<'a>(&self, cosignatures: impl IntoIterator<Item = &'a Cosignature>) -> Self {
        let lines = cosignatures.into_iter().map(Cosignature::line);
        self.with_lines(lines)
    }
}

#[cfg(test)]
mod tests;
