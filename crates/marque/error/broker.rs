//! What a broker is told (BR-1, BR-5).
//!
//! Statuses about the referenced workload carry a `google.rpc.ErrorInfo`; refusals of the broker itself carry a stable
//! code in the metadata, as everywhere else.

#![expect(clippy::disallowed_methods, reason = "the one place that makes a broker's Status")]
#![expect(clippy::needless_pass_by_value, reason = "made to be handed to `map_err`")]

use std::collections::HashMap;
use std::error::Error;
use std::io;

use marque_attest::AttestError;
use marque_audit::LogError;
use marque_registry::ReferenceType;
use marque_spiffe::SpiffeId;
use marque_workload::WorkloadError;
use nix::errno::Errno;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::{CODE_METADATA, chain};
use crate::grpc::broker::ReferenceError;

/// The domain of every reason below.
const DOMAIN: &str = "spiffe.io";
const REFERENCE_INVALID: &str = "WORKLOAD_REFERENCE_INVALID";
const NOT_FOUND: &str = "WORKLOAD_NOT_FOUND";
const NOT_ENTITLED: &str = "WORKLOAD_NOT_ENTITLED";

/// The rule that a stream was opened under is not the broker's rule any more.
pub(crate) fn rule_changed(broker: &SpiffeId) -> Status {
    tracing::info!(%broker, "ended a stream of a broker whose rule changed");
    coded(
        Code::Unavailable,
        "what this broker may ask has changed; ask again",
        "broker_rule_changed",
    )
}

/// The caller's certificate is not, or no longer, that of a workload of the trust domain.
pub(crate) fn not_identified(broker: &SpiffeId) -> Status {
    tracing::warn!(%broker, "refused a broker whose SVID is not valid any more");
    coded(
        Code::Unauthenticated,
        "the client certificate is not valid any more; fetch a new SVID and connect again",
        "broker_not_identified",
    )
}

/// The caller is a workload of the trust domain, and no broker.
pub(crate) fn not_listed(caller: &SpiffeId) -> Status {
    tracing::warn!(%caller, "refused a caller that is no broker");
    coded(Code::PermissionDenied, "the caller is not a broker", "broker_not_listed")
}

/// The broker was stopped, or its own registration entry is gone.
pub(crate) fn stopped(broker: &SpiffeId) -> Status {
    tracing::warn!(%broker, "refused a broker that is stopped or not registered");
    coded(Code::PermissionDenied, "the broker is stopped or not registered", "broker_stopped")
}

/// The broker may not refer to workloads in this way.
pub(crate) fn reference_type(broker: &SpiffeId, reference: ReferenceType) -> Status {
    tracing::warn!(%broker, %reference, "refused a type of reference that a broker may not use");
    coded(
        Code::PermissionDenied,
        "the broker may not refer to workloads in this way",
        "broker_reference_type",
    )
}

/// The broker may not have JWT-SVIDs for this audience.
pub(crate) fn audience(broker: &SpiffeId, audience: &str) -> Status {
    tracing::warn!(%broker, audience, "refused an audience that a broker may not ask for");
    coded(
        Code::PermissionDenied,
        "the broker may not ask for JWT-SVIDs for this audience",
        "broker_audience",
    )
}

/// The reference refers to nothing, whatever is running.
pub(crate) fn reference(error: ReferenceError) -> Status {
    detailed(Code::InvalidArgument, chain(&error), REFERENCE_INVALID)
}

/// There is no such workload, or it has stopped.
pub(crate) fn not_found() -> Status {
    detailed(Code::NotFound, "there is no such workload".to_owned(), NOT_FOUND)
}

/// The workload has no identity that this broker may be given.
pub(crate) fn not_entitled() -> Status {
    detailed(Code::PermissionDenied, "no identity issued".to_owned(), NOT_ENTITLED)
}

/// A process that was referred to could not be held or attested.
pub(crate) fn absent(error: AttestError) -> Status {
    match &error {
        AttestError::Exited { .. } | AttestError::StartTimeChanged { .. } => not_found(),
        AttestError::Unreadable { source, .. } if is_gone(source) => not_found(),
        // What pidfd_open says of a thread's id.
        AttestError::Pidfd { source, .. } if is_gone(source) => not_found(),
        AttestError::UserChanged { .. }
        | AttestError::GroupChanged { .. }
        | AttestError::SupplementaryGroupsChanged { .. }
        | AttestError::ExecutableChanged { .. } => {
            let told = "the workload is not any more what it was when it was referred to";
            detailed(Code::PermissionDenied, told.to_owned(), NOT_ENTITLED)
        }
        _other => undecided(error),
    }
}

/// A Kubernetes object that was referred to could not be looked up.
pub(crate) fn object(error: AttestError) -> Status {
    match error {
        AttestError::UnsupportedObject => reference(ReferenceError::NoKubernetes),
        other => undecided(other),
    }
}

/// Whether there is such a workload, and what it is, cannot be told now.
pub(crate) fn undecided(error: AttestError) -> Status {
    tracing::warn!(error = &error as &dyn Error, "attestation for a broker failed");
    if matches!(error, AttestError::Container { .. }) {
        return Status::failed_precondition("the workload's cgroups do not tell its container");
    }
    Status::unavailable("the workload cannot be attested now")
}

/// As [`super::workload`], with the details that brokers expect.
pub(crate) fn workload(error: WorkloadError) -> Status {
    match error {
        WorkloadError::NotEntitled => not_entitled(),
        other => super::workload(other),
    }
}

/// What cannot be recorded is not handed out.
pub(crate) fn unrecorded(error: LogError) -> Status {
    tracing::error!(error = &error as &dyn Error, "what a broker asks for cannot be recorded");
    Status::unavailable("identities cannot be issued now")
}

fn is_gone(error: &io::Error) -> bool {
    let gone = [Errno::ENOENT, Errno::ESRCH, Errno::EINVAL].map(|errno| errno as i32);
    error.raw_os_error().is_some_and(|number| gone.contains(&number))
}

fn detailed(code: Code, message: String, reason: &str) -> Status {
    let details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new());
    Status::with_error_details(code, message, details)
}

fn coded(code: Code, message: &str, stable: &'static str) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert(CODE_METADATA, MetadataValue::from_static(stable));
    Status::with_metadata(code, message, metadata)
}
