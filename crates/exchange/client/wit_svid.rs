//! A client by its WIT-SVID and a proof that it holds the key (draft-ietf-oauth-spiffe-client-auth-02, WIT-SVID).
//!
//! The WIT-SVID is re-used and its `jti` means nothing; the proof counts once, and is remembered with whatever comes of
//! the request, like a DPoP proof. Deliberately absent: a WIT-SVID as an assertion, or on its own.

use jiff::SignedDuration;
use marque_jose::CompactToken;
use marque_spiffe::{UnverifiedWitSvid, WitSvid};

use super::{
    AuthenticatedClient, ClientAuthenticator, ClientMethod, Refusal, ShownProof,
    UnverifiedAttestationProof, UnverifiedWorkloadProof, WitProof,
};
use crate::{Endpoint, OAuthError, OAuthErrorCode, ProofKind, ReplayKey, SingleUse, Thumbprint};

/// The proof that a client authenticated by. Whoever acts upon it remembers that it was shown, and refuses it otherwise.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WitProofShown {
    /// Its name.
    pub(crate) once: SingleUse,
    /// What the client is told where it was shown before.
    pub(crate) refusal: OAuthErrorCode,
}

impl ClientAuthenticator {
    /// Authenticates the holder of a WIT-SVID's key, who made the proof for this very endpoint.
    pub(super) fn by_wit_svid(
        &self,
        wit: &CompactToken,
        proof: &WitProof,
        endpoint: Endpoint,
    ) -> Result<(AuthenticatedClient, WitProofShown), OAuthError> {
        let (svid, shown) = self.verify_wit_svid(wit, proof, endpoint).map_err(|refusal| {
            refusal.into_error(
                proof.refusal_code(),
                "the WIT-SVID or the proof for it does not authenticate a client",
            )
        })?;
        let holder = Thumbprint::new(svid.holder_key().thumbprint());
        let client = AuthenticatedClient {
            id: svid.subject().clone(),
            svid_issued_at: svid.issued_at().or_else(|| svid.not_before()),
            svid_expires_at: svid.expires_at(),
            method: ClientMethod::WitSvid(holder),
        };
        let key = ReplayKey::new(proof.kind(), &holder, &shown.jti);
        let once = SingleUse { key, until: shown.until };
        Ok((client, WitProofShown { once, refusal: proof.refusal_code() }))
    }

    fn verify_wit_svid(
        &self,
        wit: &CompactToken,
        proof: &WitProof,
        endpoint: Endpoint,
    ) -> Result<(WitSvid, ShownProof), Refusal> {
        let now = self.clock.now();
        let token = wit.expose_token();
        let svid = UnverifiedWitSvid::parse(token).map_err(Refusal::invalid)?;
        let bundle = self.bundle(svid.trust_domain())?;
        let svid = svid.verify(&bundle, now).map_err(Refusal::invalid)?;
        self.check_remaining_life_of_wit_svid(svid.expires_at(), now)?;
        let issuer = &self.rules.issuer;
        let leeway = SignedDuration::try_from(self.rules.leeway).unwrap_or_default();
        let shown = match proof {
            WitProof::Attestation(proof) => {
                let proof = UnverifiedAttestationProof::parse(proof.expose_token())
                    .map_err(Refusal::invalid)?;
                let challenge = proof.challenge().map(str::to_owned);
                let shown = proof.verify(&svid, issuer.as_str(), now, leeway);
                let shown = shown.map_err(Refusal::invalid)?;
                // Whoever holds the key and made the proof for us is told what it lacks, and nobody else.
                self.challenges.check(challenge.as_deref(), now)?;
                shown
            }
            WitProof::Workload(proof) => UnverifiedWorkloadProof::parse(proof.expose_token())
                .and_then(|proof| proof.verify(&svid, token, &endpoint.url(issuer), now, leeway))
                .map_err(Refusal::invalid)?,
        };
        Ok((svid, shown))
    }
}

impl WitProof {
    /// What it is remembered as.
    const fn kind(&self) -> ProofKind {
        match self {
            Self::Attestation(_) => ProofKind::AttestationProof,
            Self::Workload(_) => ProofKind::WorkloadProof,
        }
    }

    /// What the client is told when it or the WIT-SVID is refused.
    const fn refusal_code(&self) -> OAuthErrorCode {
        match self {
            Self::Attestation(_) => OAuthErrorCode::InvalidClientAttestation,
            Self::Workload(_) => OAuthErrorCode::InvalidClient,
        }
    }
}
