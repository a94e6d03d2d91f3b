//! What operators hold clients and targets to, whatever an intent permits.
//!
//! A ceiling only ever takes away: it is one more set in the intersection that a token carries. Deliberately absent: where
//! ceilings are written, and rights that somebody would have by one.

use std::{collections::BTreeSet, time::Duration};

use marque_intent::Scope;
use marque_spiffe::{ClientSpiffeId, SpiffeId};

use crate::{ResourceServer, TokenServiceConfig, chaining::redeem::Within, issuing::Issuing};

/// The most that certain clients may ever hold. What is absent bounds nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCeiling {
    /// Whose ceiling it is.
    pub clients: ClientSpiffeId,
    /// The scopes.
    pub scopes: Option<BTreeSet<Scope>>,
    /// The audiences, compared as text.
    pub audiences: Option<BTreeSet<String>>,
    /// How long a token lives.
    pub max_token_lifetime: Option<Duration>,
}

/// The ceilings of one decision: of everybody who takes part in it, and of the targets that it comes to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ceilings<'a> {
    config: &'a TokenServiceConfig,
    client: &'a SpiffeId,
    actor: &'a SpiffeId,
    issuing: &'a Issuing<'a>,
    within: Option<&'a Within>,
}

impl<'a> Ceilings<'a> {
    /// Those of the client and of the agent that will hold the token; commonly they are one.
    pub(crate) const fn new(
        config: &'a TokenServiceConfig,
        client: &'a SpiffeId,
        actor: &'a SpiffeId,
        issuing: &'a Issuing<'a>,
    ) -> Self {
        Self { config, client, actor, issuing, within: None }
    }

    /// With those of another domain's grant.
    pub(crate) const fn within(self, within: Option<&'a Within>) -> Self {
        Self { within, ..self }
    }

    /// Whether both may speak to this audience at all, by a token of this kind: an authorization server of another domain is
    /// the audience of grants and never that of a token.
    pub(crate) fn permit_audience(&self, audience: &str) -> bool {
        let clients = self
            .of_clients()
            .filter_map(|ceiling| ceiling.audiences.as_ref())
            .all(|audiences| audiences.contains(audience));
        clients
            && self.issuing.permits_audience(audience, self.config)
            && self.within.is_none_or(|within| within.permits_audience(audience))
    }

    /// Whether both may have this scope, and every one of these audiences takes it.
    pub(crate) fn permit_scope(&self, scope: &Scope, audiences: &BTreeSet<String>) -> bool {
        let of_targets = self.of_targets(audiences).filter_map(|server| server.scopes.as_ref());
        let of_clients = self.of_clients().filter_map(|ceiling| ceiling.scopes.as_ref());
        let of_issuing = self.issuing.scopes().into_iter();
        let within = self.within.map(|within| &within.scopes).into_iter();
        of_clients
            .chain(of_targets)
            .chain(of_issuing)
            .chain(within)
            .all(|scopes| scopes.contains(scope))
    }

    /// How long a token for these audiences may live.
    pub(crate) fn max_token_lifetime(&self, audiences: &BTreeSet<String>) -> Duration {
        let of_targets = self.of_targets(audiences).filter_map(|server| server.max_token_lifetime);
        let of_clients = self.of_clients().filter_map(|ceiling| ceiling.max_token_lifetime);
        let of_issuing = self.issuing.max_lifetime();
        of_clients
            .chain(of_targets)
            .chain(of_issuing)
            .fold(self.config.max_token_lifetime, Duration::min)
    }

    /// Whether one of these audiences takes bound tokens only.
    pub(crate) fn want_binding(&self, audiences: &BTreeSet<String>) -> bool {
        self.of_targets(audiences).any(|server| server.binding_required)
    }

    /// Every ceiling that names one of the two. Who is named by none has none.
    fn of_clients(&self) -> impl Iterator<Item = &'a ClientCeiling> {
        let (client, actor) = (self.client, self.actor);
        let names = move |ceiling: &&ClientCeiling| {
            ceiling.clients.names(client) || ceiling.clients.names(actor)
        };
        self.config.clients.iter().filter(names)
    }

    fn of_targets(&self, audiences: &BTreeSet<String>) -> impl Iterator<Item = &'a ResourceServer> {
        self.config.resource_servers.iter().filter(|server| audiences.contains(&server.audience))
    }
}
