//! The issuance ceiling: what a key signs at most, held where it signs (M 105).
//!
//! A signer parses the very bytes that it is about to sign and refuses whatever is outside of its trust domain, its
//! purpose, its lifetimes or its kinds, no matter which layer above asks and what that layer has checked. A refusal is a
//! defect or an attack, so somebody is told of each ([`SigningAlarm`]).
//!
//! Deliberately absent: who is entitled to what. A ceiling bounds what the best-placed caller gets.

mod certificate;
mod token;

use std::{fmt, sync::Arc, time::Duration};

use jiff::Timestamp;
use marque_keys::SlotId;
use marque_spiffe::Clock;

pub(crate) use certificate::CertificateCeiling;
pub(crate) use token::{JwsHeader, TokenCeiling};
pub use token::{RequiredClaim, TokenForm, TokenServiceCeiling};

/// How far ahead of the signer's clock the clock may have been that an end was counted from.
const SKEW: Duration = Duration::from_secs(10);

/// What the signers of a trust domain go by, whatever they are asked to sign.
#[derive(Clone, Debug)]
pub struct SigningGuard {
    clock: Arc<dyn Clock>,
    alarm: Arc<dyn SigningAlarm>,
    token_service: Arc<TokenServiceCeiling>,
}

impl SigningGuard {
    /// A guard that holds every end against `clock`, tells `alarm` of each refusal, and lets the key for access tokens
    /// sign what `token_service` says.
    #[must_use]
    pub fn new(
        clock: Arc<dyn Clock>,
        alarm: Arc<dyn SigningAlarm>,
        token_service: TokenServiceCeiling,
    ) -> Self {
        Self { clock, alarm, token_service: Arc::new(token_service) }
    }

    /// The same, where the key for access tokens signs what `token_service` says instead.
    #[must_use]
    pub fn with_token_service(&self, token_service: TokenServiceCeiling) -> Self {
        Self { token_service: Arc::new(token_service), ..self.clone() }
    }

    /// What the key for access tokens signs.
    #[must_use]
    pub fn token_service(&self) -> &TokenServiceCeiling {
        &self.token_service
    }

    /// Whether something that ends at `end` ends within `lifetime` from now, and not after `ends_at`.
    fn check_end(
        &self,
        end: Timestamp,
        lifetime: Duration,
        ends_at: Option<Timestamp>,
    ) -> Result<(), Breach> {
        let allowance = lifetime.saturating_add(SKEW);
        let latest = self.clock.now().saturating_add(allowance).unwrap_or(Timestamp::MAX);
        if end > latest {
            return Err(Breach::Lifetime);
        }
        if ends_at.is_some_and(|ends_at| end > ends_at) {
            return Err(Breach::OutlivesAuthority);
        }
        Ok(())
    }

    /// Tells of a refusal and gives it back.
    pub(crate) fn refuse(&self, slot: &SlotId, breach: Breach) -> CeilingRefusal {
        let refusal = CeilingRefusal { slot: slot.clone(), breach };
        self.alarm.refused(&refusal);
        refusal
    }
}

/// Who is told that a key was asked for a signature outside of its ceiling.
pub trait SigningAlarm: fmt::Debug + Send + Sync {
    /// Takes note of the refusal, without waiting for anything.
    fn refused(&self, refusal: &CeilingRefusal);
}

/// A signature that was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key `{slot}` refuses to sign: {breach}")]
pub struct CeilingRefusal {
    /// The key that was asked.
    pub slot: SlotId,
    /// What is outside of its ceiling.
    pub breach: Breach,
}

impl CeilingRefusal {
    /// The stable code of every refusal.
    pub const CODE: &'static str = "issuance_ceiling";
}

/// What about the bytes is outside of the ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Breach {
    /// It is not the one thing that the key signs, or does not parse as that.
    #[error("it is not what this key signs, or does not parse")]
    Unreadable,
    /// A certificate that is not a leaf, or not the authority's own root.
    #[error("its constraints, usages or extensions are not those of what this key signs")]
    Usage,
    /// The SPIFFE ID or a name is not of the trust domain.
    #[error("its name is not one of the trust domain")]
    Name,
    /// It lasts longer than the ceiling.
    #[error("it lasts longer than the ceiling of the trust domain")]
    Lifetime,
    /// It ends after the authority that signs it.
    #[error("it ends after the authority that signs it")]
    OutlivesAuthority,
    /// Its public key is the wrong one: an authority's in a leaf, or another than the authority's in a root.
    #[error("its public key is not one that this key vouches for")]
    PublicKey,
    /// Its header names another algorithm, key or type.
    #[error("its header is not one that this key signs")]
    Header,
    /// It is issued in somebody else's name.
    #[error("it is issued in another name than that of the issuer")]
    Issuer,
    /// A claim that bounds it is missing, or one that it must not have is there.
    #[error("a claim that bounds it is missing, or has no place in it")]
    Claims,
}

impl Breach {
    /// Every breach there is.
    pub const ALL: [Self; 9] = [
        Self::Unreadable,
        Self::Usage,
        Self::Name,
        Self::Lifetime,
        Self::OutlivesAuthority,
        Self::PublicKey,
        Self::Header,
        Self::Issuer,
        Self::Claims,
    ];

    /// The breach as it stands in metrics and in the audit log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Usage => "usage",
            Self::Name => "name",
            Self::Lifetime => "lifetime",
            Self::OutlivesAuthority => "outlives_authority",
            Self::PublicKey => "public_key",
            Self::Header => "header",
            Self::Issuer => "issuer",
            Self::Claims => "claims",
        }
    }
}

#[cfg(test)]
mod tests;
