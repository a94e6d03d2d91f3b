//! What a trust domain publishes by its records: the own authorities, and what is followed of an upstream.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use marque_jose::PublicKey;
use marque_keys::KeyPurpose;
use marque_spiffe::{Bundle, BundleBuilder, BundleError};
use rustls_pki_types::CertificateDer;

use crate::{
    AuthorityConfig, AuthorityError, AuthorityRecord, FollowedBundle, FollowedKey, FollowedUse,
    Trusted,
    followed::{active, followed},
    record::sequence,
    signer::name_key,
    snapshot::{Snapshot, read_certificates},
};

impl Trusted {
    /// What the records say. What is published as before is shared with the snapshot before, so that whoever holds on to a
    /// bundle can see that it is the same.
    pub(crate) fn of(
        records: &[AuthorityRecord],
        config: &AuthorityConfig,
        before: Option<&Snapshot>,
    ) -> Result<Self, AuthorityError> {
        let means = Means { config, records, refresh_hint: refresh_hint(config, records, before) };
        let published = |record: &AuthorityRecord| record.state.is_published();
        let bundle = means.bundle(published, followed(records))?;
        let bundle = shared(bundle, before.map(|before| &before.bundle));
        let good = |record: &AuthorityRecord| published(record) && !record.is_tainted();
        let (relied_on, given_up) = relied_on(records);
        let untainted = means.bundle(good, relied_on.as_ref())?;
        let untainted = if untainted == *bundle {
            Arc::clone(&bundle)
        } else {
            shared(untainted, before.map(|before| &before.untainted))
        };
        let followed = followed(records).map_or(0, |followed| followed.alarms);
        Ok(Self { bundle, untainted, alarms: alarms(records) + followed + given_up })
    }
}

/// The bundle without the token keys of an upstream: the tokens of this trust domain that verify by it were signed here.
pub(crate) fn own(
    records: &[AuthorityRecord],
    config: &AuthorityConfig,
    (before, bundle): (Option<&Snapshot>, &Arc<Bundle>),
) -> Result<Arc<Bundle>, AuthorityError> {
    let Some(mut followed) = followed(records).cloned() else { return Ok(Arc::clone(bundle)) };
    followed.keys.clear();
    let means = Means { config, records, refresh_hint: bundle.refresh_hint() };
    let own = means.bundle(|record| record.state.is_published(), Some(&followed))?;
    let before = before.map(|before| &before.own);
    Ok(if own == **bundle { Arc::clone(bundle) } else { shared(own, before) })
}

/// What is followed without what the upstream has given up, and how many roots that leaves out. A root that the own authority
/// still stands on stays: what would be issued anew would stand on it again.
fn relied_on(records: &[AuthorityRecord]) -> (Option<FollowedBundle>, usize) {
    let Some(all) = followed(records) else { return (None, 0) };
    let mut good = all.clone();
    good.keys.retain(|key| !key.tainted);
    if active(records).is_some_and(|active| all.gives_up(active)) {
        return (Some(good), 0);
    }
    good.roots.retain(|root| !root.tainted);
    let given_up = all.roots.len() - good.roots.len();
    (Some(good), given_up)
}

struct Means<'a> {
    config: &'a AuthorityConfig,
    records: &'a [AuthorityRecord],
    refresh_hint: Duration,
}

