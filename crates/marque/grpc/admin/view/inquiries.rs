//! What an operator is shown of processes, refusals and shared identities.

use jiff::Timestamp;
use serde::Serialize;

use super::super::super::client::CallError;
use super::super::super::proto::admin as proto;
use super::super::super::time::from_timestamp;
use super::{EntryView, KillView};

/// What one process attests as, and what that earns it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExplanationView {
    /// The process.
    pub pid: i32,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
    /// Whether the daemon sees which executable it runs.
    pub executable_visible: bool,
    /// Whether it is in a pid namespace below the daemon's.
    pub inner_pid_namespace: bool,
    /// What each attestor found.
    pub attestors: Vec<FindingView>,
    /// What it looks like as a whole; empty when an attestor failed.
    pub fingerprint: String,
    /// The entries that it satisfies.
    pub earned: Vec<EarnedView>,
    /// The entries that it almost satisfies.
    pub near: Vec<NearView>,
    /// The templates whose fixed selectors it has.
    pub templates: Vec<TemplateView>,
    /// What the Workload API serves.
    pub profiles: ProfilesView,
    /// The kills that keep it from what it has earned.
    pub kills: Vec<KillView>,
}

/// What one attestor found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FindingView {
    /// The kind of its selectors.
    pub kind: String,
    /// The selectors.
    pub selectors: Vec<String>,
    /// Why it failed; empty when it did not.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// An entry that a process satisfies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EarnedView {
    /// The entry.
    #[serde(flatten)]
    pub entry: EntryView,
    /// Whether the identity is issued.
    pub issued: bool,
    /// Why not, as a code.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub withheld_code: String,
    /// Why not, in words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub withheld: String,
}

/// An entry that a process almost satisfies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NearView {
    /// The entry.
    #[serde(flatten)]
    pub entry: EntryView,
    /// What the process lacks.
    pub missing: Vec<MissingView>,
}

/// One selector that a process lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MissingView {
    /// What the entry asks for.
    pub selector: String,
    /// What the process has in its place.
    pub found: Vec<String>,
}

/// What a template gives to a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TemplateView {
    /// The template.
    pub template: String,
    /// What it may give.
    pub pattern: String,
    /// What it gives to the process; empty where it gives nothing.
    pub spiffe_id: String,
    /// The stable code of why it gives nothing; empty where it does.
    pub refused_code: String,
    /// Why it gives nothing, in words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub refused: String,
    /// How many identities it has given.
    pub given: u64,
    /// How many it may.
    pub limit: u32,
}

/// Which profiles are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ProfilesView {
    /// X.509-SVIDs.
    pub x509_svid: bool,
    /// JWT-SVIDs.
    pub jwt_svid: bool,
    /// WIT-SVIDs.
    pub wit_svid: bool,
    /// Envoy's secret discovery service.
    pub envoy_sds: bool,
}

/// A caller that was refused an identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusedCallerView {
    /// When, the last time.
    pub at: Option<Timestamp>,
    /// What it called.
    pub method: String,
    /// The stable code.
    pub code: String,
    /// The process; 0 where it was none.
    pub pid: i32,
    /// Its user.
    pub uid: Option<u32>,
    /// What it looked like.
    pub fingerprint: String,
    /// What it attested as.
    pub selectors: Vec<String>,
    /// How often.
    pub times: u64,
    /// The entries that it almost satisfies.
    pub near: Vec<NearView>,
}

/// An identity that more than one program used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SharedIdentityView {
    /// The identity.
    pub spiffe_id: String,
    /// Who answers for it; empty when its entry is gone.
    pub owner: String,
    /// Its users, whoever came first first.
    pub holders: Vec<HolderView>,
    /// How often it was put on record.
    pub records: u64,
    /// How often the newcomer was refused.
    pub refusals: u64,
    /// When it was last put on record.
    pub last_record_at: Option<Timestamp>,
    /// Whether more than one program holds it right now.
    pub now: bool,
    /// The entries that say they share it, and why.
    pub declared: Vec<DeclaredSharingView>,
}

/// An entry that says that it shares its identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeclaredSharingView {
    /// The entry's id.
    pub entry_id: String,
    /// Who answers for it.
    pub owner: String,
    /// Why it shares its identity.
    pub reason: String,
}

