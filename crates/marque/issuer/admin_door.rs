//! The issuer as its operators reach it: the admin socket's door onto this trust domain. One file for each subject, as in
//! `grpc/admin/door`.

mod authorities;
mod deliveries;
mod entries;
mod federation;
mod folder;
mod intents;
mod kills;
mod log;
mod pace;
mod refused;
mod tokens;

use futures::future::BoxFuture;
use jiff::Timestamp;
use marque_audit::{Event, EventKind, LogStore};

use super::{Issuer, Lasting};
use crate::grpc::admin::{AdminDoor, AdminError, DaemonStatus, Refusal};
use crate::telemetry::health::NotReady;

impl AdminDoor for Issuer {
    fn status(&self) -> DaemonStatus {
        DaemonStatus {
            started_at: self.started_at,
            bundle_sequence: self.authority.bundle().sequence(),
            unreadable_rows: self.store.unreadable_rows(),
        }
    }

    fn readiness(&self) -> BoxFuture<'_, Vec<NotReady>> {
        Box::pin(Lasting::readiness(self))
    }

    fn measure(&self) -> BoxFuture<'_, ()> {
        Box::pin(Lasting::measure(self))
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn record_refusal(&self, refusal: Refusal) -> BoxFuture<'_, Result<(), AdminError>> {
        Box::pin(async move {
            let Refusal { method, user, agents, intent, code } = refusal;
            let agents: Vec<String> = agents.iter().map(ToString::to_string).collect();
            let mut event = Event::new(EventKind::ApprovalRefused, self.clock.now())
                .with_actor(user.to_string())
                .with_denial(code.as_str(), code.class().as_str())
                .with_detail("method", method)
                .with_detail("attests_as", agents);
            if let Some(intent) = intent {
                event = event.with_intent(intent.as_str());
            }
            self.store
                .append(event)
                .await
                .map_err(|error| AdminError::Unavailable(Box::new(error)))?;
            Ok(())
        })
    }
}
