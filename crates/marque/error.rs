//! Errors become gRPC statuses here and nowhere else.
//!
//! A caller of the Workload API learns what it can act on and no more; operators, who read the admin API, also learn
//! why. What is told to neither goes to the log. Refusals carry a stable code in the metadata [`CODE_METADATA`], and
//! those of the table of denials its class in [`CLASS_METADATA`]. `docs/workload-api.md` lists what a workload can be told:
//! clients match on these texts and codes, so they stay.

#![expect(clippy::disallowed_methods, reason = "the one file that makes a Status")]
#![expect(clippy::needless_pass_by_value, reason = "made to be handed to `map_err`")]

pub(crate) mod broker;
pub(crate) mod downstream;
pub(crate) mod explain;
mod federation;

use std::error::Error;

use marque_attest::AttestError;
use marque_audit::{LogError, VerifyError};
use marque_authority::OrderRefusal;
use marque_intent::{Denial, DenialCode};
use marque_registry::RegistryError;
use marque_spiffe::{SpiffeId, SpiffeIdError};
use marque_workload::WorkloadError;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::grpc::admin::AdminError;
use crate::grpc::limit::Limit;
use crate::identities::IDENTITY_SHARED;

/// The metadata that carries a refusal's stable code.
pub(crate) const CODE_METADATA: &str = "marque-code";
/// The metadata that carries the class of a refusal's code.
pub(crate) const CLASS_METADATA: &str = "marque-class";

/// What every caller without an identity is told, whatever the reason: clients match on it.
pub(crate) const NO_IDENTITY_ISSUED: &str = "no identity issued";
/// The stable code of [`NO_IDENTITY_ISSUED`] where no entry fits the caller.
pub(crate) const NO_IDENTITY: &str = "no_identity";
/// The stable code where a template has given as many identities as it may.
pub(crate) const TEMPLATE_FULL: &str = "template_full";
/// The stable code where an entry does not allow an audience.
pub(crate) const AUDIENCE_NOT_ALLOWED: &str = "audience_not_allowed";
const ISSUER_UNAVAILABLE: &str = "issuer_unavailable";

/// The request did not prove that it was meant for this socket (WE-2).
pub(crate) fn missing_security_header(name: &str) -> Status {
    coded(
        Code::InvalidArgument,
        format!("the metadata `{name}` must be there once, with the value `true`"),
        "security_header_missing",
    )
}

/// A request field that has to be there is not (WA-4).
pub(crate) fn missing_field(field: &str) -> Status {
    coded(Code::InvalidArgument, format!("`{field}` is missing"), "field_missing")
}

/// The SPIFFE ID that was asked for is none.
pub(crate) fn malformed_spiffe_id(error: SpiffeIdError) -> Status {
    malformed_field("spiffe_id", &error)
}

/// A request field does not read.
pub(crate) fn malformed_field(field: &str, error: &dyn Error) -> Status {
    let message = format!("`{field}` is malformed: {}", chain(error));
    coded(Code::InvalidArgument, message, "field_malformed")
}

/// The trust domain does not serve this profile (WA-1).
pub(crate) fn not_served(profile: &str) -> Status {
    coded(Code::Unimplemented, format!("{profile} are not served here"), "profile_disabled")
}

/// Envoy's secret discovery service is switched off in the trust domain's document.
pub(crate) fn no_envoy_sds() -> Status {
    Status::unimplemented("Envoy SDS is not served here")
}

/// The discovery service was asked for something else than secrets.
pub(crate) fn other_resource_type() -> Status {
    Status::invalid_argument("`type_url` names a resource type that is not served here")
}

/// More names than one stream may ask for.
pub(crate) fn too_many_resource_names(limit: usize) -> Status {
    Status::invalid_argument(format!("more than {limit} resource names"))
}

/// No secret has such a name.
pub(crate) fn resource_name_too_long(limit: usize) -> Status {
    Status::invalid_argument(format!("a resource name is longer than {limit} bytes"))
}

/// The caller has none of the secrets that it names. Whether somebody else has is not told.
pub(crate) fn no_such_resources() -> Status {
    Status::not_found("none of the secrets that are named is issued to the caller")
}

