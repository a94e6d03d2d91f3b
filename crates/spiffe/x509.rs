//! X.509-SVIDs: parse, then verify by the bundle of the SVID's own trust domain (X509-SVID specification).
//!
//! The path is built in the order of the chain, leaf first, every link by name and signature, down from the leaf to one
//! of the bundle's certificates. Name constraints of URIs are kept. Absent: revocation lists, other name constraints and policies
//! (a certificate with one of them is refused), and matching a TLS peer.

mod certificate;
mod path;
mod read;

use jiff::Timestamp;
use marque_jose::{KeyError, PublicKey, sha256};
use rustls_pki_types::CertificateDer;

use crate::{Bundle, SpiffeId, SpiffeIdError, TrustDomain};
use certificate::Certificate;
pub use read::read_certificate;

/// An X.509-SVID which nobody has verified: its leaf has the shape of one (X5-1, X5-2, X5-4 to X5-6).
#[derive(Debug, Clone)]
pub struct UnverifiedX509Svid {
    chain: Vec<CertificateDer<'static>>,
    id: SpiffeId,
}

/// A verified X.509-SVID.
#[derive(Debug, Clone)]
pub struct X509Svid {
    id: SpiffeId,
    leaf: CertificateDer<'static>,
    public_key: PublicKey,
    not_before: Timestamp,
    not_after: Timestamp,
}

/// Why an X.509-SVID was refused. Where a position is given, 0 is the leaf.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum X509SvidError {
    /// There is no certificate.
    #[error("X.509-SVID has no certificate")]
    Empty,
    /// More than [`UnverifiedX509Svid::MAX_CHAIN`].
    #[error("X.509-SVID has more than {} certificates", UnverifiedX509Svid::MAX_CHAIN)]
    TooManyCertificates,
    /// A certificate of more than [`UnverifiedX509Svid::MAX_CERTIFICATE_BYTES`].
    #[error("certificate {0} is longer than {max} bytes", max = UnverifiedX509Svid::MAX_CERTIFICATE_BYTES)]
    TooLong(usize),
    /// Not exactly one DER certificate of version 3 (RFC 5280).
    #[error("certificate {0} is not one DER certificate of version 3")]
    Malformed(usize),
    /// Two extensions of one kind (RFC 5280 section 4.2).
    #[error("certificate {0} has an extension twice")]
    DuplicateExtension(usize),
    /// A critical extension that is not understood here (RFC 5280 section 4.2), or name constraints of anything but URIs,
    /// critical or not.
    #[error("certificate {0} has an extension that is not supported")]
    UnknownExtension(usize),
    /// The key of the certificate is not supported.
    #[error("key of certificate {position} is refused")]
    Key {
        /// Where in the chain.
        position: usize,
        /// What is wrong with it.
        #[source]
        source: KeyError,
    },
    /// No URI among the subject alternative names (X5-1).
    #[error("certificate has no URI name")]
    NoUri,
    /// More than one URI among the subject alternative names (X5-1).
    #[error("certificate {0} has more than one URI name")]
    SecondUri(usize),
    /// The URI is not a SPIFFE ID.
    #[error("URI name of certificate {position} is not a SPIFFE ID")]
    Id {
        /// Where in the chain.
        position: usize,
        /// The rule broken.
        #[source]
        source: SpiffeIdError,
    },
    /// The leaf's SPIFFE ID has no path (X5-2).
    #[error("SPIFFE ID of the leaf has no path")]
    IdWithoutPath,
    /// The subject is empty and the alternative names are not critical (X5-2, RFC 5280 section 4.1.2.6).
    #[error("leaf has neither a subject nor critical alternative names")]
    NamesNotCritical,
    /// The leaf is a CA certificate (X5-3, X5-4).
    #[error("leaf is a signing certificate")]
    LeafIsCa,
    /// The key usage is missing (X5-5).
    #[error("certificate {0} has no key usage")]
    NoKeyUsage(usize),
    /// The key usage is not critical (X5-5).
    #[error("key usage of certificate {0} is not critical")]
    KeyUsageNotCritical(usize),
    /// The leaf may not make signatures, or may sign certificates or revocation lists (X5-5).
    #[error("key usage of the leaf is not that of an X.509-SVID")]
    LeafKeyUsage,
    /// The extended key usage lacks server or client authentication (X5-6).
    #[error("extended key usage of certificate {0} lacks server or client authentication")]
    ExtendedKeyUsage(usize),
    /// The bundle is of another trust domain than the SVID (X5-7).
    #[error("bundle is not of the trust domain `{0}` of the X.509-SVID")]
    OtherTrustDomain(TrustDomain),
    /// No certificate of the bundle ends the chain (X5-7).
    #[error("no authority of the bundle issued certificate {0}")]
    UnknownAuthority(usize),
    /// The certificate above did not issue this one: its name is another, or the signature is not its own (X5-7).
    #[error("certificate {0} was not issued by the one above it")]
    NotIssued(usize),
    /// The key of a certificate above the leaf was revoked by whoever this bundle is of.
    #[error("key of the signing certificate {0} was revoked")]
    Distrusted(usize),
    /// A certificate above the leaf is no CA certificate that may sign certificates (X5-3).
    #[error("certificate {0} may not sign certificates")]
    NotASigner(usize),
    /// A certificate above the leaf has a SPIFFE ID with a path, or of another trust domain (X5-3).
    #[error("SPIFFE ID of the signing certificate {0} is not that of the trust domain")]
    SignerId(usize),
    /// The trust domain is outside of what the certificate's name constraints permit (RFC 5280 section 4.2.1.10).
    #[error("name constraints of certificate {0} do not permit the trust domain")]
    NameConstraints(usize),
    /// More certificates below it than its path length allows (RFC 5280 section 4.2.1.9).
    #[error("path is longer than certificate {0} allows")]
    PathLength(usize),
    /// The certificate is not valid yet.
    #[error("certificate {position} is not valid before {not_before}")]
    NotYetValid {
        /// Where in the chain.
        position: usize,
        /// When it begins.
        not_before: Timestamp,
    },
    /// The certificate is not valid any more.
    #[error("certificate {position} expired at {not_after}")]
    Expired {
        /// Where in the chain.
        position: usize,
        /// When it ended.
        not_after: Timestamp,
    },
}

