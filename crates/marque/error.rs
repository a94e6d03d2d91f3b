//! Errors become gRPC statuses here and nowhere else.
//!
//! A caller of the Workload API learns what it can act on and no more; operators, who read the admin API, also learn
//! why. What is told to neither goes to the log. Refusals with a stable code carry it in the metadata
//! [`CODE_METADATA`] and its class in [`CLASS_METADATA`].

#![expect(clippy::disallowed_methods, reason = "the one file that makes a Status")]
#![expect(clippy::needless_pass_by_value, reason = "made to be handed to `map_err`")]

use std::error::Error;

use marque_attest::AttestError;
use marque_audit::LogError;
use marque_intent::{Denial, DenialCode};
use marque_registry::RegistryError;
use marque_spiffe::{SpiffeId, SpiffeIdError};
use marque_workload::WorkloadError;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::grpc::admin::AdminError;

/// The metadata that carries a refusal's stable code.
pub(crate) const CODE_METADATA: &str = "marque-code";
/// The metadata that carries the class of a refusal's code.
pub(crate) const CLASS_METADATA: &str = "marque-class";

/// The request did not prove that it was meant for this socket (WE-2).
pub(crate) fn missing_security_header(name: &str) -> Status {
    Status::invalid_argument(format!(
        "the metadata `{name}` must be there once, with the value `true`"
    ))
}

/// A request field that has to be there is not (WA-4).
pub(crate) fn missing_field(field: &str) -> Status {
    Status::invalid_argument(format!("`{field}` is missing"))
}

/// The SPIFFE ID that was asked for is none.
pub(crate) fn malformed_spiffe_id(error: SpiffeIdError) -> Status {
    malformed_field("spiffe_id", &error)
}

/// A request field does not read.
pub(crate) fn malformed_field(field: &str, error: &dyn Error) -> Status {
    Status::invalid_argument(format!("`{field}` is malformed: {}", chain(error)))
}

/// WIT-SVIDs are not served (WA-1).
pub(crate) fn no_wit_svids() -> Status {
    Status::unimplemented("WIT-SVIDs are not served here")
}

/// The daemon stops; another one will answer (WE-5).
pub(crate) fn shutting_down() -> Status {
    Status::unavailable("shutting down")
}

/// A request without a pinned peer: it did not come through our accept loop.
pub(crate) fn no_peer() -> Status {
    Status::internal("the connection has no pinned peer")
}

/// The process at the other end is gone, whoever holds its connection now.
pub(crate) fn peer_exited() -> Status {
    Status::unauthenticated("the process that connected has exited")
}

/// The caller could not be attested. Pins that do not hold are `Unauthenticated`; facts that could not be gathered are
/// `Unavailable`, since they may be there in a moment.
pub(crate) fn attest(error: AttestError) -> Status {
    tracing::warn!(error = &error as &dyn Error, "attestation failed");
    match error {
        AttestError::PeerCredentials(_)
        | AttestError::UnseenProcess
        | AttestError::Exited { .. }
        | AttestError::StartTimeChanged { .. }
        | AttestError::UserChanged { .. }
        | AttestError::GroupChanged { .. }
        | AttestError::SupplementaryGroupsChanged { .. }
        | AttestError::ExecutableChanged { .. }
        | AttestError::ParentChanged { .. }
        | AttestError::LineageTooLong { .. }
        | AttestError::HiddenAncestor { .. } => {
            Status::unauthenticated("the caller is not, or no longer, the process that connected")
        }
        AttestError::Pidfd { .. }
        | AttestError::Unreadable { .. }
        | AttestError::Malformed { .. }
        | AttestError::TooManyGroups { .. }
        | AttestError::Names { .. }
        | AttestError::Hash { .. }
        | AttestError::ChangedWhileHashed { .. }
        | AttestError::Interrupted { .. } => {
            Status::unavailable("the caller cannot be attested now")
        }
    }
}

