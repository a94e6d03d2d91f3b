//! What clients may learn of a SPIFFE socket itself: which services it has (gRPC server reflection, WE-6) and whether
//! it serves (gRPC health). Both are behind the security header and the pin or the handshake, as everything on the socket;
//! neither asks who the caller is, as neither tells anything about anybody.

use std::io;

use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::health_reporter;

use super::live::{LiveLimits, Sized};

/// What a socket is there for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Served {
    /// The service, beside the socket as a whole, whose health is told.
    service: &'static str,
    /// It and what its messages need (`build.rs`).
    description: &'static [u8],
}

pub(super) const WORKLOAD_API: Served = Served {
    service: "SpiffeWorkloadAPI",
    description: include_bytes!(concat!(env!("OUT_DIR"), "/workload.fds")),
};
pub(super) const BROKER_API: Served = Served {
    service: "spiffe.broker.API",
    description: include_bytes!(concat!(env!("OUT_DIR"), "/broker.fds")),
};
/// How the health of a socket as a whole is asked for.
const SOCKET: &str = "";

/// Adds reflection, in both versions that clients know, and health, which says so when the daemon stops.
pub(super) async fn add_to(
    routes: Routes,
    served: Served,
    limits: &LiveLimits,
    shutdown: CancellationToken,
) -> io::Result<Routes> {
    let Served { service, description } = served;
    let describing = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(description)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let v1 = describing().build_v1().map_err(io::Error::other)?;
    let v1alpha = describing().build_v1alpha().map_err(io::Error::other)?;
    let (reporter, health) = health_reporter();
    for name in [SOCKET, service] {
        reporter.set_service_status(name, ServingStatus::Serving).await;
    }
    tokio::spawn(async move {
        shutdown.cancelled().await;
        for name in [SOCKET, service] {
            reporter.set_service_status(name, ServingStatus::NotServing).await;
        }
    });
    Ok(routes
        .add_service(Sized::new(v1, limits, |one, bytes| one.max_decoding_message_size(bytes)))
        .add_service(Sized::new(v1alpha, limits, |one, bytes| one.max_decoding_message_size(bytes)))
        .add_service(Sized::new(health, limits, |one, bytes| one.max_decoding_message_size(bytes))))
}
