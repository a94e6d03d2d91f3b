//! An X.509 authority whose certificate somebody else signed: the request for it, and what comes back.
//!
//! The bundle has the roots in its place, and SVIDs carry its certificate with those above it. The environment stands in the
//! subject of every certificate on the way, so that a root of the other environment is found out. Deliberately absent: whom
//! to ask ([`UpstreamAuthority`] is the seam), and roots that sign themselves.

use std::{collections::BTreeSet, error::Error, fmt, sync::Arc, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};
use jiff::Timestamp;
use marque_jose::PublicKey;
use marque_keys::{SigningKey, SlotId};
use marque_spiffe::{CertificateDigest, Environment, UnverifiedX509Svid, X509SvidError};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyUsagePurpose, SanType};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use x509_parser::{extensions::ParsedExtension, prelude::X509Certificate};

use crate::{
    AuthorityConfig, AuthorityError, MAX_PUBLISHED_KEYS, ToldBundle,
    certificate::{self, Validity},
    root::{Root, subject},
    signer::CertificateSigner,
    snapshot::X509Certificates,
};

/// A request for a certificate (PKCS #10, RFC 2986), signed by the key that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRequest {
    /// The slot of the key.
    pub slot: SlotId,
    /// The request as PEM, label `CERTIFICATE REQUEST`.
    pub pem: String,
    /// How long the certificate should last, in whole seconds.
    pub lifetime: Duration,
    /// How many other CA certificates it should permit below it (RFC 5280 section 4.2.1.9).
    pub path_length: u8,
}

/// What came back for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedAuthority {
    /// The authority's own certificate, then those above it in order, without a root.
    pub chain: Vec<CertificateDer<'static>>,
    /// The roots that the bundle gets in its place.
    pub roots: Vec<CertificateDer<'static>>,
}

/// Whoever signs the certificates of a trust domain's X.509 authorities.
pub trait UpstreamAuthority: fmt::Debug + Send + Sync {
    /// Has a certificate signed. What comes back is checked by whoever asked.
    fn sign<'a>(
        &'a self,
        request: &'a CertificateRequest,
    ) -> BoxFuture<'a, Result<SignedAuthority, UpstreamError>>;

    /// Whose bundle there is to follow, host and port; `None` where none is told.
    fn source(&self) -> Option<&str> {
        None
    }

    /// The bundle of the trust domain as it is there now. What comes back is checked by whoever asked.
    fn bundle(&self) -> BoxFuture<'_, Result<ToldBundle, UpstreamError>> {
        std::future::ready(Err(UpstreamError::new("it tells no bundle"))).boxed()
    }
}

/// No certificate was signed, or no bundle told.
#[derive(Debug, thiserror::Error)]
#[error("the upstream gave no answer that can be used")]
pub struct UpstreamError(#[source] Box<dyn Error + Send + Sync>);

impl UpstreamError {
    /// Wraps the reason.
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(source.into())
    }
}

/// That the keys of an X.509 authority do not sign their own certificates, and who does.
#[derive(Clone, Debug, Default)]
pub struct UpstreamRule {
    /// Whom to ask; nobody where people carry the request to an offline root and its answer back.
    pub authority: Option<Arc<dyn UpstreamAuthority>>,
    /// The SHA-256 of the only roots that are taken; any that names the environment where there is none. A root that is among
    /// them need not name it: whoever pinned it has said so.
    pub pinned_roots: BTreeSet<CertificateDigest>,
}

/// Why a signed certificate cannot be the trust domain's authority.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignedAuthorityError {
    /// Not PEM, or not certificates.
    #[error("it is not certificates in PEM")]
    Pem,
    /// There is no certificate below a root.
    #[error(
        "there is no certificate that is not a root; the authority's own certificate comes first"
    )]
    NoCertificate,
    /// There is no root, or are too many.
    #[error("1 to {} roots are needed; append the root's certificate", SignedAuthority::MAX_ROOTS)]
    Roots,
    /// More certificates than an SVID carries.
    #[error("there are more than {} certificates below the root", SignedAuthority::MAX_CHAIN)]
    TooLong,
    /// A certificate does not parse, or is of no use above an SVID. 0 is the authority's own; the roots come last.
    #[error("certificate {0} is not one DER certificate with a subject key identifier")]
    Malformed(usize),
    /// It is for another key.
    #[error(
        "the certificate is for another key than `{0}`; sign the request that `marque authority csr` prints now"
    )]
    PublicKey(SlotId),
    /// A certificate does not name the environment, or names the other one.
    #[error(
        "the subject of certificate {position} does not have exactly one OU, `{environment}`; production and non-production \
         have separate roots, so issue it below a root of this environment, or pin the root in [upstream] if it names none"
    )]
    Environment {
        /// Which certificate; the roots come last.
        position: usize,
        /// The environment that it should name.
        environment: Environment,
    },
    /// A root is not among those that are pinned.
    #[error("the root {0} is not pinned in `roots` of [upstream]")]
    NotPinned(CertificateDigest),
    /// The upstream gave the root up, or took it out of its bundle.
    #[error(
        "it stands on the root {0}, which the upstream gives up; ask again when another one signs there"
    )]
    GivenUp(CertificateDigest),
    /// An SVID below it does not verify by the roots.
    #[error("an X.509-SVID below it does not verify by the root")]
    Path(#[source] X509SvidError),
    /// It ends too soon to be of use.
    #[error("it ends at {ends_at}, less than {least:?} from now")]
    EndsTooSoon {
        /// When the first of the certificates ends.
        ends_at: Timestamp,
        /// How long it has to last.
        least: Duration,
    },
}

