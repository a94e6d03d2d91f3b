//! How a client says who it is: exactly one method, read from the form and from what came beside it (RFC 6749 §2.3).
//!
//! Deliberately absent: verification of anything, and which methods are offered.

use marque_jose::CompactToken;

use crate::{
    ASSERTION_TYPE_JWT_SPIFFE, Challenge, OAuthError, OAuthErrorCode, OneHeader, PeerCertificate,
    Presented, form::Form,
};

/// What a client authenticates with, unverified.
#[derive(Debug)]
#[expect(clippy::enum_variant_names, reason = "the standards' names of the three kinds of SVID")]
pub(crate) enum ClientCredentials {
    /// A JWT-SVID as client assertion. A certificate beside it is transport and says nothing about the client.
    JwtSvid {
        /// The assertion.
        assertion: CompactToken,
        /// `client_id`, which need not be sent.
        client_id: Option<String>,
    },
    /// An X.509-SVID, shown in the TLS handshake, and the SPIFFE ID that the client claims by it.
    X509Svid {
        /// `client_id`, without which a certificate authenticates nobody.
        client_id: String,
        /// The chain of the handshake.
        certificate: PeerCertificate,
    },
    /// A WIT-SVID and a proof that its key is held.
    WitSvid {
        /// The WIT-SVID.
        wit: CompactToken,
        /// The proof.
        proof: WitProof,
        /// `client_id`, which need not be sent.
        client_id: Option<String>,
    },
}

/// The two forms of a proof by the key of a WIT-SVID.
#[derive(Debug)]
pub(crate) enum WitProof {
    /// `OAuth-Client-Attestation-PoP`.
    Attestation(CompactToken),
    /// `Workload-Proof-Token`.
    Workload(CompactToken),
}

impl ClientCredentials {
    /// Reads the one method that was used.
    ///
    /// # Errors
    /// `invalid_request` for more than one method and for half of one; `invalid_client` for none, and for methods that
    /// there are not.
    pub(crate) fn read(form: &Form<'_>, presented: &Presented) -> Result<Self, OAuthError> {
        let client_id = form.value("client_id").map(str::to_owned);
        let assertion = Assertion::read(form);
        let attestation = Pair(&presented.client_attestation, &presented.client_attestation_pop);
        let workload = Pair(&presented.workload_identity_token, &presented.workload_proof_token);
        let by_secret = form.value("client_secret").is_some();
        let by_header = presented.authorization.is_present();
        let named =
            [assertion.is_some(), attestation.came(), workload.came(), by_secret, by_header];
        // A certificate is a method only where nothing else claims to be one; beside a secret it is a second one.
        let by_certificate = presented.peer.is_some()
            && client_id.is_some()
            && !(assertion.is_some() || attestation.came() || workload.came());
        let methods = named.into_iter().chain([by_certificate]).filter(|used| *used).count();
        if methods > 1 {
            return Err(invalid("a client authenticates by one method alone"));
        }
        if by_header {
            return Err(unknown_scheme(&presented.authorization));
        }
        if let Some(assertion) = assertion {
            return Ok(Self::JwtSvid { assertion: assertion.of_jwt_svid()?, client_id });
        }
        if attestation.came() {
            let (wit, proof) = attestation
                .both("OAuth-Client-Attestation and OAuth-Client-Attestation-PoP come once each")?;
            return Ok(Self::WitSvid { wit, proof: WitProof::Attestation(proof), client_id });
        }
        if workload.came() {
            let (wit, proof) =
                workload.both("Workload-Identity-Token and Workload-Proof-Token come once each")?;
            return Ok(Self::WitSvid { wit, proof: WitProof::Workload(proof), client_id });
        }
        match (client_id, &presented.peer) {
            (Some(client_id), Some(certificate)) if !by_secret => {
                Ok(Self::X509Svid { client_id, certificate: certificate.clone() })
            }
            _ => Err(unauthenticated("clients authenticate by one SPIFFE SVID and its proof")),
        }
    }

    /// The client assertion, where that is the method.
    pub(crate) const fn assertion(&self) -> Option<&CompactToken> {
        match self {
            Self::JwtSvid { assertion, .. } => Some(assertion),
            Self::X509Svid { .. } | Self::WitSvid { .. } => None,
        }
    }

    /// `client_id`, where it was sent.
    pub(crate) fn client_id(&self) -> Option<&str> {
        match self {
            Self::JwtSvid { client_id, .. } | Self::WitSvid { client_id, .. } => {
                client_id.as_deref()
            }
            Self::X509Svid { client_id, .. } => Some(client_id),
        }
    }
}

/// `client_assertion` and its type, one of which came at least.
struct Assertion<'a> {
    token: Option<&'a str>,
    kind: Option<&'a str>,
}

impl<'a> Assertion<'a> {
    fn read(form: &'a Form<'_>) -> Option<Self> {
        let token = form.value("client_assertion");
        let kind = form.value("client_assertion_type");
        (token.is_some() || kind.is_some()).then_some(Self { token, kind })
    }

    fn of_jwt_svid(self) -> Result<CompactToken, OAuthError> {
        match (self.token, self.kind) {
            (Some(token), Some(ASSERTION_TYPE_JWT_SPIFFE)) => {
                Ok(CompactToken::from_string(token.to_owned()))
            }
            (Some(_), Some(_)) => {
                Err(unauthenticated("the only client assertions here are of type jwt-spiffe"))
            }
            (Some(_), None) => Err(invalid("client_assertion_type is missing")),
            (None, _) => Err(invalid("client_assertion is missing")),
        }
    }
}

/// A token in one header and the proof for it in another.
struct Pair<'a>(&'a OneHeader, &'a OneHeader);

impl Pair<'_> {
    const fn came(&self) -> bool {
        self.0.is_present() || self.1.is_present()
    }

    fn both(&self, description: &'static str) -> Result<(CompactToken, CompactToken), OAuthError> {
        match (self.0.one(), self.1.one()) {
            (Some(token), Some(proof)) => Ok((
                CompactToken::from_string(token.to_owned()),
                CompactToken::from_string(proof.to_owned()),
            )),
            _ => Err(invalid(description)),
        }
    }
}

/// The client is told in the terms of the scheme that it tried (RFC 6749 §5.2).
fn unknown_scheme(authorization: &OneHeader) -> OAuthError {
    let header = authorization.one().unwrap_or_default();
    let basic = header.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic "));
    let challenge = if basic { Challenge::Basic } else { Challenge::Bearer };
    unauthenticated("clients authenticate by one SPIFFE SVID and its proof")
        .with_challenge(challenge)
}

fn invalid(description: &'static str) -> OAuthError {
    OAuthError::new(OAuthErrorCode::InvalidRequest, description)
}

fn unauthenticated(description: &'static str) -> OAuthError {
    OAuthError::new(OAuthErrorCode::InvalidClient, description)
}