/// Whether the caller of the admin socket is an agent cannot be told: it is treated as one.
pub(crate) fn lineage(error: AttestError) -> Status {
    let told = chain(&error);
    tracing::warn!(
        error = &error as &dyn Error,
        "refused at the admin socket: the caller's ancestry cannot be attested"
    );
    refused(
        Code::PermissionDenied,
        format!("cannot tell whether the caller was started by an agent: {told}"),
        DenialCode::ApproverNotEligible,
    )
}

/// The caller of the admin socket is no operator of the trust domain.
pub(crate) fn not_an_operator(uid: u32) -> Status {
    refused(
        Code::PermissionDenied,
        format!("uid {uid} is not an operator of this trust domain"),
        DenialCode::ApproverNotEligible,
    )
}

/// The caller of the admin socket is an agent, or was started by one.
pub(crate) fn agent_at_the_admin_socket(agents: &[SpiffeId], code: DenialCode) -> Status {
    let names: Vec<_> = agents.iter().map(|agent| format!("`{agent}`")).collect();
    refused(
        Code::PermissionDenied,
        format!(
            "the caller, or a process that started it, is the agent {}: agents decide nothing",
            names.join(", ")
        ),
        code,
    )
}

/// What a workload is told (WE-5, WA-*).
pub(crate) fn workload(error: WorkloadError) -> Status {
    match error {
        WorkloadError::NotEntitled => Status::permission_denied("no identity issued"),
        WorkloadError::Unavailable => Status::unavailable("identities cannot be issued now"),
        // Which rule is broken helps whoever checks a token; the token itself is in no error.
        WorkloadError::InvalidAudience(_)
        | WorkloadError::InvalidToken(_)
        | WorkloadError::UnknownTrustDomain(_) => Status::invalid_argument(chain(&error)),
        WorkloadError::Mint(_) | WorkloadError::WrongSvid => {
            tracing::error!(error = &error as &dyn Error, "minting failed");
            Status::unavailable("identities cannot be issued now")
        }
    }
}

/// What an operator is told.
pub(crate) fn admin(error: AdminError) -> Status {
    match error {
        AdminError::NotFound { .. } => Status::not_found(error.to_string()),
        AdminError::Refused(denial) => denied(&denial),
        AdminError::Entry(source) => entry(&source),
        AdminError::Unavailable(_) => {
            tracing::error!(error = &error as &dyn Error, "the store is not available");
            Status::unavailable(chain(&error))
        }
    }
}

/// The log could not be read; operators are told which leaf is at fault.
pub(crate) fn log(error: LogError) -> Status {
    tracing::error!(error = &error as &dyn Error, "the log cannot be read");
    match error {
        LogError::Unavailable(_) => Status::unavailable(chain(&error)),
        LogError::Altered { .. }
        | LogError::Gap { .. }
        | LogError::Damaged(_)
        | LogError::Refused(_) => Status::data_loss(chain(&error)),
    }
}

fn denied(denial: &Denial) -> Status {
    let code = match denial.code() {
        DenialCode::SelfApprovalForbidden | DenialCode::ApproverNotEligible => {
            Code::PermissionDenied
        }
        _ => Code::FailedPrecondition,
    };
    refused(code, denial.detail().to_owned(), denial.code())
}

fn entry(error: &RegistryError) -> Status {
    match error {
        RegistryError::DuplicateId(_) | RegistryError::DuplicateSpiffeId { .. } => {
            Status::already_exists(chain(error))
        }
        RegistryError::FromFile { .. } => Status::failed_precondition(chain(error)),
        RegistryError::NoPath(_)
        | RegistryError::NoSelectors
        | RegistryError::TooManySelectors { .. }
        | RegistryError::TooManyDnsNames { .. }
        | RegistryError::ForeignTrustDomain { .. }
        | RegistryError::LifetimeTooLong { .. } => Status::invalid_argument(chain(error)),
    }
}

fn refused(code: Code, message: String, denial: DenialCode) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert(CODE_METADATA, MetadataValue::from_static(denial.as_str()));
    metadata.insert(CLASS_METADATA, MetadataValue::from_static(denial.class().as_str()));
    Status::with_metadata(code, message, metadata)
}

/// An error with everything that led to it, on one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
