//! The bundle of an upstream, which the own one follows: what of it stands here, and since when.
//!
//! Servers of one trust domain share roots and the keys of tokens. What the upstream says counts: what it publishes is
//! published here, and what it takes out leaves. Deliberately absent: asking (`authority/follow.rs`), and what it changes on
//! record (`order/follow.rs`).

mod told;

use jiff::Timestamp;
use marque_jose::KeyId;
use marque_keys::KeyPurpose;
use marque_spiffe::CertificateDigest;
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

pub use self::told::{LeftOut, ToldBundle, ToldBundleError, ToldKey, ToldRoot};
use crate::{
    AuthorityRecord, AuthorityState, MAX_PUBLISHED_KEYS, UpstreamCertificates, certificate,
    record::in_state,
};

/// How many keys for tokens of one use an upstream may publish: its own, and those of the servers below it.
pub const MAX_FOLLOWED_KEYS: usize = 64;

/// How many roots an upstream may publish, of those that may stand here.
pub const MAX_FOLLOWED_ROOTS: usize = MAX_PUBLISHED_KEYS;

/// What the own bundle has from the bundle of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FollowedBundle {
    /// Whose bundle it is: the host and the port.
    pub source: String,
    /// Its sequence there, when it last said something new.
    pub sequence: u64,
    /// Its roots, in the order of their bytes.
    pub roots: Vec<FollowedRoot>,
    /// Its keys for tokens by use and name, without those that are this trust domain's own here.
    pub keys: Vec<FollowedKey>,
    /// How often something was given up or taken out there: each time is told to every stream at once.
    #[serde(default)]
    pub alarms: usize,
}

/// A root of the upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FollowedRoot {
    /// The certificate, DER.
    pub certificate_der: Vec<u8>,
    /// Since when it is published here.
    pub since: Timestamp,
    /// Whether the upstream believes it to be in wrong hands.
    #[serde(default)]
    pub tainted: bool,
    /// When that was heard first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tainted_since: Option<Timestamp>,
}

/// A key for tokens of the upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FollowedKey {
    /// What for.
    #[serde(rename = "use")]
    pub key_use: FollowedUse,
    /// Its name.
    pub key_id: KeyId,
    /// SubjectPublicKeyInfo, DER.
    pub spki_der: Vec<u8>,
    /// Since when it is published here.
    pub since: Timestamp,
    /// When it ends, where it does by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    /// Whether the upstream believes it to be in wrong hands.
    #[serde(default)]
    pub tainted: bool,
    /// When that was heard first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tainted_since: Option<Timestamp>,
}

/// What a key for tokens is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FollowedUse {
    /// JWT-SVIDs.
    JwtSvid,
    /// WIT-SVIDs.
    WitSvid,
}

impl FollowedUse {
    /// As bundle documents write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::JwtSvid => "jwt-svid",
            Self::WitSvid => "wit-svid",
        }
    }
}

impl FollowedRoot {
    /// The digest that people name it by.
    #[must_use]
    pub fn digest(&self) -> CertificateDigest {
        CertificateDigest::of(&CertificateDer::from(self.certificate_der.as_slice()))
    }
}

impl FollowedBundle {
    /// This bundle as it takes the place of what was followed before: what was there stays since then, and what is gone or
    /// given up is counted.
    pub(crate) fn in_place_of(mut self, before: &Self) -> Self {
        let mut alarms = before.alarms;
        for old in &before.roots {
            match self.roots.iter_mut().find(|new| new.certificate_der == old.certificate_der) {
                Some(new) => {
                    new.since = old.since;
                    if new.tainted && old.tainted {
                        new.tainted_since = old.tainted_since;
                    }
                    alarms += usize::from(new.tainted && !old.tainted);
                }
                None => alarms += 1 + usize::from(old.tainted),
            }
        }
        for old in &before.keys {
            let same = |new: &&mut FollowedKey| is_same_key(new, old);
            match self.keys.iter_mut().find(same) {
                Some(new) => {
                    new.since = old.since;
                    if new.tainted && old.tainted {
                        new.tainted_since = old.tainted_since;
                    }
                    alarms += usize::from(new.tainted && !old.tainted);
                }
                None => alarms += 1 + usize::from(old.tainted),
            }
        }
        self.alarms = alarms;
        self
    }

