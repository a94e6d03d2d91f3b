//! To which key a new token is bound: one rule for every path (RFC 8705 §3, RFC 9449 §5, M 9).
//!
//! A token is bound to a key that its holder proved with the very request that it comes from. What derives from a bound
//! token is bound, too, and whoever has a bound token without its key has nothing. Deliberately absent: how a proof is
//! verified, and whether the token may exist at all.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use marque_intent::{Denial, DenialCode};

use crate::{
    AuthenticatedClient, ClientMethod, Confirmation, OAuthError, OAuthErrorCode, SingleUse,
    Thumbprint, client::WitProofShown, decision::Refusal,
};

/// Which keys a client proved to hold with one request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Proofs {
    /// The key of the DPoP proof.
    pub(crate) dpop: Option<Thumbprint>,
    /// The certificate of the TLS handshake, where the client authenticated by it.
    pub(crate) certificate: Option<Thumbprint>,
    /// The key of the WIT-SVID that the client authenticated by.
    pub(crate) wit: Option<Thumbprint>,
    /// What has to be remembered with whatever comes of the request.
    pub(crate) shown: Vec<SingleUse>,
    /// What is said of a replay where the proof by the WIT-SVID's key is among what was shown.
    wit_replayed: Option<OAuthErrorCode>,
    /// Whether somebody took it upon himself to remember what was shown.
    settled: Arc<AtomicBool>,
}

/// Who will hold a new token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NewHolder {
    /// The client that made the request.
    Client,
    /// Another agent, with the key of its WIT-SVID if that is what names it.
    Other(Option<Thumbprint>),
}

impl Proofs {
    /// What a client proved by authenticating.
    pub(crate) fn of(client: &AuthenticatedClient) -> Self {
        let (certificate, wit) = match client.method() {
            ClientMethod::JwtSvid => (None, None),
            ClientMethod::X509Svid(certificate) => (Some(certificate), None),
            ClientMethod::WitSvid(key) => (None, Some(key)),
        };
        Self { certificate, wit, ..Self::default() }
    }

    /// The same, with the proof that the client authenticated by.
    pub(crate) fn with(mut self, shown: Option<WitProofShown>) -> Self {
        if let Some(WitProofShown { once, refusal }) = shown {
            self.shown.push(once);
            self.wit_replayed = Some(refusal);
        }
        self
    }

    /// What was shown, for one who remembers it with what comes of the request, be it a refusal.
    pub(crate) fn take_along(&self) -> Vec<SingleUse> {
        self.settled.store(true, Ordering::Relaxed);
        self.shown.clone()
    }

    /// Whether what was shown is remembered, or was found to be known.
    pub(crate) fn are_settled(&self) -> bool {
        self.shown.is_empty() || self.settled.load(Ordering::Relaxed)
    }

    /// What a client is told of which one proof was shown before.
    pub(crate) fn replayed(&self) -> OAuthError {
        match self.wit_replayed {
            Some(code) => {
                OAuthError::new(code, "the proof by the key of the WIT-SVID was shown before")
            }
            None => {
                OAuthError::new(OAuthErrorCode::InvalidDpopProof, "the DPoP proof was shown before")
            }
        }
    }

    /// The same, once everything that was shown is remembered.
    pub(crate) fn remembered(&self) -> Self {
        Self { shown: Vec::new(), ..self.clone() }
    }

    /// Whether the key of a confirmation was proven.
    pub(crate) fn prove(&self, confirmation: &Confirmation) -> bool {
        match confirmation {
            Confirmation::Jkt(key) => self.dpop == Some(*key) || self.wit == Some(*key),
            Confirmation::X5t(certificate) => self.certificate == Some(*certificate),
        }
    }
}

/// To which key the new token is bound, if to any. `subject` is the binding of the token that it derives from; `required`
/// where a target takes bound tokens only.
///
/// The holder that asks for itself gets what it proved: the key of its DPoP proof, else the certificate that it
/// authenticated by, else the key of the subject again. Another holder proved nothing here; its token is bound to the key
/// that its WIT-SVID names.
///
/// # Errors
/// `sender_constraint_failed`: the subject is bound and its key was not proven, or nothing was proven and a binding is
/// needed, or a client shows a DPoP proof for a token that is not its own and cannot be bound to its holder.
pub(crate) fn confirmation(
    subject: Option<&Confirmation>,
    proofs: &Proofs,
    required: bool,
    holder: NewHolder,
) -> Result<Option<Confirmation>, Refusal> {
    if subject.is_some_and(|subject| !proofs.prove(subject)) {
        return Err(refused("the subject token is bound to a key that was not proven"));
    }
    let proven = match holder {
        NewHolder::Client => {
            let dpop = proofs.dpop.map(Confirmation::Jkt);
            dpop.or_else(|| proofs.certificate.map(Confirmation::X5t)).or_else(|| subject.copied())
        }
        NewHolder::Other(key) => key.map(Confirmation::Jkt),
    };
    let needed = subject.is_some() || proofs.dpop.is_some() || required;
    match (proven, holder) {
        (None, NewHolder::Client) if needed => Err(refused(
            "the target takes only tokens that are bound to a key, and none was proven",
        )),
        (None, NewHolder::Other(_)) if needed => {
            Err(refused("a bound token for another agent needs the WIT-SVID of that agent"))
        }
        (proven, _) => Ok(proven),
    }
}

fn refused(detail: &'static str) -> Refusal {
    Refusal::unbound(Denial::new(DenialCode::SenderConstraintFailed, detail))
}

#[cfg(test)]
mod tests;
