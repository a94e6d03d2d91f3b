//! Proofs that count once, and who remembers that they were shown (RFC 9449 §11.1, RFC 7523 §3).
//!
//! A proof is known by a digest of its kind, of whose it is and of its `jti`: whoever makes proofs picks their `jti`, so by
//! the `jti` alone one client could use up another's. Deliberately absent: the proofs themselves, and engines.

use std::fmt;

use futures::future::BoxFuture;
use jiff::Timestamp;
use marque_jose::{Thumbprint, sha256};

use crate::TokenStoreError;

/// What a proof that counts once is. Two kinds never meet, even with one key and one `jti`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProofKind {
    /// A DPoP proof (RFC 9449), by the thumbprint of its key.
    Dpop,
    /// A client assertion that may not be used again, by the digest of its `sub`.
    ClientAssertion,
    /// A Workload Proof Token (draft-ietf-wimse-wpt), by the thumbprint of its key.
    WorkloadProof,
    /// A proof of possession of a client attestation, by the thumbprint of its key.
    AttestationProof,
    /// An authorization grant of another domain, by the digest of its issuer.
    AuthorizationGrant,
    /// The `state` of an approver's login, by the digest of the provider.
    LoginState,
    /// A signed callback, by the digest of the integration that sent it.
    Callback,
}

/// The name of one proof: a SHA-256 digest. It says nothing about the proof.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplayKey([u8; 32]);

/// A proof that counts once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SingleUse {
    /// Which.
    pub key: ReplayKey,
    /// The last instant at which it would be accepted, were it shown again.
    pub until: Timestamp,
}

/// Whether proofs were new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Freshness {
    /// All of them were. They are remembered, durably.
    Fresh,
    /// One of them was shown before, or its time is over. Nothing was remembered.
    Replayed,
}

/// Remembers which proofs were shown. All replicas of a trust domain share one memory, and it outlives a restart.
pub trait ReplayStore: fmt::Debug + Send + Sync {
    /// Remembers proofs that were verified, in one transaction. Of any number of callers with one proof one alone is told
    /// that it is fresh. An error means that nobody knows: then the proof does not count (fail closed).
    fn remember(&self, proofs: Vec<SingleUse>)
    -> BoxFuture<'_, Result<Freshness, TokenStoreError>>;
}

impl ProofKind {
    /// Keeps digests of two kinds apart.
    const fn tag(self) -> &'static [u8] {
        match self {
            Self::Dpop => b"marque/replay/v1/dpop",
            Self::ClientAssertion => b"marque/replay/v1/client-assertion",
            Self::WorkloadProof => b"marque/replay/v1/wpt",
            Self::AttestationProof => b"marque/replay/v1/attestation-pop",
            Self::AuthorizationGrant => b"marque/replay/v1/authorization-grant",
            Self::LoginState => b"marque/replay/v1/login-state",
            Self::Callback => b"marque/replay/v1/callback",
        }
    }
}

impl ReplayKey {
    /// The name of the proof `jti` of this kind by this holder.
    pub fn new(kind: ProofKind, holder: &Thumbprint, jti: &str) -> Self {
        // Tag and holder have a fixed length for each kind, so what follows is the jti and nothing else.
        Self(sha256(&[kind.tag(), &[0], holder.as_bytes(), &[0], jti.as_bytes()].concat()))
    }

    /// A name by its bytes, as a store kept them.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for ReplayKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplayKey({})", marque_jose::base64url::encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oauth_7_5_one_client_cannot_use_up_the_jti_of_another() {
        let (mine, yours) = (Thumbprint::new([1; 32]), Thumbprint::new([2; 32]));
        let of = |kind, holder: &Thumbprint, jti| ReplayKey::new(kind, holder, jti);
        let key = of(ProofKind::Dpop, &mine, "a");
        assert_eq!(key, of(ProofKind::Dpop, &mine, "a"));
        assert_ne!(key, of(ProofKind::Dpop, &yours, "a"));
        assert_ne!(key, of(ProofKind::Dpop, &mine, "b"));
        for kind in
            [ProofKind::ClientAssertion, ProofKind::WorkloadProof, ProofKind::AttestationProof]
        {
            assert_ne!(key, of(kind, &mine, "a"), "{kind:?}");
        }
    }
}
