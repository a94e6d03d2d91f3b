//! The authorities as one set of records has them: what is published, and what signs.

use std::sync::Arc;

use jiff::Timestamp;
use marque_jose::{Jwk, JwkSet};
use marque_keys::{KeyManager, KeyPurpose, SigningKey};
use marque_spiffe::Bundle;
use rustls_pki_types::CertificateDer;

use crate::{
    AuthorityConfig, AuthorityError, AuthorityRecord, AuthorityState, RootProblem, SignedAuthority,
    Trusted, UpstreamCertificates,
    ceiling::TokenCeiling,
    downstream::DownstreamAuthority,
    intermediate::Standing,
    jwt::JwtAuthority,
    published,
    record::of,
    root::Root,
    round::load_key,
    schedule::Schedule,
    signer::{CertificateSigner, TokenSigner, name_key},
    wit::WitAuthority,
    x509::X509Authority,
};

/// What mints, and by what it is verified. It never changes: another set of records makes another one.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) config: Arc<AuthorityConfig>,
    pub(crate) records: Vec<AuthorityRecord>,
    pub(crate) bundle: Arc<Bundle>,
    /// The bundle without what is tainted: an SVID that does not verify by it is to be issued anew.
    pub(crate) untainted: Arc<Bundle>,
    /// The bundle without the token keys of an upstream.
    pub(crate) own: Arc<Bundle>,
    /// How many taintings and revocations are on record.
    pub(crate) alarms: usize,
    pub(crate) x509: X509Authority,
    /// Who signs for servers below, where somebody does and there is room for it.
    pub(crate) downstream: Option<DownstreamAuthority>,
    pub(crate) jwt: JwtAuthority,
    pub(crate) wit: Option<WitAuthority>,
    pub(crate) access_token: Arc<TokenSigner>,
    pub(crate) access_token_keys: Arc<JwkSet>,
}

/// The active key of a purpose and its record.
struct Active<'a> {
    record: &'a AuthorityRecord,
    key: SigningKey,
}

impl Snapshot {
    /// Loads what the records name.
    pub(crate) fn of(
        records: Vec<AuthorityRecord>,
        config: &Arc<AuthorityConfig>,
        keys: &dyn KeyManager,
        before: Option<&Self>,
    ) -> Result<Self, AuthorityError> {
        let x509 = active(&records, keys, KeyPurpose::X509Authority)?;
        let jwt = active(&records, keys, KeyPurpose::JwtSvid)?;
        let access_token = active(&records, keys, KeyPurpose::AccessToken)?;
        let wit = if config.wit_svids {
            Some(active(&records, keys, KeyPurpose::WitSvid)?)
        } else {
            None
        };
        let schedule = Schedule(config);
        let Trusted { bundle, untainted, alarms } = Trusted::of(&records, config, before)?;
        let own = published::own(&records, config, (before, &bundle))?;
        let certificates = read_certificates(config, x509.record)?;
        let slot = x509.record.slot.clone();
        let downstream = downstream(config, &certificates.own, &x509.key)?;
        let ends_at = certificates.own.validity.not_after;
        let x509 = CertificateSigner::for_leaves(x509.key, config, ends_at);
        let jwt_ends_at = schedule.ends_at(jwt.record);
        let jwt_ceiling = TokenCeiling::of_jwt_svids(config, jwt_ends_at);
        let access_token =
            TokenSigner::new(access_token.key, TokenCeiling::of_token_service(config))?;
        Ok(Self {
            config: Arc::clone(config),
            bundle,
            untainted,
            own,
            alarms,
            x509: X509Authority::new(slot, certificates, x509)?,
            downstream,
            jwt: JwtAuthority::new(
                jwt.record.slot.clone(),
                Arc::new(TokenSigner::new(jwt.key, jwt_ceiling)?),
                jwt_ends_at,
            ),
            wit: wit.map(|wit| wit_authority(config, wit, &schedule)).transpose()?,
            access_token: Arc::new(access_token),
            access_token_keys: Arc::new(access_token_keys(&records)?),
            records,
        })
    }

    /// When the first of the keys that sign ends.
    pub(crate) fn ends_at(&self, config: &AuthorityConfig) -> Timestamp {
        let schedule = Schedule(config);
        let active = self.active(config);
        active.map(|record| schedule.ends_at(record)).fold(Timestamp::MAX, Timestamp::min)
    }

    /// The records of the keys that sign and end.
    pub(crate) fn active<'a>(
        &'a self,
        config: &'a AuthorityConfig,
    ) -> impl Iterator<Item = &'a AuthorityRecord> {
        self.records.iter().filter(|record| {
            let purpose = record.slot.purpose();
            record.state == AuthorityState::Active
                && purpose != KeyPurpose::AuditCheckpoint
                && (purpose != KeyPurpose::WitSvid || config.wit_svids)
        })
    }
}

