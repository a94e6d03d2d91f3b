//! The names of keys: what one is for, which of the two slots it sits in, and which generation it is.

use std::{fmt, num::NonZeroU32, str::FromStr};

use crate::KeyAlgorithm;

/// What a key is used for. No key ever serves two purposes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyPurpose {
    /// Signs X.509-SVIDs; its certificate is the trust domain's root.
    X509Authority,
    /// Signs JWT-SVIDs.
    JwtSvid,
    /// Signs WIT-SVIDs.
    WitSvid,
    /// Signs access tokens; never part of the SPIFFE bundle.
    AccessToken,
    /// Signs the checkpoints of the audit log.
    AuditCheckpoint,
}

impl KeyPurpose {
    /// Every purpose there is.
    pub const ALL: [Self; 5] = [
        Self::X509Authority,
        Self::JwtSvid,
        Self::WitSvid,
        Self::AccessToken,
        Self::AuditCheckpoint,
    ];

    /// The purpose as it is written in key ids, e.g. `jwt-svid`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::X509Authority => "x509-authority",
            Self::JwtSvid => "jwt-svid",
            Self::WitSvid => "wit-svid",
            Self::AccessToken => "access-token",
            Self::AuditCheckpoint => "audit-checkpoint",
        }
    }

    /// The algorithms that a key with this purpose may have; the first is the default.
    ///
    /// RS256 is for those who verify nothing else: Microsoft Entra for JWT-SVIDs, and resource servers that know only what
    /// RFC 9068 section 2.1 demands. A root is P-256, as is every SVID that it signs.
    pub fn algorithms(self) -> &'static [KeyAlgorithm] {
        match self {
            Self::AuditCheckpoint => &[KeyAlgorithm::Ed25519],
            Self::X509Authority | Self::WitSvid => &[KeyAlgorithm::EcdsaP256],
            Self::JwtSvid | Self::AccessToken => &[KeyAlgorithm::EcdsaP256, KeyAlgorithm::Rsa2048],
        }
    }

    /// The algorithm of a key of which nothing else is said.
    pub fn default_algorithm(self) -> KeyAlgorithm {
        match self {
            Self::AuditCheckpoint => KeyAlgorithm::Ed25519,
            Self::X509Authority | Self::JwtSvid | Self::WitSvid | Self::AccessToken => {
                KeyAlgorithm::EcdsaP256
            }
        }
    }
}

impl fmt::Display for KeyPurpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One of the two places that take turns in holding the active key of a purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// The first one used.
    A,
    /// The one that is prepared while A is active, and the other way round.
    B,
}

impl Slot {
    /// The slot as it is written in key ids: `a` or `b`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }
}

/// The name of one key pair: purpose, slot and generation, written `jwt-svid-a-1`.
///
/// Generations count from 1 and are never used again, so a name means one key for ever.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId {
    purpose: KeyPurpose,
    slot: Slot,
    generation: NonZeroU32,
}

impl SlotId {
    /// The name of a key pair.
    pub fn new(purpose: KeyPurpose, slot: Slot, generation: NonZeroU32) -> Self {
        Self { purpose, slot, generation }
    }

    /// The name of the first key pair of a purpose: slot A, generation 1.
    pub fn first(purpose: KeyPurpose) -> Self {
        Self::new(purpose, Slot::A, NonZeroU32::MIN)
    }

    /// What the key is for.
    pub fn purpose(&self) -> KeyPurpose {
        self.purpose
    }

    /// Which of the two slots holds it.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// Which generation it is; at least 1.
    pub fn generation(&self) -> u32 {
        self.generation.get()
    }

    /// Where it stands in the order in which the keys of its purpose are made: a-1, b-1, a-2, b-2 and so on.
    pub fn place(&self) -> (u32, Slot) {
        (self.generation(), self.slot)
    }

    /// The name of the key that is made after it, in the other slot; `None` after the last generation.
    #[must_use]
    pub fn successor(&self) -> Option<Self> {
        let (slot, generation) = match self.slot {
            Slot::A => (Slot::B, self.generation),
            Slot::B => (Slot::A, self.generation.checked_add(1)?),
        };
        Some(Self::new(self.purpose, slot, generation))
    }
}

impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.purpose.as_str(), self.slot.as_str(), self.generation)
    }
}

impl FromStr for SlotId {
    type Err = SlotIdError;

    fn from_str(text: &str) -> Result<Self, SlotIdError> {
        let (rest, generation) = text.rsplit_once('-').ok_or(SlotIdError::Shape)?;
        let (purpose, slot) = rest.rsplit_once('-').ok_or(SlotIdError::Shape)?;
        let slot = match slot {
            "a" => Slot::A,
            "b" => Slot::B,
            _ => return Err(SlotIdError::Slot),
        };
        let purpose = KeyPurpose::ALL
            .into_iter()
            .find(|known| known.as_str() == purpose)
            .ok_or(SlotIdError::Purpose)?;
        // One name has one spelling: `parse` alone would also take `+1` and `01`.
        if !generation.starts_with(|first: char| matches!(first, '1'..='9')) {
            return Err(SlotIdError::Generation);
        }
        let generation = generation.parse().map_err(|_parse_error| SlotIdError::Generation)?;
        Ok(Self { purpose, slot, generation })
    }
}

impl serde::Serialize for SlotId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for SlotId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Why a text is not the name of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlotIdError {
    /// Fewer than three parts.
    #[error("a key's name has the form `<purpose>-<a|b>-<generation>`")]
    Shape,
    /// The purpose is none of [`KeyPurpose::ALL`].
    #[error("the purpose in a key's name is not known")]
    Purpose,
    /// The slot is neither `a` nor `b`.
    #[error("the slot in a key's name is neither `a` nor `b`")]
    Slot,
    /// The generation is not a decimal number from 1 to 4294967295 without sign or leading zeros.
    #[error("the generation in a key's name is not a number from 1 to 4294967295")]
    Generation,
}

#[cfg(test)]
mod tests;
