//! What an upstream told of the trust domain's bundle, and what of that may stand here.
//!
//! An answer that cannot be right changes nothing at all. One that is right may have more than what may stand here: roots
//! that are not pinned, or keys of a kind that this daemon does not know. Those are left out.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use marque_jose::{KeyError, KeyId, PublicKey};
use marque_spiffe::CertificateDigest;
use rustls_pki_types::CertificateDer;

use super::{
    FollowedBundle, FollowedKey, FollowedRoot, FollowedUse, MAX_FOLLOWED_KEYS, MAX_FOLLOWED_ROOTS,
    followed, stands_on,
};
use crate::{
    AuthorityConfig, AuthorityRecord, SignedAuthorityError, certificate,
    intermediate::{Rule, Standing},
};

/// How far ahead of what is known, and of the seconds since 1970, a sequence may be: twelve days. Whoever tells a higher one
/// could say nothing again for long that is newer.
const MAX_AHEAD: u64 = 1 << 20;

/// The bundle of the trust domain as an upstream tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldBundle {
    /// Whose bundle it is said to be: the name of a trust domain.
    pub trust_domain: String,
    /// Its roots.
    pub roots: Vec<ToldRoot>,
    /// Its keys for JWT-SVIDs.
    pub jwt_keys: Vec<ToldKey>,
    /// Its keys for WIT-SVIDs.
    pub wit_keys: Vec<ToldKey>,
    /// Its sequence; 0 where the upstream numbers nothing.
    pub sequence: u64,
    /// How often it should be fetched.
    pub refresh_hint: Duration,
}

/// A root as an upstream tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldRoot {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// Whether it is believed to be in wrong hands.
    pub tainted: bool,
}

/// A key for tokens as an upstream tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldKey {
    /// Its name.
    pub key_id: String,
    /// SubjectPublicKeyInfo, DER.
    pub spki_der: Vec<u8>,
    /// When it ends, where it does by itself.
    pub expires_at: Option<Timestamp>,
    /// Whether it is believed to be in wrong hands.
    pub tainted: bool,
}

/// A root that the upstream publishes and that may not stand here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Which.
    pub root: CertificateDigest,
    /// Why.
    pub why: SignedAuthorityError,
}

/// Why the own bundle does not go by what an upstream told. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ToldBundleError {
    /// It is another trust domain's.
    #[error("it is the bundle of another trust domain")]
    TrustDomain,
    /// A sequence that no bundle comes to.
    #[error("its sequence {told} is too far ahead: {most} is the most that is believed by now")]
    Sequence {
        /// The sequence that it tells.
        told: u64,
        /// The highest one that is believed.
        most: u64,
    },
    /// There is no root in it, or none that may stand here.
    #[error("it has no root that may stand here, and a bundle is never emptied")]
    NoRoot(#[source] Option<SignedAuthorityError>),
    /// Too many roots.
    #[error(
        "more than {MAX_FOLLOWED_ROOTS} of its roots may stand here; revoke the tainted ones there, or wait until old ones have left"
    )]
    TooManyRoots,
    /// A root that is none, or is the other environment's.
    #[error("a root cannot be used")]
    Root(#[source] SignedAuthorityError),
    /// Too many keys of one use.
    #[error("it has more than {MAX_FOLLOWED_KEYS} keys for {}", .0.as_str())]
    TooManyKeys(FollowedUse),
    /// A key that is none.
    #[error("key {number} for {} is malformed", .key_use.as_str())]
    Key {
        /// What for.
        key_use: FollowedUse,
        /// Its place among those of its use, from 0.
        number: usize,
    },
    /// Two keys of one name.
    #[error("it has two keys `{0}`")]
    KeyId(KeyId),
}

impl ToldBundleError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TrustDomain => "upstream_bundle_trust_domain",
            Self::Sequence { .. } => "upstream_bundle_sequence",
            Self::NoRoot(_) => "upstream_bundle_no_root",
            Self::TooManyRoots => "upstream_bundle_roots",
            Self::Root(_) => "upstream_bundle_root",
            Self::TooManyKeys(_) => "upstream_bundle_keys",
            Self::Key { .. } => "upstream_bundle_key",
            Self::KeyId(_) => "upstream_bundle_key_id",
        }
    }
}

