//! What a broker was given, as the log says it: which identity, to whom, for which workload.

use jiff::Timestamp;
use marque_audit::{Event, EventKind};
use marque_spiffe::SpiffeId;
use marque_workload::{JwtSvidMaterial, X509SvidMaterial};
use tonic::Status;

use super::BrokerDoor;
use super::target::Target;
use crate::error;

/// An SVID that is about to leave.
#[derive(Debug, Clone, Copy)]
pub(super) enum Given<'a> {
    X509(&'a X509SvidMaterial),
    Jwt { svid: &'a JwtSvidMaterial, audience: &'a [String] },
}

/// Puts an SVID on record; what cannot be recorded is not given.
pub(super) async fn record(
    door: &BrokerDoor,
    given: Given<'_>,
    broker: &SpiffeId,
    target: &Target,
) -> Result<(), Status> {
    let event = given.event(door.clock.now(), broker, target);
    door.log.append(event).await.map(|_number| ()).map_err(error::broker::unrecorded)
}

impl Given<'_> {
    fn event(self, now: Timestamp, broker: &SpiffeId, target: &Target) -> Event {
        let event = Event::new(EventKind::SvidBrokered, now)
            .with_actor(broker.as_str())
            .with_detail("workload", target.description());
        match self {
            Self::X509(svid) => event
                .with_agent(svid.spiffe_id.clone())
                .with_expires_at(svid.not_after)
                .with_detail("svid", "x509-svid"),
            Self::Jwt { svid, audience } => event
                .with_agent(svid.spiffe_id.clone())
                .with_audience(audience.iter().cloned())
                .with_expires_at(svid.expires_at)
                .with_detail("svid", "jwt-svid"),
        }
    }
}