/// The daemon stops; another one will answer (WE-5).
pub(crate) fn shutting_down() -> Status {
    coded(Code::Unavailable, "shutting down", "shutting_down")
}

/// A request without a pinned peer: it did not come through our accept loop.
pub(crate) fn no_peer() -> Status {
    Status::internal("the connection has no pinned peer")
}

/// The connection's process has not proved that it is the one that speaks, or somebody else spoke.
pub(crate) fn unproven_peer() -> Status {
    Status::unauthenticated(
        "the process that connected has not proved that it is the one that speaks",
    )
}

/// More than the limit allows; later there may be room (WE-5).
pub(crate) fn over_limit(limit: Limit) -> Status {
    limited(Code::Unavailable, format!("over the limit `{}`", limit.as_str()), limit)
}

/// The headers of the request are larger than the limit.
pub(crate) fn headers_too_large(bytes: u32) -> Status {
    let limit = Limit::HeaderListBytes;
    limited(Code::ResourceExhausted, format!("the headers have more than {bytes} bytes"), limit)
}

/// A message is larger than the limit.
pub(crate) fn message_too_large(bytes: usize) -> Status {
    let limit = Limit::MessageBytes;
    limited(Code::ResourceExhausted, format!("the message has more than {bytes} bytes"), limit)
}

fn limited(code: Code, message: String, limit: Limit) -> Status {
    limit.count();
    let mut metadata = MetadataMap::new();
    metadata.insert(CODE_METADATA, MetadataValue::from_static(limit.as_str()));
    Status::with_metadata(code, message, metadata)
}

/// The process at the other end is gone, whoever holds its connection now.
pub(crate) fn peer_exited() -> Status {
    coded(Code::Unauthenticated, "the process that connected has exited", "caller_exited")
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
        | AttestError::UnmappedUser { .. }
        | AttestError::HiddenAncestor { .. } => {
            let message = "the caller is not, or no longer, the process that connected";
            coded(Code::Unauthenticated, message, "caller_changed")
        }
        AttestError::Pidfd { .. }
        | AttestError::Unreadable { .. }
        | AttestError::Malformed { .. }
        | AttestError::TooManyGroups { .. }
        | AttestError::IdMaps(_)
        | AttestError::Systemd { .. }
        | AttestError::Names { .. }
        | AttestError::Hash { .. }
        | AttestError::ChangedWhileHashed { .. }
        | AttestError::UnsupportedObject
        | AttestError::Source { .. }
        | AttestError::Interrupted { .. } => {
            let message = "the caller cannot be attested now";
            coded(Code::Unavailable, message, "attestation_unavailable")
        }
        AttestError::Container { .. } => {
            Status::failed_precondition("the caller's cgroups do not tell its container")
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
        WorkloadError::NotEntitled => {
            coded(Code::PermissionDenied, NO_IDENTITY_ISSUED, NO_IDENTITY)
        }
        // It reads as any other refusal; the code is for whoever looks closer.
        WorkloadError::TemplateFull => {
            coded(Code::PermissionDenied, NO_IDENTITY_ISSUED, TEMPLATE_FULL)
        }
        WorkloadError::AudienceNotAllowed => {
            coded(Code::PermissionDenied, error.to_string(), AUDIENCE_NOT_ALLOWED)
        }
        WorkloadError::Unavailable => issuer_unavailable(),
        // Which rule is broken helps whoever checks a token; the token itself is in no error.
        WorkloadError::InvalidAudience(_) => invalid(&error, "audience_invalid"),
        WorkloadError::InvalidToken(_) => invalid(&error, "token_invalid"),
        WorkloadError::UnknownTrustDomain(_) => invalid(&error, "trust_domain_unknown"),
        WorkloadError::Mint(_) | WorkloadError::WrongSvid => {
            tracing::error!(error = &error as &dyn Error, "minting failed");
            issuer_unavailable()
        }
    }
}

/// The stable code of a failure that means that a caller has no identity for what it asked.
pub(crate) fn refused_identity(error: &WorkloadError) -> Option<&'static str> {
    match error {
        WorkloadError::NotEntitled => Some(NO_IDENTITY),
        WorkloadError::TemplateFull => Some(TEMPLATE_FULL),
        WorkloadError::AudienceNotAllowed => Some(AUDIENCE_NOT_ALLOWED),
        _ => None,
    }
}