impl SignedAuthorityError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Pem => "upstream_pem",
            Self::NoCertificate => "upstream_no_certificate",
            Self::Roots => "upstream_roots",
            Self::TooLong => "upstream_chain_too_long",
            Self::Malformed(_) => "upstream_certificate",
            Self::PublicKey(_) => "upstream_other_key",
            Self::Environment { .. } => "upstream_environment",
            Self::NotPinned(_) => "upstream_root_not_pinned",
            Self::GivenUp(_) => "upstream_root_given_up",
            Self::Path(_) => "upstream_path",
            Self::EndsTooSoon { .. } => "upstream_ends_too_soon",
        }
    }
}

impl SignedAuthority {
    /// The most certificates below a root: with the SVID itself as many as a verifier takes.
    pub const MAX_CHAIN: usize = UnverifiedX509Svid::MAX_CHAIN - 1;
    /// The most roots: as many as another issuer publishes at a time.
    pub const MAX_ROOTS: usize = MAX_PUBLISHED_KEYS;
    /// The longest PEM text, in bytes.
    pub const MAX_PEM_BYTES: usize = 256 * 1024;

    /// Reads certificates in PEM: those that issued themselves are the roots, the others the chain, in their order.
    ///
    /// # Errors
    /// [`SignedAuthorityError::Pem`], or the wrong number of either.
    pub fn from_pem(pem: &[u8]) -> Result<Self, SignedAuthorityError> {
        if pem.len() > Self::MAX_PEM_BYTES {
            return Err(SignedAuthorityError::Pem);
        }
        let all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
        let all = all.map_err(|_pem_error| SignedAuthorityError::Pem)?;
        let (mut chain, mut roots) = (Vec::new(), Vec::new());
        for (position, der) in all.into_iter().enumerate() {
            let certificate =
                certificate::read(&der).ok_or(SignedAuthorityError::Malformed(position))?;
            let issued_itself = certificate.issuer().as_raw() == certificate.subject().as_raw();
            let to = if issued_itself { &mut roots } else { &mut chain };
            if !to.contains(&der) {
                to.push(der);
            }
        }
        let signed = Self { chain, roots };
        signed.check_counts()?;
        Ok(signed)
    }

    fn check_counts(&self) -> Result<(), SignedAuthorityError> {
        if self.chain.is_empty() {
            return Err(SignedAuthorityError::NoCertificate);
        }
        if self.chain.len() > Self::MAX_CHAIN {
            return Err(SignedAuthorityError::TooLong);
        }
        if self.roots.is_empty() || self.roots.len() > Self::MAX_ROOTS {
            return Err(SignedAuthorityError::Roots);
        }
        Ok(())
    }

    /// Reads it as the authority of a key, held to everything that needs no private key: whose it is, the environment of each
    /// certificate, and when all of them have begun and the first ends.
    ///
    /// An upstream may tell all of its roots. The chain ends at one of them; another is taken along if it may stand here, and
    /// otherwise left out.
    pub(crate) fn read(
        &self,
        config: &AuthorityConfig,
        slot: &SlotId,
        public_key: &PublicKey,
        standing: Standing,
    ) -> Result<X509Certificates, SignedAuthorityError> {
        self.check_counts()?;
        let own = self.chain.first().ok_or(SignedAuthorityError::NoCertificate)?;
        let certificate = certificate::read(own).ok_or(SignedAuthorityError::Malformed(0))?;
        if PublicKey::from_spki_der(certificate.public_key().raw).ok().as_ref() != Some(public_key)
        {
            return Err(SignedAuthorityError::PublicKey(slot.clone()));
        }
        let key_id = subject_key_id(&certificate).ok_or(SignedAuthorityError::Malformed(0))?;
        let rule = Rule::of(config, standing);
        let mut validity = Validity { not_before: Timestamp::MIN, not_after: Timestamp::MAX };
        for (position, der) in self.chain.iter().enumerate() {
            let one = rule.hold(der, position)?;
            validity = validity.within(one);
        }
        let (roots, end) = self.read_roots(&rule)?;
        let own = Root { certificate: own.clone(), validity: validity.within(end), key_id };
        Ok(X509Certificates { own, carried: self.chain.clone(), anchors: roots })
    }

