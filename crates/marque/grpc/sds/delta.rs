//! DeltaSecrets: only what changed of what the client has subscribed to.
//!
//! A name that there is nothing for is reported as removed, at once and once: the client need not wait for it, and gets it
//! when it comes. A name that is subscribed to again is sent again. What a client refused is not sent again before it
//! changes.

use std::collections::{BTreeMap, BTreeSet};

use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource as Delta,
};
use futures::stream::BoxStream;
use marque_workload::X509Update;
use tonic::{Status, Streaming};

use super::super::answers::Answers;
use super::caller::{Caller, Updates};
use super::resources::{Resource, Resources, Verification, version_of};
use super::stream::{WILDCARD, verification};
use super::{SECRET_TYPE, check_count, check_name, check_type, secrets};

/// The answers to one client.
pub(super) fn converse(
    caller: Caller,
    requests: Streaming<DeltaDiscoveryRequest>,
) -> BoxStream<'static, Result<DeltaDiscoveryResponse, Status>> {
    let conversation = Conversation {
        caller,
        requests,
        updates: Updates::none(),
        subscribed: None,
        verification: Verification::default(),
        held: BTreeMap::new(),
        nonce: 0,
        rejected: None,
    };
    conversation.stream()
}

struct Conversation {
    caller: Caller,
    requests: Streaming<DeltaDiscoveryRequest>,
    updates: Updates,
    /// `None` until the client has spoken.
    subscribed: Option<Subscribed>,
    verification: Verification,
    /// What the client was sent, by name: the version, or `None` where it was told that there is nothing.
    held: BTreeMap<String, Option<String>>,
    nonce: u64,
    /// The last nonce whose response the client refused.
    rejected: Option<String>,
}

#[derive(Debug, Default)]
struct Subscribed {
    all: bool,
    names: BTreeSet<String>,
}

impl Answers for Conversation {
    type Answer = DeltaDiscoveryResponse;

    /// The next response; `None` when the client has nothing more to say.
    async fn next(&mut self) -> Result<Option<DeltaDiscoveryResponse>, Status> {
        loop {
            tokio::select! {
                request = self.requests.message() => {
                    let Some(request) = request? else { return Ok(None) };
                    self.caller.asks_again()?;
                    if self.heed(request)? {
                        self.updates = self.caller.subscribe().await?;
                    }
                }
                update = self.updates.next(&self.caller) => {
                    if let Some(response) = self.changes(&update?) {
                        return Ok(Some(response));
                    }
                }
            }
        }
    }
}

impl Conversation {
    /// Whether the request subscribes to anything.
    fn heed(&mut self, request: DeltaDiscoveryRequest) -> Result<bool, Status> {
        check_type(&request.type_url)?;
        if let Some(detail) = &request.error_detail
            && self.rejected.as_ref() != Some(&request.response_nonce)
        {
            self.caller.rejected(&request.response_nonce, detail);
            self.rejected = Some(request.response_nonce);
        }
        let verification = verification(request.node.as_ref()).unwrap_or(self.verification);
        let mut is_new = std::mem::replace(&mut self.verification, verification) != verification;
        let is_first = self.subscribed.is_none();
        let subscribed = self.subscribed.get_or_insert_default();
        if is_first {
            check_count(request.initial_resource_versions.len())?;
            let held = request.initial_resource_versions.into_iter();
            self.held = held.map(|(name, version)| (name, Some(version))).collect();
            // As with other types, a client that begins without a name wants all.
            subscribed.all = request.resource_names_subscribe.is_empty();
            is_new = true;
        }
        for name in request.resource_names_unsubscribe {
            if name == WILDCARD {
                subscribed.all = false;
            } else {
                subscribed.names.remove(&name);
                self.held.remove(&name);
            }
        }
        for name in request.resource_names_subscribe {
            check_name(&name)?;
            is_new = true;
            if name == WILDCARD {
                subscribed.all = true;
                continue;
            }
            if !is_first {
                self.held.remove(&name);
            }
            subscribed.names.insert(name);
            check_count(subscribed.names.len())?;
        }
        if !subscribed.all {
            // What nobody asks for any more is not missed.
            self.held.retain(|name, _| subscribed.names.contains(name));
        }
        Ok(is_new)
    }

    /// What the client does not know yet, if there is anything.
    fn changes(&mut self, update: &X509Update) -> Option<DeltaDiscoveryResponse> {
        let Subscribed { all, names } = self.subscribed.as_ref()?;
        let resources = Resources::new(update, self.verification);
        let everything = all.then(|| resources.all()).into_iter().flatten();
        let found: BTreeMap<_, _> = everything
            .chain(names.iter().filter_map(|name| resources.named(name)))
            .map(|resource| (resource.name.clone(), (resource.version(), resource)))
            .collect();
        let versions = found.iter().map(|(name, (version, _))| (name.as_str(), version.as_str()));
        let system_version_info = version_of(versions);

        let gone: BTreeSet<_> = self.held.keys().chain(names).cloned().collect();
        let gone = gone.into_iter().filter(|name| !found.contains_key(name));
        let removed: Vec<_> = gone.filter(|name| self.held.get(name) != Some(&None)).collect();
        for name in &removed {
            self.held.insert(name.clone(), None);
        }
        let mut changed = Vec::new();
        for (name, (version, resource)) in found {
            let known = self.held.get(&name).and_then(Option::as_ref);
            if known != Some(&version) {
                self.held.insert(name, Some(version.clone()));
                changed.push(delta(resource, version));
            }
        }
        if changed.is_empty() && removed.is_empty() {
            return None;
        }
        self.nonce += 1;
        Some(DeltaDiscoveryResponse {
            system_version_info,
            resources: changed,
            type_url: SECRET_TYPE.to_owned(),
            removed_resources: removed,
            nonce: self.nonce.to_string(),
            ..DeltaDiscoveryResponse::default()
        })
    }
}

fn delta(resource: Resource<'_>, version: String) -> Delta {
    Delta {
        name: resource.name.clone(),
        version,
        resource: Some(secrets::secret(resource)),
        ..Delta::default()
    }
}