impl ToldBundle {
    /// What of it may stand here from `now` on, as the bundle of `source`; and the roots that may not.
    pub(crate) fn read(
        &self,
        source: &str,
        (config, records): (&AuthorityConfig, &[AuthorityRecord]),
        now: Timestamp,
    ) -> Result<(FollowedBundle, Vec<LeftOut>), ToldBundleError> {
        if self.trust_domain != config.trust_domain.as_str() {
            return Err(ToldBundleError::TrustDomain);
        }
        self.is_not_too_far_ahead(source, records, now)?;
        let (roots, left_out) = self.read_roots((config, records), now)?;
        let mut names = BTreeSet::new();
        let mut keys = Vec::new();
        for (key_use, told) in
            [(FollowedUse::JwtSvid, &self.jwt_keys), (FollowedUse::WitSvid, &self.wit_keys)]
        {
            if told.len() > MAX_FOLLOWED_KEYS {
                return Err(ToldBundleError::TooManyKeys(key_use));
            }
            for (number, told) in told.iter().enumerate() {
                let read = told.read(key_use, now);
                let read = read.map_err(|Malformed| ToldBundleError::Key { key_use, number })?;
                let Some(key) = read else { continue };
                if !names.insert(key.key_id.clone()) {
                    return Err(ToldBundleError::KeyId(key.key_id));
                }
                keys.push(key);
            }
        }
        let (source, sequence) = (source.to_owned(), self.sequence);
        let mut read = FollowedBundle { source, sequence, roots, keys, alarms: 0 };
        read.sort();
        Ok((read, left_out))
    }

    fn is_not_too_far_ahead(
        &self,
        source: &str,
        records: &[AuthorityRecord],
        now: Timestamp,
    ) -> Result<(), ToldBundleError> {
        let before = followed(records).filter(|before| before.source == source);
        let before = before.map_or(0, |before| before.sequence);
        let seconds = u64::try_from(now.as_second()).unwrap_or(0);
        let most = before.max(seconds).saturating_add(MAX_AHEAD);
        let told = self.sequence;
        if told > most { Err(ToldBundleError::Sequence { told, most }) } else { Ok(()) }
    }

    fn read_roots(
        &self,
        (config, records): (&AuthorityConfig, &[AuthorityRecord]),
        now: Timestamp,
    ) -> Result<(Vec<FollowedRoot>, Vec<LeftOut>), ToldBundleError> {
        let rule = Rule::of(config, Standing::New);
        let (mut taken, mut left_out) = (Vec::<FollowedRoot>::new(), Vec::new());
        for (position, ToldRoot { certificate: der, tainted }) in self.roots.iter().enumerate() {
            let malformed = SignedAuthorityError::Malformed(position);
            let Some(root) = certificate::read(der) else {
                return Err(ToldBundleError::Root(malformed));
            };
            // What signs here was taken by the settings of its time, and those of now count for the next.
            let is_stood_on = || {
                let published = |record: &&AuthorityRecord| record.state.is_published();
                records.iter().filter(published).any(|record| stands_on(record, der))
            };
            let held = match rule.hold_root(der, position) {
                Err(refused) if rule.names_the_other(&root) => {
                    return Err(ToldBundleError::Root(refused));
                }
                Ok(_) => PublicKey::from_spki_der(root.public_key().raw)
                    .map(drop)
                    .map_err(|_unknown| malformed),
                Err(_) if is_stood_on() => Ok(()),
                Err(refused) => Err(refused),
            };
            match held {
                Ok(()) if taken.iter().any(|root| root.certificate_der == der.as_ref()) => {}
                Ok(()) => taken.push(FollowedRoot {
                    certificate_der: der.to_vec(),
                    since: now,
                    tainted: *tainted,
                    tainted_since: tainted.then_some(now),
                }),
                Err(why) => left_out.push(LeftOut { root: CertificateDigest::of(der), why }),
            }
        }
        if taken.is_empty() {
            let why = left_out.into_iter().next().map(|LeftOut { why, .. }| why);
            return Err(ToldBundleError::NoRoot(why));
        }
        if taken.len() > MAX_FOLLOWED_ROOTS {
            return Err(ToldBundleError::TooManyRoots);
        }
        Ok((taken, left_out))
    }
}

/// The name or the key does not read.
struct Malformed;

impl ToldKey {
    /// `None` for a key that has ended, or is of a kind that this daemon does not know.
    fn read(&self, key_use: FollowedUse, now: Timestamp) -> Result<Option<FollowedKey>, Malformed> {
        let key_id: KeyId = self.key_id.parse().map_err(|_refused| Malformed)?;
        match PublicKey::from_spki_der(&self.spki_der) {
            Ok(_) => {}
            Err(KeyError::Unsupported { .. } | KeyError::RsaSize { .. }) => return Ok(None),
            Err(_) => return Err(Malformed),
        }
        if self.expires_at.is_some_and(|end| end <= now) {
            return Ok(None);
        }
        Ok(Some(FollowedKey {
            key_use,
            key_id,
            spki_der: self.spki_der.clone(),
            since: now,
            ends_at: self.expires_at,
            tainted: self.tainted,
            tainted_since: self.tainted.then_some(now),
        }))
    }
}