fn downstream(
    config: &AuthorityConfig,
    root: &Root,
    key: &SigningKey,
) -> Result<Option<DownstreamAuthority>, AuthorityError> {
    if config.max_downstream_lifetime.is_none() {
        return Ok(None);
    }
    let ends_at = root.validity.not_after;
    DownstreamAuthority::new(root, |path_length| {
        CertificateSigner::for_downstream(key.clone(), config, ends_at, path_length)
    })
}

/// What an X.509 authority's record stands for.
#[derive(Clone, Debug)]
pub(crate) struct X509Certificates {
    /// The key's own.
    pub(crate) own: Root,
    /// What SVIDs carry after the leaf: nothing below a root.
    pub(crate) carried: Vec<CertificateDer<'static>>,
    /// What the bundle has.
    pub(crate) anchors: Vec<CertificateDer<'static>>,
}

/// The certificates in a record, held to what they have to be in this trust domain and environment.
pub(crate) fn read_certificates(
    config: &AuthorityConfig,
    record: &AuthorityRecord,
) -> Result<X509Certificates, AuthorityError> {
    let AuthorityRecord { slot, certificate_der, upstream, .. } = record;
    let refused = |source| AuthorityError::Root { slot: slot.clone(), source };
    let der = certificate_der.clone().ok_or_else(|| refused(RootProblem::Missing))?;
    let (_, public_key) = name_key(slot, &record.public_key)?;
    match upstream {
        None => {
            let own = Root::read(der, &config.trust_domain, config.environment, &public_key);
            let own = own.map_err(refused)?;
            Ok(X509Certificates {
                carried: Vec::new(),
                anchors: vec![own.certificate.clone()],
                own,
            })
        }
        Some(UpstreamCertificates { above, roots, source: _ }) => {
            let chain = [&der].into_iter().chain(above).cloned().map(CertificateDer::from);
            let roots = roots.iter().cloned().map(CertificateDer::from);
            let signed = SignedAuthority { chain: chain.collect(), roots: roots.collect() };
            let read = signed.read(config, slot, &public_key, Standing::OnRecord);
            read.map_err(|source| AuthorityError::SignedAuthority { slot: slot.clone(), source })
        }
    }
}

/// The key for checkpoints of the audit log, which never changes.
pub(crate) fn checkpoint_key(
    records: &[AuthorityRecord],
    keys: &dyn KeyManager,
) -> Result<SigningKey, AuthorityError> {
    Ok(active(records, keys, KeyPurpose::AuditCheckpoint)?.key)
}

fn active<'a>(
    records: &'a [AuthorityRecord],
    keys: &dyn KeyManager,
    purpose: KeyPurpose,
) -> Result<Active<'a>, AuthorityError> {
    let mut active = of(records, purpose).filter(|record| record.state == AuthorityState::Active);
    let record = match (active.next(), active.next()) {
        (Some(record), None) => record,
        (Some(_), Some(_)) => return Err(AuthorityError::SeveralActive { purpose }),
        (None, _) => return Err(AuthorityError::NoneActive { purpose }),
    };
    let slot = &record.slot;
    let key =
        load_key(keys, slot)?.ok_or_else(|| AuthorityError::KeyMissing { slot: slot.clone() })?;
    if key.public_key() != record.public_key {
        return Err(AuthorityError::KeyChanged { slot: slot.clone() });
    }
    Ok(Active { record, key })
}

fn wit_authority(
    config: &AuthorityConfig,
    Active { record, key }: Active<'_>,
    schedule: &Schedule<'_>,
) -> Result<WitAuthority, AuthorityError> {
    let ends_at = schedule.ends_at(record);
    let signer = TokenSigner::new(key, TokenCeiling::of_wit_svids(config, ends_at))?;
    Ok(WitAuthority::new(record.slot.clone(), Arc::new(signer), ends_at))
}

/// Every key that access tokens verify with: of those that are valid, and of those that will be.
fn access_token_keys(records: &[AuthorityRecord]) -> Result<JwkSet, AuthorityError> {
    let published =
        of(records, KeyPurpose::AccessToken).filter(|record| record.state.is_published());
    let keys = published.map(|record| {
        let (key_id, key) = name_key(&record.slot, &record.public_key)?;
        Ok(Jwk::for_signatures(key, key_id))
    });
    Ok(JwkSet { keys: keys.collect::<Result<_, AuthorityError>>()? })
}