/// One program that used an identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HolderView {
    /// What it looks like.
    pub fingerprint: String,
    /// The user that it runs as.
    pub uid: Option<u32>,
    /// Its processes, some of which may have exited.
    pub pids: Vec<i32>,
    /// When it was first handed the identity.
    pub first_seen_at: Option<Timestamp>,
    /// When it last had it.
    pub last_seen_at: Option<Timestamp>,
    /// Whether it has a stream open right now.
    pub present: bool,
    /// Whether it was refused, and never had the identity.
    pub refused: bool,
    /// Those of its selectors that may stand in a log.
    pub selectors: Vec<String>,
}

impl TryFrom<proto::ExplainProcessResponse> for ExplanationView {
    type Error = CallError;

    fn try_from(message: proto::ExplainProcessResponse) -> Result<Self, CallError> {
        let proto::ExplainProcessResponse {
            pid,
            uid,
            gid,
            executable_visible,
            attestors,
            fingerprint,
            earned,
            near,
            profiles,
            kills,
            inner_pid_namespace,
            templates,
        } = message;
        let proto::Profiles { x509_svid, jwt_svid, wit_svid, envoy_sds } =
            profiles.ok_or(CallError::Malformed("profiles"))?;
        let finding = |proto::AttestorFinding { kind, selectors, error }| FindingView {
            kind,
            selectors,
            error,
        };
        Ok(Self {
            pid,
            uid,
            gid,
            executable_visible,
            inner_pid_namespace,
            attestors: attestors.into_iter().map(finding).collect(),
            fingerprint,
            earned: earned.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            near: near.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            templates: templates.into_iter().map(Into::into).collect(),
            profiles: ProfilesView { x509_svid, jwt_svid, wit_svid, envoy_sds },
            kills: kills.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
        })
    }
}

impl From<proto::TemplateFinding> for TemplateView {
    fn from(message: proto::TemplateFinding) -> Self {
        let proto::TemplateFinding {
            template,
            pattern,
            spiffe_id,
            refused_code,
            refused,
            given,
            limit,
        } = message;
        Self { template, pattern, spiffe_id, refused_code, refused, given, limit }
    }
}

impl TryFrom<proto::EarnedEntry> for EarnedView {
    type Error = CallError;

    fn try_from(message: proto::EarnedEntry) -> Result<Self, CallError> {
        let proto::EarnedEntry { entry, withheld_code, withheld } = message;
        let entry = entry.ok_or(CallError::Malformed("entry"))?.try_into()?;
        Ok(Self { entry, issued: withheld_code.is_empty(), withheld_code, withheld })
    }
}

impl TryFrom<proto::NearEntry> for NearView {
    type Error = CallError;

    fn try_from(message: proto::NearEntry) -> Result<Self, CallError> {
        let proto::NearEntry { entry, missing } = message;
        let entry = entry.ok_or(CallError::Malformed("entry"))?.try_into()?;
        let lacks = |proto::MissingSelector { selector, found }| MissingView { selector, found };
        Ok(Self { entry, missing: missing.into_iter().map(lacks).collect() })
    }
}

impl TryFrom<proto::RefusedCaller> for RefusedCallerView {
    type Error = CallError;

    fn try_from(message: proto::RefusedCaller) -> Result<Self, CallError> {
        let proto::RefusedCaller {
            at,
            method,
            code,
            pid,
            uid,
            fingerprint,
            selectors,
            times,
            near,
        } = message;
        let near = near.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?;
        let at = at.and_then(from_timestamp);
        Ok(Self { at, method, code, pid, uid, fingerprint, selectors, times, near })
    }
}

impl From<proto::SharedIdentity> for SharedIdentityView {
    fn from(message: proto::SharedIdentity) -> Self {
        let proto::SharedIdentity {
            spiffe_id,
            owner,
            holders,
            records,
            refusals,
            last_record_at,
            now,
            declared,
        } = message;
        let declared = declared.into_iter().map(|one| {
            let proto::DeclaredSharing { entry_id, owner, reason } = one;
            DeclaredSharingView { entry_id, owner, reason }
        });
        Self {
            declared: declared.collect(),
            spiffe_id,
            owner,
            holders: holders.into_iter().map(Into::into).collect(),
            records,
            refusals,
            last_record_at: last_record_at.and_then(from_timestamp),
            now,
        }
    }
}

impl From<proto::IdentityHolder> for HolderView {
    fn from(message: proto::IdentityHolder) -> Self {
        let proto::IdentityHolder {
            fingerprint,
            uid,
            pids,
            first_seen_at,
            last_seen_at,
            present,
            refused,
            selectors,
        } = message;
        Self {
            fingerprint,
            uid,
            pids,
            first_seen_at: first_seen_at.and_then(from_timestamp),
            last_seen_at: last_seen_at.and_then(from_timestamp),
            present,
            refused,
            selectors,
        }
    }
}
