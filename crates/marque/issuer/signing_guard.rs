//! What the keys of a trust domain are held to when they sign, and who hears of it when one was asked for more (M 105).

use std::sync::Arc;

use marque_audit::{Event, EventKind, LogStore};
use marque_authority::{
    CeilingRefusal, RequiredClaim, SigningAlarm, SigningGuard, TokenForm, TokenServiceCeiling,
};
use marque_exchange::{
    ACCESS_TOKEN_TYPE, AUTHORIZATION_GRANT_TYPE, ID_JAG_TYPE, INTROSPECTION_TOKEN_TYPE, IssuerUrl,
    KILL_STATE_LIFETIME, MAX_GRANT_LIFETIME, MAX_TRANSACTION_LIFETIME, STATUS_LIST_LIFETIME,
    TRANSACTION_TOKEN_TYPE,
};
use marque_registry::TrustDomainDocument;
use marque_spiffe::{Clock, TrustDomain};
use marque_ssf::SET_TYPE;
use marque_status_list::{KILL_STATE_TYPE, STATUS_LIST_TOKEN_TYPE};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::telemetry::described::SIGNING_REFUSED;

/// How many refusals may wait to be put on record. What comes on top is in the metric and in the daemon's own log: whoever
/// makes a key refuse without end must not fill the audit log.
const WAITING: usize = 16;

/// In whose names a trust domain issues.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names<'a> {
    /// The issuer of tokens.
    pub(super) issuer: &'a IssuerUrl,
    /// What JWT-SVIDs name as theirs, where they name any.
    pub(super) svids: Option<&'a IssuerUrl>,
}

/// The guard of a trust domain's keys. Refusals are recorded for as long as the guard is in use.
pub(super) fn guard(
    document: &TrustDomainDocument,
    names: Names<'_>,
    log: Arc<dyn LogStore>,
    clock: &Arc<dyn Clock>,
) -> SigningGuard {
    let (told, refusals) = channel(WAITING);
    tokio::spawn(record(log, Arc::clone(clock), refusals));
    let alarm = Alarm { trust_domain: document.name().clone(), told };
    SigningGuard::new(Arc::clone(clock), Arc::new(alarm), token_service(document, names))
}

/// The kinds of token that the token service signs, each with what bounds it.
pub(super) fn token_service(
    document: &TrustDomainDocument,
    names: Names<'_>,
) -> TokenServiceCeiling {
    use RequiredClaim::{
        Audience, Client, Events, Intent, Introspection, Issuer, KillEpoch, StatusList, Subject,
    };
    let longest = document.max_access_token_lifetime();
    let (transaction, grant) =
        (longest.min(MAX_TRANSACTION_LIFETIME), longest.min(MAX_GRANT_LIFETIME));
    let form = |typ, max_lifetime, required| TokenForm { typ, max_lifetime, required };
    TokenServiceCeiling {
        issuer: names.issuer.as_str().to_owned(),
        svid_issuers: names.svids.iter().map(|issuer| issuer.as_str().to_owned()).collect(),
        forms: vec![
            form(ACCESS_TOKEN_TYPE, Some(longest), &[Issuer, Subject, Audience, Client, Intent]),
            form(TRANSACTION_TOKEN_TYPE, Some(transaction), &[Issuer, Subject, Audience, Intent]),
            form(AUTHORIZATION_GRANT_TYPE, Some(grant), &[Issuer, Subject, Audience, Client]),
            form(ID_JAG_TYPE, Some(grant), &[Issuer, Subject, Audience, Client]),
            form(INTROSPECTION_TOKEN_TYPE, None, &[Issuer, Audience, Introspection]),
            form(SET_TYPE, None, &[Issuer, Audience, Events]),
            form(STATUS_LIST_TOKEN_TYPE, Some(STATUS_LIST_LIFETIME), &[Subject, StatusList]),
            form(KILL_STATE_TYPE, Some(KILL_STATE_LIFETIME), &[Issuer, Subject, KillEpoch]),
        ],
    }
}

/// Counts, says and records that a key was asked for too much: that is a defect, or an attack.
#[derive(Debug)]
struct Alarm {
    trust_domain: TrustDomain,
    told: Sender<CeilingRefusal>,
}

impl SigningAlarm for Alarm {
    fn refused(&self, refusal: &CeilingRefusal) {
        let labels = [
            ("trust_domain", self.trust_domain.to_string()),
            ("purpose", refusal.slot.purpose().to_string()),
            ("breach", refusal.breach.as_str().to_owned()),
        ];
        metrics::counter!(SIGNING_REFUSED, &labels).increment(1);
        tracing::error!(
            code = CeilingRefusal::CODE,
            trust_domain = %self.trust_domain,
            slot = %refusal.slot,
            breach = refusal.breach.as_str(),
            "a key was asked to sign what is outside of its ceiling and refused; this is a defect or an attack, so keep the \
             daemon's log and report it"
        );
        if self.told.try_send(refusal.clone()).is_err() {
            tracing::warn!(slot = %refusal.slot, "more refusals to sign than are put on record");
        }
    }
}

/// Puts refusals on record until the last guard is gone.
async fn record(
    log: Arc<dyn LogStore>,
    clock: Arc<dyn Clock>,
    mut refusals: Receiver<CeilingRefusal>,
) {
    while let Some(refusal) = refusals.recv().await {
        let event = Event::new(EventKind::SigningRefused, clock.now())
            .with_detail("code", CeilingRefusal::CODE)
            .with_detail("slot", refusal.slot.to_string())
            .with_detail("breach", refusal.breach.as_str());
        if let Err(error) = log.append(event).await {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, slot = %refusal.slot, "a refusal to sign is not on record");
        }
    }
}

#[cfg(test)]
mod tests;
