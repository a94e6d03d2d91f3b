//! The lives of the signing authorities: steps by the clock, and by an operator's word.

pub(super) mod bundle;
pub(super) mod upstream;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use marque_authority::{AuthorityError, AuthorityView, CertificateRequest, OrderedBy};
use marque_keys::KeyPurpose;
use tokio_util::sync::CancellationToken;

use super::Lasting;
use crate::grpc::admin::{AdminError, AuthorityChange, AuthorityWish, Operator};

/// How often it is looked whether a step is due, and what other replicas did, at the least and at the most.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(1));
/// Failures are told no more often than this.
const TOLD_EVERY: Duration = Duration::from_mins(1);

impl Lasting {
    /// Every key, and what the clock does next with it.
    pub(super) fn authority_list(&self) -> Vec<AuthorityView> {
        self.authority.list()
    }

    /// Takes a step that an operator wants. Gives the name of the key.
    pub(super) async fn change_authority(
        &self,
        AuthorityChange { wish, reason }: AuthorityChange,
        operator: &Operator,
    ) -> Result<String, AdminError> {
        let reason = reason.map(|reason| reason.as_str().to_owned());
        let ordered = OrderedBy { by: Some(operator.to_string()), reason };
        let (authority, now) = (&self.authority, self.clock.now());
        let changed = match wish {
            AuthorityWish::Prepare(KeyPurpose::X509Authority) if authority.upstream().is_some() => {
                authority.prepare_below_upstream(ordered, self.clock.as_ref()).await
            }
            AuthorityWish::Prepare(purpose) => authority.prepare(purpose, ordered, now).await,
            AuthorityWish::Import(signed) => authority.import(&signed, ordered, now).await,
            AuthorityWish::Activate { slot, at_once } => {
                let activated = authority.activate(slot.clone(), at_once, ordered, now).await;
                activated.map(|()| slot)
            }
            AuthorityWish::Taint(slot) => {
                authority.taint(slot.clone(), ordered, now).await.map(|()| slot)
            }
            AuthorityWish::Revoke(slot) => {
                authority.revoke(slot.clone(), ordered, now).await.map(|()| slot)
            }
        };
        changed.map(|slot| slot.to_string()).map_err(refused)
    }

    /// Makes the next key of the X.509 authority, unless it is there, and asks for its certificate.
    pub(super) async fn request_certificate(&self) -> Result<CertificateRequest, AdminError> {
        self.authority.request(self.clock.now()).await.map_err(refused)
    }
}

fn refused(error: AuthorityError) -> AdminError {
    match error {
        AuthorityError::Refused(refusal) => AdminError::Authority(refusal),
        AuthorityError::SignedAuthority { source, .. } => AdminError::SignedAuthority(source),
        AuthorityError::Upstream { source, .. } => AdminError::Upstream(source),
        error => AdminError::Unavailable(Box::new(error)),
    }
}

/// Takes every step when it is due, and takes up what other replicas did, until `stop`.
pub(super) async fn keep(issuer: Arc<Lasting>, stop: CancellationToken) -> anyhow::Result<()> {
    // Keys that are there keep the end that they have, so that the shortest life so far counts.
    let mut shortest = issuer.registry().document().ca_lifetime();
    let mut told: Option<Timestamp> = None;
    loop {
        let now = issuer.clock.now();
        match issuer.authority.keep_up(now).await {
            Ok(()) => told = None,
            Err(error) if told.is_none_or(|last| last + TOLD_EVERY <= now) => {
                let error = &error as &dyn std::error::Error;
                let trust_domain = issuer.trust_domain();
                tracing::error!(error, %trust_domain, "the signing authorities could not be kept up");
                told = Some(now);
            }
            Err(_told_before) => {}
        }
        shortest = shortest.min(issuer.registry().document().ca_lifetime());
        let interval = look_every(shortest);
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = issuer.clock.sleep_until(now + interval) => {}
        }
    }
}

/// How often it is looked after keys that last so long.
fn look_every(lifetime: Duration) -> Duration {
    let (least, most) = LOOK_EVERY;
    (lifetime / 60).clamp(least, most)
}
