//! Why a step in the life of a key is not taken.

use jiff::Timestamp;
use marque_keys::{KeyPurpose, SlotId};

use crate::{AuthorityState, MAX_PUBLISHED_KEYS};

/// Why a step in the life of a key is not taken. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderRefusal {
    /// There is no such key on record.
    #[error("there is no key `{slot}`; `marque authority list` shows those that there are")]
    NoSuchKey {
        /// The slot asked for.
        slot: SlotId,
    },
    /// Keys of this purpose do not take turns.
    #[error(
        "the key for `{purpose}` is not rotated: those who verify the audit log have pinned it"
    )]
    NotRotated {
        /// The purpose.
        purpose: KeyPurpose,
    },
    /// There is no key of this purpose that another could follow.
    #[error("no key for `{purpose}` is active, so there is nothing to prepare another one for")]
    NothingActive {
        /// The purpose.
        purpose: KeyPurpose,
    },
    /// One is prepared already.
    #[error("`{slot}` is prepared already; activate it, or taint it if it must never sign")]
    AlreadyPrepared {
        /// The prepared key.
        slot: SlotId,
    },
    /// Somebody else put this key, or the one after it, on record.
    #[error("`{slot}` is not the key that comes next; look again with `marque authority list`")]
    NotTheNext {
        /// The key.
        slot: SlotId,
    },
    /// [`MAX_PUBLISHED_KEYS`].
    #[error(
        "{MAX_PUBLISHED_KEYS} keys for `{purpose}` are published, and every verifier keeps them all; revoke those that are tainted, \
         or wait until old ones have left the bundle"
    )]
    TooMany {
        /// The purpose.
        purpose: KeyPurpose,
    },
    /// Only a prepared key can be activated.
    #[error("`{slot}` is {state}, and only a prepared key can be activated")]
    NotPrepared {
        /// The key.
        slot: SlotId,
        /// What it is.
        state: AuthorityState,
    },
    /// Verifiers that fetch the bundle may not know the key yet.
    #[error(
        "`{slot}` has not been published for three times the bundle's refresh hint: whoever fetches the bundle may not know it \
         before {until}; wait until then, or activate it with `--now` and a reason"
    )]
    TooEarly {
        /// The key.
        slot: SlotId,
        /// When it may sign.
        until: Timestamp,
    },
    /// The key has ended.
    #[error("`{slot}` ended at {at}; prepare another one")]
    Ended {
        /// The key.
        slot: SlotId,
        /// Its end.
        at: Timestamp,
    },
    /// To taint the active key takes another one that goes on signing.
    #[error(
        "the active key for `{purpose}` can be tainted only when another one is prepared, which then signs in its place; run \
         `marque authority prepare {purpose}` first"
    )]
    NothingPrepared {
        /// The purpose.
        purpose: KeyPurpose,
    },
    /// It is tainted already.
    #[error("`{slot}` is tainted already; `marque authority revoke` takes it out of the bundle")]
    AlreadyTainted {
        /// The key.
        slot: SlotId,
    },
    /// The active key leaves the bundle never.
    #[error("`{slot}` is the active key, and all that it signed would be refused; taint it first")]
    Active {
        /// The key.
        slot: SlotId,
    },
    /// Only what is tainted is revoked: its SVIDs were issued anew.
    #[error(
        "`{slot}` is not tainted, so what it signed is still in use; taint it first, which has all of it issued anew"
    )]
    NotTainted {
        /// The key.
        slot: SlotId,
    },
    /// It left the bundle before.
    #[error("`{slot}` is {state}: nobody believes what it signs any more")]
    NotPublished {
        /// The key.
        slot: SlotId,
        /// What it is.
        state: AuthorityState,
    },
    /// The certificates of this purpose's keys are signed by others, which takes a request and what comes back for it.
    #[error(
        "an offline root signs the certificates for `{purpose}`: print a request with `marque authority csr`, have it signed, and          bring it back with `marque authority import`"
    )]
    SignedByHand {
        /// The purpose.
        purpose: KeyPurpose,
    },
    /// Each key signs its own certificate.
    #[error(
        "the X.509 authorities of this trust domain sign their own certificates; `[upstream]` in trust-domain.toml says who else does"
    )]
    NoUpstream,
    /// There is no key that a certificate could be for.
    #[error(
        "there is no key `{slot}` yet that a certificate could be for; `marque authority csr` makes it"
    )]
    NothingRequested {
        /// The key that comes next.
        slot: SlotId,
    },
    /// What the upstream tells is older than what is followed (TB-2).
    #[error(
        "the upstream's bundle went back from sequence {from} to {to}; was it restored from a backup, or is it another one? Under \
         another name in `server` of [upstream] it is followed from the beginning"
    )]
    UpstreamWentBack {
        /// The sequence that is followed.
        from: u64,
        /// The sequence that it tells.
        to: u64,
    },
    /// The authority stands on a root that the upstream took out, and as its own that root would be published again.
    #[error(
        "`{slot}` stands on a root that the upstream took out of its bundle; what was followed of it stays until another key signs \
         in its place"
    )]
    StandsOnLostRoot {
        /// The key that signs.
        slot: SlotId,
    },
    /// The upstream's bundle says what is followed already.
    #[error("the upstream's bundle says nothing new")]
    NothingNew,
    /// It is published, or the last of its purpose.
    #[error("`{slot}` is still needed on record")]
    StillNeeded {
        /// The key.
        slot: SlotId,
    },
}

impl OrderRefusal {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoSuchKey { .. } => "authority_not_found",
            Self::NotRotated { .. } => "authority_not_rotated",
            Self::NothingActive { .. } => "authority_nothing_active",
            Self::AlreadyPrepared { .. } => "authority_already_prepared",
            Self::NotTheNext { .. } => "authority_overtaken",
            Self::TooMany { .. } => "authority_too_many",
            Self::NotPrepared { .. } => "authority_not_prepared",
            Self::TooEarly { .. } => "authority_not_published_long_enough",
            Self::Ended { .. } => "authority_ended",
            Self::NothingPrepared { .. } => "authority_nothing_prepared",
            Self::AlreadyTainted { .. } => "authority_already_tainted",
            Self::Active { .. } => "authority_active",
            Self::NotTainted { .. } => "authority_not_tainted",
            Self::NotPublished { .. } => "authority_not_published",
            Self::SignedByHand { .. } => "authority_signed_by_hand",
            Self::NoUpstream => "authority_no_upstream",
            Self::NothingRequested { .. } => "authority_nothing_requested",
            Self::UpstreamWentBack { .. } => "upstream_bundle_went_back",
            Self::StandsOnLostRoot { .. } => "upstream_root_lost",
            Self::NothingNew => "upstream_bundle_unchanged",
            Self::StillNeeded { .. } => "authority_still_needed",
        }
    }
}
