//! Certificate revocation lists (RFC 5280 section 5), as the Workload API carries them.
//!
//! A list is read strictly and kept as it came: whoever verifies a path applies it. Absent: making lists, fetching them,
//! and the rule which certificates they name.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

use crate::{Bundle, read_certificate};

/// One certificate revocation list, kept in DER.
#[derive(Clone, PartialEq, Eq)]
pub struct RevocationList {
    der: Arc<[u8]>,
    issuer: String,
    next_update: Timestamp,
}

/// Why a file of revocation lists was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevocationListError {
    /// There is none in the file.
    #[error("holds no certificate revocation list, in DER or PEM")]
    None,
    /// The PEM around a list is damaged.
    #[error("holds PEM that is damaged")]
    Pem,
    /// A list is not exactly one DER structure of RFC 5280.
    #[error("revocation list {0} of the file is not one of RFC 5280")]
    Malformed(usize),
    /// A list does not say when the next one comes (RFC 5280 5.1.2.5).
    #[error("revocation list {0} of the file does not say when the next one comes")]
    NoNextUpdate(usize),
}

impl RevocationList {
    /// Reads a file: one list in DER, or any number in PEM.
    ///
    /// # Errors
    /// See [`RevocationListError`]; lists are counted from 0.
    pub fn parse_file(bytes: &[u8]) -> Result<Vec<Self>, RevocationListError> {
        // DER begins with the tag of a SEQUENCE; PEM may begin with any text, but hardly with its character `0`.
        if bytes.first() == Some(&0x30) {
            return Ok(vec![Self::from_der(bytes, 0)?]);
        }
        let mut lists = Vec::new();
        for (position, list) in CertificateRevocationListDer::pem_slice_iter(bytes).enumerate() {
            let list = list.map_err(|_damage| RevocationListError::Pem)?;
            lists.push(Self::from_der(&list, position)?);
        }
        if lists.is_empty() { Err(RevocationListError::None) } else { Ok(lists) }
    }

    fn from_der(der: &[u8], position: usize) -> Result<Self, RevocationListError> {
        let Ok(([], list)) = CertificateRevocationList::from_der(der) else {
            return Err(RevocationListError::Malformed(position));
        };
        let next = list.next_update().ok_or(RevocationListError::NoNextUpdate(position))?;
        let next_update = Timestamp::from_second(next.timestamp())
            .map_err(|_range| RevocationListError::Malformed(position))?;
        Ok(Self { der: der.into(), issuer: list.issuer().to_string(), next_update })
    }

    /// The list in DER.
    #[must_use]
    pub const fn der(&self) -> &Arc<[u8]> {
        &self.der
    }

    /// Who signed it, as a distinguished name.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// When the next one comes at the latest: verifiers refuse everything once this one is out of date.
    #[must_use]
    pub const fn next_update(&self) -> Timestamp {
        self.next_update
    }

    /// Whether an X.509 authority of this bundle signed it: the name of its issuer and the signature fit.
    #[must_use]
    pub fn is_signed_by(&self, bundle: &Bundle) -> bool {
        let Ok(([], list)) = CertificateRevocationList::from_der(&self.der) else { return false };
        bundle.x509_authorities().iter().any(|authority| {
            let Some(authority) = read_certificate(authority) else { return false };
            authority.subject().as_raw() == list.issuer().as_raw()
                && list.verify_signature(authority.public_key()).is_ok()
        })
    }
}

impl fmt::Debug for RevocationList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationList")
            .field("issuer", &self.issuer)
            .field("next_update", &self.next_update)
            .finish_non_exhaustive()
    }
}