/// Another program holds every identity that the caller would get (M 3). It reads like any other refusal; the code is
/// for whoever looks closer.
pub(crate) fn identity_shared() -> Status {
    coded(Code::PermissionDenied, NO_IDENTITY_ISSUED, IDENTITY_SHARED)
}

fn issuer_unavailable() -> Status {
    coded(Code::Unavailable, "identities cannot be issued now", ISSUER_UNAVAILABLE)
}

fn invalid(error: &WorkloadError, code: &'static str) -> Status {
    coded(Code::InvalidArgument, chain(error), code)
}

/// What an operator is told.
pub(crate) fn admin(error: AdminError) -> Status {
    match error {
        AdminError::NotFound { .. } => Status::not_found(error.to_string()),
        AdminError::Refused(denial) => denied(&denial),
        AdminError::Entry(source) => entry(&source),
        AdminError::Federation(source) => federation::refused(&source),
        AdminError::EventNotTaken(message) => {
            coded(Code::FailedPrecondition, message, "event_not_taken")
        }
        AdminError::Authority(refusal) => {
            let code = match refusal {
                OrderRefusal::NoSuchKey { .. } => Code::NotFound,
                _ => Code::FailedPrecondition,
            };
            coded(code, refusal.to_string(), refusal.code())
        }
        AdminError::SignedAuthority(ref refused) => {
            coded(Code::InvalidArgument, chain(&error), refused.code())
        }
        AdminError::Upstream(ref failed) => {
            coded(Code::Unavailable, chain(failed), "upstream_unavailable")
        }
        AdminError::Kill(error) => coded(Code::FailedPrecondition, error.to_string(), error.code()),
        AdminError::NotTaken(message) => {
            coded(Code::FailedPrecondition, message, "webhook_not_taken")
        }
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
        | LogError::Refused(_) => {
            let told = chain(&error);
            coded(Code::DataLoss, told, VerifyError::from(error).kind())
        }
    }
}

fn denied(denial: &Denial) -> Status {
    let code = match denial.code().grpc_status() {
        "ALREADY_EXISTS" => Code::AlreadyExists,
        "PERMISSION_DENIED" => Code::PermissionDenied,
        "RESOURCE_EXHAUSTED" => Code::ResourceExhausted,
        "UNAVAILABLE" => Code::Unavailable,
        _ => Code::FailedPrecondition,
    };
    refused(code, denial.detail().to_owned(), denial.code())
}

/// With the code that `marque check` has for the same.
fn entry(error: &RegistryError) -> Status {
    let kind = match error {
        RegistryError::DuplicateId(_)
        | RegistryError::DuplicateSpiffeId { .. }
        | RegistryError::Covered { .. } => Code::AlreadyExists,
        RegistryError::FromFile { .. } | RegistryError::FromTemplate { .. } => {
            Code::FailedPrecondition
        }
        RegistryError::NoPath(_)
        | RegistryError::Reserved(_)
        | RegistryError::NoSelectors
        | RegistryError::TooManySelectors { .. }
        | RegistryError::TooManyDnsNames { .. }
        | RegistryError::TooManyFederations { .. }
        | RegistryError::TooManyAudiences { .. }
        | RegistryError::Overlapping { .. }
        | RegistryError::NotFederated(_)
        | RegistryError::ForeignTrustDomain { .. }
        | RegistryError::NoExpiry
        | RegistryError::LifetimeTooLong { .. } => Code::InvalidArgument,
    };
    coded(kind, chain(error), error.code().as_str())
}

fn refused(code: Code, message: String, denial: DenialCode) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert(CODE_METADATA, MetadataValue::from_static(denial.as_str()));
    metadata.insert(CLASS_METADATA, MetadataValue::from_static(denial.class().as_str()));
    Status::with_metadata(code, message, metadata)
}

/// An error as operators are told of it.
pub(crate) fn told(error: &AttestError) -> String {
    chain(error)
}

/// A status with a stable code that is in no table of denials: workloads are told nothing of those.
pub(crate) fn coded(code: Code, message: impl Into<String>, stable: &'static str) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert(CODE_METADATA, MetadataValue::from_static(stable));
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