    /// In the order that it has here, whatever the upstream's is.
    pub(crate) fn sort(&mut self) {
        self.roots.sort_by(|one, other| one.certificate_der.cmp(&other.certificate_der));
        self.keys
            .sort_by(|one, other| (one.key_use, &one.key_id).cmp(&(other.key_use, &other.key_id)));
    }

    /// Whether both say the same, whatever their numbers are.
    pub(crate) fn says_as(&self, other: &Self) -> bool {
        *self == Self { sequence: self.sequence, ..other.clone() }
    }

    /// This bundle without the keys that have ended; `None` if none has.
    pub(crate) fn without_ended(&self, now: Timestamp) -> Option<Self> {
        let has_ended = |key: &FollowedKey| key.ends_at.is_some_and(|end| end <= now);
        self.keys.iter().any(has_ended).then(|| {
            let mut lasting = self.clone();
            lasting.keys.retain(|key| !has_ended(key));
            lasting
        })
    }

    /// Whether both publish the same in the same order, whatever is given up of it.
    pub(crate) fn publishes_as(&self, other: &Self) -> bool {
        let same_root =
            |one: &FollowedRoot, other: &FollowedRoot| one.certificate_der == other.certificate_der;
        let mut roots = self.roots.iter().zip(&other.roots);
        let mut keys = self.keys.iter().zip(&other.keys);
        (self.roots.len(), self.keys.len()) == (other.roots.len(), other.keys.len())
            && roots.all(|(one, other)| same_root(one, other))
            && keys.all(|(one, other)| is_same_key(one, other))
    }

    pub(crate) fn root(&self, der: &[u8]) -> Option<&FollowedRoot> {
        self.roots.iter().find(|root| root.certificate_der == der)
    }

    /// Whether a record's roots are those of this bundle, and not its own.
    pub(crate) fn speaks_for(&self, record: &AuthorityRecord) -> bool {
        let source = record.upstream.as_ref().and_then(|upstream| upstream.source.as_ref());
        source == Some(&self.source)
    }

    /// The root that an authority stands on: one that is not given up, if there is one.
    pub(crate) fn root_of(&self, record: &AuthorityRecord) -> Option<&FollowedRoot> {
        let under = || self.roots.iter().filter(|root| stands_on(record, &root.certificate_der));
        under().find(|root| !root.tainted).or_else(|| under().next())
    }

    /// Whether an authority has to stand on another root: the upstream gave its own up, or took it out.
    pub(crate) fn gives_up(&self, record: &AuthorityRecord) -> bool {
        self.speaks_for(record) && self.root_of(record).is_none_or(|root| root.tainted)
    }

    /// Whether nothing below an authority verifies by this bundle.
    pub(crate) fn has_no_root_of(&self, record: &AuthorityRecord) -> bool {
        self.speaks_for(record) && self.root_of(record).is_none()
    }
}

fn is_same_key(one: &FollowedKey, other: &FollowedKey) -> bool {
    (one.key_use, &one.key_id, &one.spki_der) == (other.key_use, &other.key_id, &other.spki_der)
}

/// What is followed, which one of the records holds.
pub(crate) fn followed(records: &[AuthorityRecord]) -> Option<&FollowedBundle> {
    records.iter().find_map(|record| record.followed.as_deref())
}

/// The X.509 authority that signs.
pub(crate) fn active(records: &[AuthorityRecord]) -> Option<&AuthorityRecord> {
    in_state(records, KeyPurpose::X509Authority, AuthorityState::Active)
}

/// Whether a root issued the last of the certificates below it that a record has.
pub(crate) fn stands_on(record: &AuthorityRecord, root: &[u8]) -> bool {
    let Some(UpstreamCertificates { above, .. }) = &record.upstream else { return false };
    let last = above.last().or(record.certificate_der.as_ref());
    last.is_some_and(|last| has_issued(root, last))
}

/// Whether the key of one certificate signed another, and by this name.
pub(crate) fn has_issued(issuer: &[u8], certificate: &[u8]) -> bool {
    let (Some(issuer), Some(certificate)) =
        (certificate::read(issuer), certificate::read(certificate))
    else {
        return false;
    };
    certificate.issuer().as_raw() == issuer.subject().as_raw()
        && certificate.verify_signature(Some(issuer.public_key())).is_ok()
}

#[cfg(test)]
mod tests;
