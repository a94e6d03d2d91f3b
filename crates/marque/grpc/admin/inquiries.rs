//! Why: what a process attests as and what that earns it, who was refused lately, which identities are shared.
//!
//! Operators are shown selectors here, which are in no log. Absent on purpose: changing anything, and every rule; what is
//! said here is what the rooms say.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use marque_attest::{Attestation, Fingerprint, Found, ProcessPin, Survey};
use marque_intent::kill::StopPoint;
use marque_registry::{Derivation, Entry, Missing, NearEntry, Snapshot};
use marque_spiffe::{Selector, SelectorSet, SpiffeId};
use marque_workload::IdentityUser;
use tonic::{Request, Response, Status};

use super::super::connection::peer_of;
use super::super::proto::admin as proto;
use super::super::time::{from_timestamp, timestamp};
use super::door::AdminDoor;
use super::{AdminService, messages};
use crate::error;
use crate::identities::{
    Denied, IDENTITY_SHARED, SharedIdentity, SharedIdentityHolder, looks, user_of,
};

/// How many entries that came close are named.
const NEAR: usize = 5;

impl AdminService {
    pub(super) async fn explain(
        &self,
        request: Request<proto::ExplainProcessRequest>,
    ) -> Result<Response<proto::ExplainProcessResponse>, Status> {
        self.operator("ExplainProcess", &request).await?;
        let peer = peer_of(&request)?;
        let proto::ExplainProcessRequest { pid } = request.into_inner();
        let same = peer.process().shares_pid_namespace();
        if !same.map_err(|failed| error::explain::process(peer.pid(), &failed))? {
            return Err(error::explain::foreign_pid_namespace());
        }
        if pid < 1 {
            return Err(error::missing_field("pid"));
        }
        let failed = |failed| error::explain::process(pid, &failed);
        let process = ProcessPin::open(pid).map_err(failed)?;
        let inner = !process.shares_pid_namespace().map_err(failed)?;
        let survey = self.gate.attestors().survey(&process).await.map_err(failed)?;
        let explained = Explained { door: &*self.door, process: &process, survey: &survey };
        Ok(Response::new(explained.response(inner)))
    }

    pub(super) async fn denials(
        &self,
        request: Request<proto::ListDenialsRequest>,
    ) -> Result<Response<proto::ListDenialsResponse>, Status> {
        self.operator("ListDenials", &request).await?;
        let proto::ListDenialsRequest {} = request.into_inner();
        let recent = self.door.denials().recent();
        let denials =
            recent.into_iter().map(|denied| refused_caller(denied, &*self.door)).collect();
        Ok(Response::new(proto::ListDenialsResponse { denials }))
    }

    pub(super) async fn shared_identities(
        &self,
        request: Request<proto::ListSharedIdentitiesRequest>,
    ) -> Result<Response<proto::ListSharedIdentitiesResponse>, Status> {
        self.operator("ListSharedIdentities", &request).await?;
        let proto::ListSharedIdentitiesRequest { since } = request.into_inner();
        let since = match since {
            None => Timestamp::MIN,
            Some(since) => from_timestamp(since).ok_or_else(|| error::missing_field("since"))?,
        };
        let shared = self.door.sharing().report(since).await.map_err(error::log)?;
        let registry = self.door.registry();
        let seen: BTreeSet<SpiffeId> = shared.iter().map(|one| one.spiffe_id.clone()).collect();
        let unseen = declared(&registry).filter(|id| !seen.contains(id));
        let unseen: BTreeSet<SpiffeId> = unseen.collect();
        let shared = shared.into_iter().chain(unseen.into_iter().map(SharedIdentity::of));
        let identities = shared.map(|identity| {
            let entries = registry.entries_by_spiffe_id(&identity.spiffe_id);
            shared_identity(identity, entries)
        });
        Ok(Response::new(proto::ListSharedIdentitiesResponse { identities: identities.collect() }))
    }
}

