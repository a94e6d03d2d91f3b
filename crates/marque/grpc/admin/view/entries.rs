//! Registration entries as they are shown.

use jiff::Timestamp;
use serde::Serialize;

use super::super::super::client::CallError;
use super::super::super::proto::admin as proto;
use super::super::super::time::from_timestamp;
use super::fields::seconds;

/// A registration entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EntryView {
    /// Its id.
    pub id: String,
    /// The identity that it gives.
    pub spiffe_id: String,
    /// What a caller must have, all of it.
    pub selectors: Vec<String>,
    /// `agent` or `service`.
    pub role: &'static str,
    /// Who answers for it.
    pub owner: String,
    /// What the identity is for; empty when not said.
    pub hint: String,
    /// Names in its certificates.
    pub dns_names: Vec<String>,
    /// The other trust domains whose bundles its callers get.
    pub federates_with: Vec<String>,
    /// The lifetime of its X.509-SVIDs in seconds, if not the trust domain's.
    pub x509_svid_lifetime_s: Option<u64>,
    /// The lifetime of its JWT-SVIDs in seconds, if not the trust domain's.
    pub jwt_svid_lifetime_s: Option<u64>,
    /// Where its code was built from; empty when not said.
    pub repository: String,
    /// The only audiences of its JWT-SVIDs; any where there is none.
    pub audiences: Vec<String>,
    /// Whether it may hand on what it was granted.
    pub may_delegate: bool,
    /// Whether it may act for a person or another agent.
    pub may_act_for_others: bool,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// `file:line` where it is written, `template ID` when a template made it; empty when an operator added it.
    pub source: String,
}

impl TryFrom<proto::Entry> for EntryView {
    type Error = CallError;

    fn try_from(message: proto::Entry) -> Result<Self, CallError> {
        let proto::Entry { id, spec, source } = message;
        let proto::EntrySpec {
            spiffe_id,
            selectors,
            role,
            owner,
            hint,
            dns_names,
            x509_svid_lifetime,
            jwt_svid_lifetime,
            expires_at,
            federates_with,
            repository,
            audiences,
            never_delegates,
            never_acts_for_others,
        } = spec.ok_or(CallError::Malformed("spec"))?;
        let role = match proto::EntryRole::try_from(role) {
            Ok(proto::EntryRole::Agent) => "agent",
            Ok(proto::EntryRole::Service) => "service",
            Ok(proto::EntryRole::Unspecified) | Err(_) => return Err(CallError::Malformed("role")),
        };
        Ok(Self {
            id,
            spiffe_id,
            selectors,
            role,
            owner,
            hint,
            dns_names,
            federates_with,
            x509_svid_lifetime_s: seconds(x509_svid_lifetime),
            jwt_svid_lifetime_s: seconds(jwt_svid_lifetime),
            repository,
            audiences,
            may_delegate: !never_delegates,
            may_act_for_others: !never_acts_for_others,
            expires_at: expires_at.and_then(from_timestamp),
            source,
        })
    }
}