impl UnverifiedX509Svid {
    /// The most certificates in a chain, leaf included.
    pub const MAX_CHAIN: usize = 6;
    /// The longest certificate, in bytes.
    pub const MAX_CERTIFICATE_BYTES: usize = 16 * 1024;

    /// Reads a chain, leaf first, and checks whatever needs no authority.
    ///
    /// # Errors
    /// See [`X509SvidError`].
    pub fn parse_chain(chain: Vec<CertificateDer<'static>>) -> Result<Self, X509SvidError> {
        if chain.len() > Self::MAX_CHAIN {
            return Err(X509SvidError::TooManyCertificates);
        }
        let mut parsed = Vec::with_capacity(chain.len());
        for (position, der) in chain.iter().enumerate() {
            parsed.push(Certificate::parse(der, position)?);
        }
        let id = parsed.first().ok_or(X509SvidError::Empty)?.leaf_id()?;
        Ok(Self { chain, id })
    }

    /// Reads a chain of concatenated DER certificates, as the Workload API sends them.
    ///
    /// # Errors
    /// See [`X509SvidError`].
    pub fn parse_der_concat(mut der: &[u8]) -> Result<Self, X509SvidError> {
        let mut chain = Vec::new();
        while !der.is_empty() {
            if chain.len() == Self::MAX_CHAIN {
                return Err(X509SvidError::TooManyCertificates);
            }
            let (one, rest) = certificate::split_first(der, chain.len())?;
            chain.push(CertificateDer::from(one.to_vec()));
            der = rest;
        }
        Self::parse_chain(chain)
    }

    /// The SPIFFE ID, which nobody has verified.
    #[must_use]
    pub const fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// The trust domain whose bundle is to verify it.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        self.id.trust_domain()
    }

    /// Verifies the path from the leaf to an authority of the SVID's own trust domain, every certificate being valid at
    /// `now` (X5-3, X5-7).
    ///
    /// # Errors
    /// See [`X509SvidError`].
    pub fn verify(self, bundle: &Bundle, now: Timestamp) -> Result<X509Svid, X509SvidError> {
        if bundle.trust_domain() != self.trust_domain() {
            return Err(X509SvidError::OtherTrustDomain(self.trust_domain().clone()));
        }
        let (not_before, not_after, public_key) = path::verify(&self.chain, bundle, now)?;
        let leaf = self.chain.into_iter().next().ok_or(X509SvidError::Empty)?;
        Ok(X509Svid { id: self.id, leaf, public_key, not_before, not_after })
    }
}

impl X509Svid {
    /// The SPIFFE ID.
    #[must_use]
    pub const fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// The leaf certificate.
    #[must_use]
    pub const fn leaf(&self) -> &CertificateDer<'static> {
        &self.leaf
    }

    /// The key that the leaf certifies.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The first instant at which the leaf is valid.
    #[must_use]
    pub const fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// The last second in which the leaf is valid.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// The SHA-256 digest of the leaf (`x5t#S256` of RFC 8705).
    #[must_use]
    pub fn thumbprint(&self) -> [u8; 32] {
        sha256(&self.leaf)
    }
}