/// One process, and everything that decides what it gets.
struct Explained<'a> {
    door: &'a dyn AdminDoor,
    process: &'a ProcessPin,
    survey: &'a Survey,
}

impl Explained<'_> {
    fn response(&self, inner_pid_namespace: bool) -> proto::ExplainProcessResponse {
        let (registry, selectors) = (self.door.registry(), self.survey.selectors());
        let earned = registry.entries_for(&selectors);
        let kills = self.door.kill_state();
        let stopping = kills.kills.iter().filter(|kill| {
            let alone = kills.only(kill);
            let stops =
                |entry: &Entry| alone.stops_agent(entry.spiffe_id(), StopPoint::Issue).is_some();
            earned.iter().any(|entry| stops(entry))
        });
        let settings = *self.door.document().workload_api();
        let fingerprint = |attestation: &Attestation| looks(&attestation.selectors).to_string();
        proto::ExplainProcessResponse {
            pid: self.process.pid(),
            uid: self.process.uid(),
            gid: self.process.gid(),
            executable_visible: self.process.executable_is_visible(),
            attestors: self.survey.found.iter().map(finding).collect(),
            fingerprint: self.survey.attestation.as_ref().map(fingerprint).unwrap_or_default(),
            earned: earned.iter().map(|entry| self.earned(entry, &selectors)).collect(),
            near: near(registry.near(&selectors, NEAR)),
            templates: templates(&registry, &selectors),
            profiles: Some(proto::Profiles {
                x509_svid: settings.x509_svid,
                jwt_svid: settings.jwt_svid,
                wit_svid: settings.wit_svid,
                envoy_sds: settings.envoy_sds,
            }),
            kills: stopping.map(messages::kill).collect(),
            inner_pid_namespace,
        }
    }

    fn earned(&self, entry: &Entry, selectors: &SelectorSet) -> proto::EarnedEntry {
        let (code, why) = self.withheld(entry, selectors).unwrap_or_default();
        proto::EarnedEntry {
            entry: Some(messages::entry(entry)),
            withheld_code: code.to_owned(),
            withheld: why,
        }
    }

    /// Why the process does not get what it has earned.
    fn withheld(&self, entry: &Entry, selectors: &SelectorSet) -> Option<(&'static str, String)> {
        if self.survey.attestation.is_none() {
            return Some((
                "attestation_failed",
                "an attestor failed, and nobody is attested in part".to_owned(),
            ));
        }
        if let Some(code) = self.door.kill_state().stops_agent(entry.spiffe_id(), StopPoint::Issue)
        {
            return Some(("killed", format!("stopped by the kill switch (`{}`)", code.as_str())));
        }
        if entry.has_expired(self.door.now()) {
            let end = entry.expires_at().map(|end| end.to_string()).unwrap_or_default();
            return Some(("expired", format!("the entry ended at {end}")));
        }
        let user = user_of(self.process, selectors);
        let sharing = self.door.sharing();
        let (holder, until) = sharing.held_against(entry.spiffe_id(), &user)?;
        let until = until.map_or_else(
            || "for as long as its stream is open, and a window after that".to_owned(),
            |until| format!("until {until} if it does not come again"),
        );
        let pids = &holder.pids;
        Some((IDENTITY_SHARED, format!("held by {} (pids {pids:?}) {until}", holder.fingerprint)))
    }
}

fn finding(found: &Found) -> proto::AttestorFinding {
    let Found { kind, selectors } = found;
    let (selectors, error) = match selectors {
        Ok(selectors) => (selectors.iter().map(ToString::to_string).collect(), String::new()),
        Err(failed) => (Vec::new(), error::told(failed)),
    };
    proto::AttestorFinding { kind: (*kind).to_owned(), selectors, error }
}

