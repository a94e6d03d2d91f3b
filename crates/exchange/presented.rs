//! What came with a request beside its body: the headers that carry credentials and proofs, and the certificate that the
//! client showed in its TLS handshake.
//!
//! The edge fills it in without a judgement. Deliberately absent: parsing of any of it.

use std::fmt;

use zeroize::Zeroizing;

use crate::PeerCertificate;

/// A header that must not appear more than once, as it came.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum OneHeader {
    /// It did not come.
    #[default]
    Absent,
    /// It came once. A value that is no text is an empty one here: it satisfies nobody.
    One(Zeroizing<String>),
    /// It came more than once.
    Repeated,
}

/// Everything that a request to an OAuth endpoint shows outside of its body.
#[derive(Debug, Clone, Default)]
pub struct Presented {
    /// `Authorization`.
    pub authorization: OneHeader,
    /// `DPoP` (RFC 9449 §4.1).
    pub dpop: OneHeader,
    /// `OAuth-Client-Attestation` (draft-ietf-oauth-attestation-based-client-auth-10).
    pub client_attestation: OneHeader,
    /// `OAuth-Client-Attestation-PoP` of the same draft.
    pub client_attestation_pop: OneHeader,
    /// `Workload-Identity-Token` (draft-ietf-wimse-workload-creds).
    pub workload_identity_token: OneHeader,
    /// `Workload-Proof-Token` (draft-ietf-wimse-wpt-01).
    pub workload_proof_token: OneHeader,
    /// `Idempotency-Key`.
    pub idempotency_key: OneHeader,
    /// The certificate chain of the TLS handshake, if the client showed one.
    pub peer: Option<PeerCertificate>,
}

impl OneHeader {
    /// Reads the values of one header name; `None` stands for a value that is no text.
    pub fn of<'a>(mut values: impl Iterator<Item = Option<&'a str>>) -> Self {
        match (values.next(), values.next()) {
            (None, _) => Self::Absent,
            (Some(value), None) => Self::One(Zeroizing::new(value.unwrap_or_default().to_owned())),
            (Some(_), Some(_)) => Self::Repeated,
        }
    }

    /// Whether it came at all.
    pub const fn is_present(&self) -> bool {
        !matches!(self, Self::Absent)
    }

    /// The value, where it came exactly once.
    pub fn one(&self) -> Option<&str> {
        match self {
            Self::One(value) => Some(value),
            Self::Absent | Self::Repeated => None,
        }
    }
}

impl fmt::Debug for OneHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "Absent",
            Self::One(_) => "One(…)",
            Self::Repeated => "Repeated",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_came_not_once_or_too_often() {
        let of = |values: &[Option<&'static str>]| OneHeader::of(values.iter().copied());
        assert_eq!(of(&[]), OneHeader::Absent);
        assert_eq!(of(&[Some("x")]).one(), Some("x"));
        assert_eq!(of(&[None]).one(), Some(""));
        let twice = of(&[Some("x"), Some("x")]);
        assert!(twice.is_present() && twice.one().is_none());
    }

    #[test]
    fn the_debug_form_shows_no_value() {
        let presented = Presented {
            authorization: OneHeader::of([Some("Bearer secret")].into_iter()),
            ..Presented::default()
        };
        assert!(!format!("{presented:?}").contains("secret"));
    }
}