    /// The roots that are taken, and the validity of the one that the chain ends at; of several the one that lasts longest.
    fn read_roots(
        &self,
        rule: &Rule<'_>,
    ) -> Result<(Vec<CertificateDer<'static>>, Validity), SignedAuthorityError> {
        let last = self.chain.last().and_then(|last| certificate::read(last));
        let last = last.ok_or(SignedAuthorityError::NoCertificate)?;
        let (mut taken, mut end): (_, Option<Validity>) = (Vec::new(), None);
        let mut refusal = None;
        for (der, position) in self.roots.iter().zip(self.chain.len()..) {
            let malformed = SignedAuthorityError::Malformed(position);
            let root = certificate::read(der).ok_or(malformed)?;
            let signed_it = last.issuer().as_raw() == root.subject().as_raw()
                && last.verify_signature(Some(root.public_key())).is_ok();
            match rule.hold_root(der, position) {
                Ok(validity) => {
                    taken.push(der.clone());
                    let lasts = end.is_none_or(|end| validity.not_after > end.not_after);
                    if signed_it && lasts {
                        end = Some(validity);
                    }
                }
                // No root of the other environment has a place in an answer, whatever it signed.
                Err(refused) if signed_it || rule.names_the_other(&root) => return Err(refused),
                Err(refused) => refusal = refusal.or(Some(refused)),
            }
        }
        match (end, refusal) {
            (Some(end), _) => Ok((taken, end)),
            (None, Some(refused)) => Err(refused),
            (None, None) => {
                Err(SignedAuthorityError::Path(X509SvidError::UnknownAuthority(self.chain.len())))
            }
        }
    }
}

/// Whether certificates come in now, or were taken before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// They are held to what the document says of the upstream.
    New,
    /// They were, when they came: the document may say otherwise now, which counts for the next. The other environment never
    /// has a place.
    OnRecord,
}

/// What certificates above an SVID are held to.
pub(crate) struct Rule<'a> {
    environment: Environment,
    pinned: Option<&'a BTreeSet<CertificateDigest>>,
    standing: Standing,
}

impl<'a> Rule<'a> {
    pub(crate) fn of(config: &'a AuthorityConfig, standing: Standing) -> Self {
        let pinned = config.upstream.as_ref().map(|rule| &rule.pinned_roots);
        let pinned = pinned.filter(|pinned| !pinned.is_empty());
        Self { environment: config.environment, pinned, standing }
    }

    fn hold(&self, der: &[u8], position: usize) -> Result<Validity, SignedAuthorityError> {
        let malformed = || SignedAuthorityError::Malformed(position);
        let certificate = certificate::read(der).ok_or_else(malformed)?;
        let is_vouched_for = self.pinned.is_some() || self.standing == Standing::OnRecord;
        if !may_stand_in(&certificate, self.environment, is_vouched_for) {
            let environment = self.environment;
            return Err(SignedAuthorityError::Environment { position, environment });
        }
        Validity::read(&certificate).ok_or_else(malformed)
    }

    pub(crate) fn hold_root(
        &self,
        der: &CertificateDer<'_>,
        position: usize,
    ) -> Result<Validity, SignedAuthorityError> {
        let digest = CertificateDigest::of(der);
        let is_unknown = self.pinned.is_some_and(|pinned| !pinned.contains(&digest));
        // The environment first: it is what nobody can pin away.
        let validity = self.hold(der, position)?;
        if is_unknown && self.standing == Standing::New {
            return Err(SignedAuthorityError::NotPinned(digest));
        }
        Ok(validity)
    }

    pub(crate) fn names_the_other(&self, certificate: &X509Certificate<'_>) -> bool {
        !may_stand_in(certificate, self.environment, true)
    }
}

/// Whether a certificate may stand above SVIDs of this environment: it names exactly this one, or it names neither and a
/// reviewed document vouches for its root.
fn may_stand_in(
    certificate: &X509Certificate<'_>,
    environment: Environment,
    is_pinned: bool,
) -> bool {
    let units = certificate.subject().iter_organizational_unit();
    let units: Vec<_> = units.map(|unit| unit.as_str().ok()).collect();
    let names = |environment: Environment| units.contains(&Some(environment.as_str()));
    let names_this_alone = names(environment) && units.len() == 1;
    !names(environment.other()) && (names_this_alone || is_pinned)
}

/// Asks for a CA certificate for a key: the subject and the URI of a root, and as much room below it as the next root would have.
pub(crate) fn request(
    config: &AuthorityConfig,
    key: &SigningKey,
) -> Result<CertificateRequest, AuthorityError> {
    let failed = |source| AuthorityError::Build { what: "a certificate request", source };
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(&config.trust_domain, config.environment, key);
    params.subject_alt_names =
        vec![SanType::URI(config.trust_domain.id().as_str().try_into().map_err(failed)?)];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(config.path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let signer = CertificateSigner::for_request(key.clone(), config);
    let request = params.serialize_request(&signer).map_err(failed)?;
    Ok(CertificateRequest {
        slot: key.slot().clone(),
        pem: request.pem().map_err(failed)?,
        lifetime: config.ca_lifetime,
        path_length: config.path_length,
    })
}

/// The identifier by which certificates below this one name its key.
pub(crate) fn subject_key_id(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
