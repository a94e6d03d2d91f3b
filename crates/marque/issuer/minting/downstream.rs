//! Authorities of servers below: signed for nobody who is stopped, and on record before they leave.

use std::time::Duration;

use futures::future::BoxFuture;
use marque_audit::{Event, EventKind, LogStore as _};
use marque_authority::{DownstreamRequest, SignedDownstream};
use marque_intent::kill::StopPoint;
use marque_spiffe::SpiffeId;

use super::super::store::kill_watch;
use super::InProcessIssuer;
use crate::grpc::downstream::{DownstreamIssuer, DownstreamRefusal};

impl DownstreamIssuer for InProcessIssuer {
    fn sign<'a>(
        &'a self,
        server: &'a SpiffeId,
        request: &'a DownstreamRequest,
        lifetime: Option<Duration>,
    ) -> BoxFuture<'a, Result<SignedDownstream, DownstreamRefusal>> {
        Box::pin(async move {
            let now = self.clock.now();
            let snapshot = self.registry.snapshot();
            let entry = snapshot.entry_by_spiffe_id(server);
            let registered = entry.is_some_and(|entry| !entry.has_expired(now));
            let stopped = kill_watch(&self.store).borrow().stops_agent(server, StopPoint::Issue);
            if !registered || stopped.is_some() {
                return Err(DownstreamRefusal::Stopped);
            }
            let signed = self.authority.sign_downstream(request, lifetime, now)?;
            let event = Event::new(EventKind::AuthoritySignedDownstream, now)
                .with_agent(server.clone())
                .with_expires_at(signed.not_after)
                .with_detail("serial", signed.serial.as_str())
                .with_detail("name", request.common_name());
            self.store.append(event).await?;
            Ok(signed)
        })
    }
}