fn templates(registry: &Snapshot, selectors: &SelectorSet) -> Vec<proto::TemplateFinding> {
    let finding = |Derivation { template, outcome }: Derivation| {
        let (given, limit) = (registry.instances_of(template.id()), template.max_identities());
        let (spiffe_id, refused_code, refused) = match outcome {
            Ok(made) => {
                let id = made.spiffe_id();
                let is_full = usize::try_from(limit).is_ok_and(|limit| given >= limit);
                if is_full && registry.entry_by_spiffe_id(id).is_none() {
                    let why =
                        format!("it has given {given} identities, which is as many as it may");
                    (id.to_string(), error::TEMPLATE_FULL, why)
                } else {
                    (id.to_string(), "", String::new())
                }
            }
            Err(refusal) => (String::new(), refusal.code(), refusal.to_string()),
        };
        proto::TemplateFinding {
            template: template.id().to_string(),
            pattern: template.spiffe_id().to_string(),
            spiffe_id,
            refused_code: refused_code.to_owned(),
            refused,
            given: given as u64,
            limit,
        }
    };
    registry.derive(selectors).into_iter().map(finding).collect()
}

fn near(near: Vec<NearEntry>) -> Vec<proto::NearEntry> {
    let missing = |Missing { selector, found }: Missing| proto::MissingSelector {
        selector: selector.to_string(),
        found: found.iter().map(Selector::to_string).collect(),
    };
    near.into_iter()
        .map(|NearEntry { entry, missing: lacks }| proto::NearEntry {
            entry: Some(messages::entry(&entry)),
            missing: lacks.into_iter().map(missing).collect(),
        })
        .collect()
}

fn refused_caller(denied: Denied, door: &dyn AdminDoor) -> proto::RefusedCaller {
    let Denied { at, method, code, user, selectors, times } = denied;
    let IdentityUser { fingerprint, process, uid } = user;
    proto::RefusedCaller {
        at: Some(timestamp(at)),
        method: method.to_owned(),
        code: code.to_owned(),
        pid: process.map_or(0, |process| process.pid()),
        uid,
        fingerprint: Fingerprint::to_string(&fingerprint),
        near: near(door.registry().near(&selectors, NEAR)),
        selectors: selectors.iter().map(ToString::to_string).collect(),
        times,
    }
}

/// The identities that entries say they share.
fn declared(registry: &Snapshot) -> impl Iterator<Item = SpiffeId> + '_ {
    let sharing = registry.entries().iter().filter(|entry| entry.sharing().is_some());
    sharing.map(|entry| entry.spiffe_id().clone())
}

fn shared_identity(identity: SharedIdentity, entries: &[Arc<Entry>]) -> proto::SharedIdentity {
    let SharedIdentity { spiffe_id, holders, records, refusals, last_record, now } = identity;
    proto::SharedIdentity {
        spiffe_id: spiffe_id.to_string(),
        owner: entries.first().map(|entry| entry.owner().to_owned()).unwrap_or_default(),
        holders: holders.into_iter().map(holder).collect(),
        records,
        refusals,
        last_record_at: last_record.map(timestamp),
        now,
        declared: entries.iter().filter_map(|entry| declaration(entry)).collect(),
    }
}

fn declaration(entry: &Entry) -> Option<proto::DeclaredSharing> {
    Some(proto::DeclaredSharing {
        entry_id: entry.id().to_string(),
        owner: entry.owner().to_owned(),
        reason: entry.sharing()?.to_string(),
    })
}

fn holder(holder: SharedIdentityHolder) -> proto::IdentityHolder {
    let SharedIdentityHolder {
        fingerprint,
        uid,
        pids,
        first_seen,
        last_seen,
        present,
        refused,
        selectors,
    } = holder;
    proto::IdentityHolder {
        fingerprint,
        uid,
        pids,
        first_seen_at: Some(timestamp(first_seen)),
        last_seen_at: Some(timestamp(last_seen)),
        present,
        refused,
        selectors,
    }
}
