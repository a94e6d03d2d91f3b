//! What a server below is told that has its authority signed here.

#![expect(clippy::needless_pass_by_value, reason = "made to be handed to `map_err`")]

use std::error::Error;

use marque_authority::{AuthorityError, DownstreamRequestError};
use marque_spiffe::{SpiffeId, X509SvidError};
use tonic::{Code, Status};

use super::{chain, coded};
use crate::grpc::downstream::DownstreamRefusal;

/// The connection has no certificate: it did not come through our accept loop.
pub(crate) fn no_certificate() -> Status {
    coded(
        Code::Unauthenticated,
        "the connection has no client certificate",
        "downstream_not_identified",
    )
}

/// The caller's certificate is not, or no longer, that of a workload of the trust domain.
pub(crate) fn not_identified(error: X509SvidError) -> Status {
    let error = &error as &dyn Error;
    tracing::warn!(error, "refused a downstream server whose SVID is not valid any more");
    coded(
        Code::Unauthenticated,
        "the client certificate is not valid any more; fetch a new SVID and connect again",
        "downstream_not_identified",
    )
}

/// The caller is a workload of the trust domain, and no server below.
pub(crate) fn not_listed(caller: &SpiffeId) -> Status {
    tracing::warn!(%caller, "refused a caller that is no downstream server");
    let message = "the caller is no downstream server; `spiffe_ids` in [downstream] lists them";
    coded(Code::PermissionDenied, message, "downstream_not_listed")
}

/// The caller asks too often.
pub(crate) fn too_fast(server: &SpiffeId) -> Status {
    tracing::warn!(%server, "refused a downstream server that asks too fast");
    let message = "too many certificates were asked for; ask again in a minute";
    coded(Code::ResourceExhausted, message, "downstream_rate")
}

/// The lifetime that is asked for is below 0.
pub(crate) fn negative_lifetime() -> Status {
    let message = "`preferred_ttl` is negative; 0 leaves it to the server";
    coded(Code::InvalidArgument, message, "downstream_lifetime")
}

/// The request for a certificate is none.
pub(crate) fn request(error: DownstreamRequestError) -> Status {
    let code = "downstream_request";
    coded(Code::InvalidArgument, format!("`csr` {}", chain(&error)), code)
}

/// Nothing was signed.
pub(crate) fn refused(server: &SpiffeId, refusal: DownstreamRefusal) -> Status {
    match refusal {
        DownstreamRefusal::Stopped => {
            tracing::warn!(%server, "refused a downstream server that is stopped or not registered");
            let message = "the server is stopped or not registered";
            coded(Code::PermissionDenied, message, "downstream_stopped")
        }
        DownstreamRefusal::Authority(
            error @ (AuthorityError::NoRoom { .. } | AuthorityError::NoDownstream),
        ) => {
            tracing::warn!(%server, error = &error as &dyn Error, "no authority was signed");
            coded(Code::FailedPrecondition, chain(&error), "downstream_no_room")
        }
        DownstreamRefusal::Authority(_) | DownstreamRefusal::Unrecorded(_) => {
            tracing::error!(%server, error = &refusal as &dyn Error, "no authority was signed");
            coded(Code::Unavailable, "no authority can be signed now", "downstream_unavailable")
        }
    }
}
