//! An X.509 authority whose certificate somebody else signed: the request for it, and what comes back.
//!
//! The bundle has the roots in its place, and SVIDs carry its certificate with those above it. The environment stands in the
//! subject of every certificate on the way, so that a root of the other environment is found out. Deliberately absent: whom
//! to ask ([`UpstreamAuthority`] is the seam), and roots that sign themselves.

use std::{error::Error, fmt, time::Duration};

use futures::future::BoxFuture;
use jiff::Timestamp;
use marque_jose::PublicKey;
use marque_keys::{SigningKey, SlotId};
use marque_spiffe::{Bundle, Random, UnverifiedX509Svid, X509SvidError};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyUsagePurpose, SanType};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use x509_parser::{extensions::ParsedExtension, prelude::X509Certificate};

use crate::{
    AuthorityConfig, AuthorityError, P256PublicKey, PrivateKeyPkcs8, X509SvidTemplate,
    certificate::{self, Validity},
    root::{Root, names_environment, subject},
    signer::{CertificateSigner, name_key},
    x509::{Leaf, X509Authority},
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
}

/// No certificate was signed.
#[derive(Debug, thiserror::Error)]
#[error("the upstream authority signed no certificate")]
pub struct UpstreamError(#[source] Box<dyn Error + Send + Sync>);

impl UpstreamError {
    /// Wraps the reason.
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(source.into())
    }
}

/// Why a signed certificate cannot be the trust domain's authority.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignedAuthorityError {
    /// Not PEM, or not certificates.
    #[error("not certificates in PEM")]
    Pem,
    /// There is no certificate below a root.
    #[error("no certificate that is not a root; the authority's own certificate comes first")]
    NoCertificate,
    /// There is no root, or are too many.
    #[error("{} to {} roots are needed; append the root's certificate", 1, SignedAuthority::MAX_ROOTS)]
    Roots,
    /// More certificates than an SVID carries.
    #[error("more than {} certificates below the root", SignedAuthority::MAX_CHAIN)]
    TooLong,
    /// A certificate does not parse. 0 is the authority's own; the roots come last.
    #[error("certificate {0} is not one DER certificate")]
    Malformed(usize),
    /// It is for another key.
    #[error("the certificate is for another key than `{0}`; sign the request that `marque authority csr` prints now")]
    PublicKey(SlotId),
    /// A certificate does not name the environment, or the other one.
    #[error(
        "the subject of certificate {position} does not have exactly one OU, `{environment}`: production and \
         non-production have separate roots"
    )]
    Environment {
        /// Which certificate; the roots come last.
        position: usize,
        /// The environment that it should name.
        environment: marque_spiffe::Environment,
    },
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

impl SignedAuthority {
    /// The most certificates below a root: with the SVID itself as many as a verifier takes.
    pub const MAX_CHAIN: usize = UnverifiedX509Svid::MAX_CHAIN - 1;
    /// The most roots.
    pub const MAX_ROOTS: usize = 4;
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

    /// The certificates, the authority's own first and the roots last.
    fn all(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        self.chain.iter().chain(&self.roots)
    }

    /// Reads it as the authority of a key, held to everything that needs no private key: whose it is, the environment
    /// of each certificate, and when the first of them ends.
    pub(crate) fn read(
        &self,
        config: &AuthorityConfig,
        slot: &SlotId,
        public_key: &PublicKey,
    ) -> Result<Root, SignedAuthorityError> {
        self.check_counts()?;
        let mut not_after = Timestamp::MAX;
        for (position, der) in self.all().enumerate() {
            let malformed = || SignedAuthorityError::Malformed(position);
            let certificate = certificate::read(der).ok_or_else(malformed)?;
            let environment = config.environment;
            if !names_environment(&certificate, environment) {
                return Err(SignedAuthorityError::Environment { position, environment });
            }
            let validity = Validity::read(&certificate).ok_or_else(malformed)?;
            // Of several roots the chain may end at any; the earliest end is on the safe side.
            not_after = not_after.min(validity.not_after);
        }
        let own = self.chain.first().ok_or(SignedAuthorityError::NoCertificate)?;
        let certificate = certificate::read(own).ok_or(SignedAuthorityError::Malformed(0))?;
        if PublicKey::from_spki_der(certificate.public_key().raw).ok().as_ref() != Some(public_key)
        {
            return Err(SignedAuthorityError::PublicKey(slot.clone()));
        }
        let validity = Validity::read(&certificate).ok_or(SignedAuthorityError::Malformed(0))?;
        let key_id = subject_key_id(&certificate).ok_or(SignedAuthorityError::Malformed(0))?;
        Ok(Root {
            certificate: own.clone(),
            validity: Validity { not_after, ..validity },
            key_id,
        })
    }

