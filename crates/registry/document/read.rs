//! Reading a whole document: a line for each table, in whose own file it is read.

use std::path::Path;

use marque_spiffe::{Environment, TrustDomain};

use super::broker::brokers;
use super::federation::federations;
use super::{
    TrustDomainDocument, approvals, approver_login, attestation, audit, authorities,
    authorization_servers, bundles, chat, clients, decisions, denials, downstream, hosts,
    identities, keys, lifetimes, oidc_discovery, oidc_issuers, operators, playbooks, post_checks,
    resource_servers, ssf, ticket_systems, token_service, upstream, webhooks, workload_api,
};
use crate::fields::{Fields, Log, parse};
use crate::finding::Finding;

/// Reads `trust-domain.toml`; the document is there only when nothing is wrong.
pub(super) fn read(file: &Path, text: &str) -> Result<TrustDomainDocument, Vec<Finding>> {
    let mut log = Log::new(file, text);
    let document = parse(&mut log).and_then(|table| document(Fields::top(&table), &mut log));
    let findings = log.into_findings();
    match document {
        Some(document) if findings.is_empty() => Ok(document),
        _incomplete => Err(findings),
    }
}

fn document(mut top: Fields<'_, '_>, log: &mut Log<'_>) -> Option<TrustDomainDocument> {
    let name: Option<TrustDomain> = top.text("name", log);
    let environment: Option<Environment> = top.text("environment", log);
    let tenant = top.text("tenant", log);
    let lifetimes = top.table("lifetimes", log).and_then(|table| lifetimes::read(table, log));
    let hosts = top.table("issuer", log).and_then(|table| hosts::read(table, log));
    let tokens =
        top.table("tokens", log).and_then(|table| lifetimes::tokens(table, lifetimes, log));
    let token_service =
        token_service::read(&mut top, environment.unwrap_or(Environment::Production), log);
    let workload_api =
        workload_api::read(&mut top, environment.unwrap_or(Environment::Production), log);
    let operators = top.tables("operators", log).into_iter();
    let operators = operators.filter_map(|table| operators::read(table, log)).collect();
    let resource_servers = resource_servers::read(top.tables("resource_servers", log), log);
    let clients = clients::read(top.tables("clients", log), name.as_ref(), log);
    let federation = top.tables("federation", log);
    let federation = federations(federation, (name.as_ref(), environment), log);
    let bundle_endpoint = bundles::endpoint(&mut top, log);
    let bundle_fetching = bundles::fetching(&mut top, log);
    let oidc_discovery = oidc_discovery::read(&mut top, lifetimes.as_ref(), log);
    let limits = top.optional_table("limits", log).map(|table| super::limits::read(table, log));
    let grants = top.optional_table("grants", log).map(|table| super::grants::read(table, log));
    let identities = identities::read(&mut top, log);
    let keys = keys::read(&mut top, environment, log);
    let authorities = authorities::read(&mut top, log);
    let denials = denials::read(&mut top, log);
    let attestation = attestation::read(&mut top, log);
    let playbooks = playbooks::read(&mut top, log);
    let oidc_issuers = oidc_issuers::read(top.tables("oidc_issuers", log), environment, log);
    let taken = oidc_issuers.iter().map(|issuer| issuer.name().to_owned()).collect();
    let servers = top.tables("authorization_servers", log);
    let own = (name.as_ref(), environment);
    let authorization_servers = authorization_servers::read(servers, own, taken, log);
    let ticket_systems = ticket_systems::read(top.tables("ticket_systems", log), log);
    let brokers = brokers(top.tables("brokers", log), name.as_ref(), log);
    let has_login = top.has("approver_login");
    let approver_login = top.optional_table("approver_login", log);
    let approver_login =
        approver_login.and_then(|table| approver_login::read(table, environment, log));
    let webhooks = webhooks::read(top.tables("webhooks", log), environment, log);
    let (integrations, identities_of_chat) =
        (top.tables("chat_integrations", log), top.tables("chat_identities", log));
    let (chat_integrations, chat_identities) =
        chat::read(integrations, identities_of_chat, has_login, log);
    chat::own_secrets(&chat_integrations, &webhooks, log);
    let decisions = decisions::settings(&mut top, environment, log);
    let decision_points = decisions::points(top.tables("decision_points", log), log);
    let approvals = top.optional_table("approvals", log);
    let approvals = approvals.map(|table| approvals::read(table, log)).unwrap_or_default();
    let post_checks = post_checks::read(&mut top, log);
    let audit = top.optional_table("audit", log);
    let audit =
        audit.map(|table| audit::read(table, name.as_ref(), environment, log)).unwrap_or_default();
    let ssf_streams = ssf::streams(top.tables("ssf_streams", log), own, log);
    let ssf_transmitters = top.tables("ssf_transmitters", log);
    let ssf_transmitters = ssf::transmitters(ssf_transmitters, own, &oidc_issuers, log);
    let upstream = upstream::read(&mut top, own, log);
    let longest = lifetimes.map(|lifetimes| lifetimes.authority.as_duration());
    let downstream = downstream::read(&mut top, (name.as_ref(), authorities), longest, log);
    top.finish(log);
    Some(TrustDomainDocument {
        name: name?,
        environment: environment?,
        tenant: tenant?,
        lifetimes: lifetimes?,
        authorities,
        workload_api,
        token_service,
        hosts: hosts?,
        operators,
        resource_servers,
        clients,
        authorization_servers,
        brokers,
        max_access_token_lifetime: tokens?,
        federation,
        bundle_endpoint,
        bundle_fetching,
        oidc_discovery,
        limits: limits.unwrap_or_default(),
        grants: grants.unwrap_or_default(),
        identities,
        keys,
        denials,
        attestation: attestation?,
        oidc_issuers,
        ticket_systems,
        approver_login,
        chat_identities,
        chat_integrations,
        decision_points,
        decisions,
        playbooks,
        webhooks,
        approvals,
        post_checks,
        audit,
        ssf_streams,
        ssf_transmitters,
        upstream,
        downstream,
    })
}