impl Means<'_> {
    /// Whatever signs SVIDs or is known to, and nothing else. Of keys whose certificates somebody else signed it has the roots,
    /// and as roots may be those of several keys, it also refuses the keys on record that are not `believed`.
    fn bundle(
        &self,
        believed: impl Fn(&AuthorityRecord) -> bool,
        followed: Option<&FollowedBundle>,
    ) -> Result<Bundle, AuthorityError> {
        let Self { config, records, refresh_hint } = *self;
        let mut bundle = Bundle::builder(config.trust_domain.clone());
        let mut anchors = BTreeSet::new();
        for record in records {
            if !believed(record) {
                if record.upstream.is_some() {
                    bundle = bundle.distrust(&name_key(&record.slot, &record.public_key)?.1);
                }
                continue;
            }
            bundle = match record.slot.purpose() {
                KeyPurpose::X509Authority
                    if followed.is_some_and(|followed| followed.speaks_for(record)) =>
                {
                    Ok(bundle)
                }
                KeyPurpose::X509Authority => {
                    let certificates = read_certificates(config, record)?;
                    with_anchors(bundle, certificates.anchors, &mut anchors)
                }
                KeyPurpose::JwtSvid => {
                    let (key_id, key) = name_key(&record.slot, &record.public_key)?;
                    bundle.jwt_authority(key_id, key)
                }
                KeyPurpose::WitSvid => {
                    let (key_id, key) = name_key(&record.slot, &record.public_key)?;
                    bundle.wit_authority(key_id, key)
                }
                KeyPurpose::AccessToken | KeyPurpose::AuditCheckpoint => Ok(bundle),
            }
            .map_err(AuthorityError::Bundle)?;
        }
        if let Some(followed) = followed {
            let roots = followed.roots.iter();
            let roots = roots.map(|root| CertificateDer::from(root.certificate_der.clone()));
            bundle = with_anchors(bundle, roots.collect(), &mut anchors)
                .map_err(AuthorityError::Bundle)?;
            bundle = self.with_keys(bundle, &followed.keys)?;
        }
        Ok(bundle.sequence(sequence(records)).refresh_hint(refresh_hint).build())
    }

    /// A key of the upstream has no name of an own one: it was left out when it was heard, and own names end with a part of the
    /// key's digest. If one should have it all the same, the own key counts.
    fn with_keys(
        &self,
        mut bundle: BundleBuilder,
        keys: &[FollowedKey],
    ) -> Result<BundleBuilder, AuthorityError> {
        let own: BTreeSet<_> = self.records.iter().filter_map(own_name).collect();
        for FollowedKey { key_use, key_id, spki_der, .. } in keys {
            let Ok(key) = PublicKey::from_spki_der(spki_der) else { continue };
            if own.contains(key_id.as_str()) {
                continue;
            }
            let added = match key_use {
                FollowedUse::JwtSvid => bundle.jwt_authority(key_id.clone(), key),
                FollowedUse::WitSvid => bundle.wit_authority(key_id.clone(), key),
            };
            bundle = added.map_err(AuthorityError::Bundle)?;
        }
        Ok(bundle)
    }
}

fn own_name(record: &AuthorityRecord) -> Option<String> {
    name_key(&record.slot, &record.public_key).ok().map(|(key_id, _)| key_id.to_string())
}

/// The bundle with these certificates, each once.
fn with_anchors(
    mut bundle: BundleBuilder,
    certificates: Vec<CertificateDer<'static>>,
    there: &mut BTreeSet<Vec<u8>>,
) -> Result<BundleBuilder, BundleError> {
    for certificate in certificates {
        if there.insert(certificate.to_vec()) {
            bundle = bundle.x509_authority(certificate)?;
        }
    }
    Ok(bundle)
}

/// The refresh hint of the bundle. Another one comes with the next key that comes or goes: no bundle changes under one sequence
/// (TB-2).
fn refresh_hint(
    config: &AuthorityConfig,
    records: &[AuthorityRecord],
    before: Option<&Snapshot>,
) -> Duration {
    let same = before.filter(|before| sequence(&before.records) == sequence(records));
    same.map_or(config.refresh_hint, |before| before.bundle.refresh_hint())
}

/// How many taintings and revocations are on record.
fn alarms(records: &[AuthorityRecord]) -> usize {
    let tainted = || records.iter().filter(|record| record.is_tainted());
    tainted().count() + tainted().filter(|record| !record.state.is_published()).count()
}

fn shared(bundle: Bundle, before: Option<&Arc<Bundle>>) -> Arc<Bundle> {
    before.filter(|before| ***before == bundle).map_or_else(|| Arc::new(bundle), Arc::clone)
}