    /// Holds it to everything that it has to be before a key is put on record with it: an SVID is minted below it, verified as any
    /// verifier would, and thrown away.
    pub(crate) fn check(
        &self,
        config: &AuthorityConfig,
        key: &SigningKey,
        random: &dyn Random,
        now: Timestamp,
    ) -> Result<Root, AuthorityError> {
        let slot = key.slot().clone();
        let refused =
            |source| AuthorityError::SignedAuthority { slot: key.slot().clone(), source };
        let (_, public_key) = name_key(&slot, key.public_key())?;
        let root = self.read(config, &slot, &public_key).map_err(refused)?;
        let (ends_at, least) = (root.validity.not_after, config.least_authority_lifetime());
        if now.checked_add(least).map_err(|_range| AuthorityError::Time(now))? > ends_at {
            return Err(refused(SignedAuthorityError::EndsTooSoon { ends_at, least }));
        }
        let mut bundle = Bundle::builder(config.trust_domain.clone());
        for root in &self.roots {
            bundle = bundle.x509_authority(root.clone()).map_err(AuthorityError::Bundle)?;
        }
        let probe = X509SvidTemplate {
            spiffe_id: probe_id(config)?,
            lifetime: Duration::from_secs(1).max(config.max_x509_svid_lifetime),
            dns_names: Vec::new(),
        };
        let (_, probe_key): (PrivateKeyPkcs8, P256PublicKey) = PrivateKeyPkcs8::generate()?;
        let authority = X509Authority::new(
            slot.clone(),
            Root::clone(&root),
            self.above().to_vec(),
            CertificateSigner(key.clone()),
        )?;
        let ceiling = config.max_x509_svid_lifetime;
        let validity = authority.validity(probe.lifetime, ceiling, now)?;
        let leaf = Leaf { template: &probe, public_key: &probe_key, validity };
        match authority.mint(&leaf, &bundle.build(), random, now) {
            Err(AuthorityError::SelfCheck { source: crate::SelfCheckError::X509(source), .. }) => {
                Err(refused(SignedAuthorityError::Path(source)))
            }
            Err(other) => Err(other),
            Ok(_probe) => Ok(root),
        }
    }

    /// The certificates between the authority's own and the root.
    pub(crate) fn above(&self) -> &[CertificateDer<'static>] {
        self.chain.get(1..).unwrap_or_default()
    }
}

/// An identity that no entry can have: `marque` is reserved.
fn probe_id(config: &AuthorityConfig) -> Result<marque_spiffe::SpiffeId, AuthorityError> {
    let id = format!("{}/marque/probe", config.trust_domain.id().as_str());
    id.parse().map_err(|_spiffe_id_error| AuthorityError::Config(crate::ConfigError::RootTooLong))
}

/// Asks for a CA certificate for a key: the subject and the URI of a root, and no room for another CA below it.
pub(crate) fn request(
    config: &AuthorityConfig,
    key: &SigningKey,
) -> Result<CertificateRequest, AuthorityError> {
    let failed = |source| AuthorityError::Build { what: "a certificate request", source };
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(&config.trust_domain, config.environment, key);
    params.subject_alt_names =
        vec![SanType::URI(config.trust_domain.id().as_str().try_into().map_err(failed)?)];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let request = params.serialize_request(&CertificateSigner(key.clone())).map_err(failed)?;
    Ok(CertificateRequest {
        slot: key.slot().clone(),
        pem: request.pem().map_err(failed)?,
        lifetime: config.ca_lifetime,
    })
}

fn subject_key_id(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    })
}
