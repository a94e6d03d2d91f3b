use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use marque_spiffe::{Environment, TrustDomain};

use super::broker::brokers;
use super::federation::federations;
use super::{
    HostSettings, LifetimeSettings, OperatorPrincipal, OperatorRule, TrustDomainDocument,
    approvals, approver_login, attestation, audit, authorities, authorization_servers, bundles,
    chat, clients, decisions, denials, downstream, identities, keys, oidc_discovery, oidc_issuers,
    playbooks, post_checks, resource_servers, ssf, ticket_systems, token_service, upstream,
    webhooks, workload_api,
};
use crate::fields::{Fields, Lined, Log, parse};
use crate::finding::Finding;
use crate::lifetime::Lifetime;

const MAX_AUTHORITY: Duration = Duration::from_hours(3_650 * 24);
const MAX_X509_SVID: Duration = Duration::from_hours(24);
const MAX_JWT_SVID: Duration = Duration::from_hours(1);
const MAX_REFRESH_HINT: Duration = Duration::from_hours(24);
pub(super) const MAX_ACCESS_TOKEN: Duration = Duration::from_hours(1);

/// An X.509-SVID at most this part of its authority's life is never cut short by a rotation that
/// starts when a sixth is left.
const SVIDS_PER_AUTHORITY: u32 = 6;

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
    let lifetimes = top.table("lifetimes", log).and_then(|table| lifetimes(table, log));
    let hosts = top.table("issuer", log).and_then(|table| hosts(table, log));
    let tokens = top.table("tokens", log).and_then(|table| tokens(table, lifetimes, log));
    let token_service =
        token_service::read(&mut top, environment.unwrap_or(Environment::Production), log);
    let workload_api =
        workload_api::read(&mut top, environment.unwrap_or(Environment::Production), log);
    let operators = top.tables("operators", log).into_iter();
    let operators = operators.filter_map(|table| operator(table, log)).collect();
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

fn lifetimes(mut table: Fields<'_, '_>, log: &mut Log<'_>) -> Option<LifetimeSettings> {
    let authority = lifetime(&mut table, "authority", MAX_AUTHORITY, log);
    let x509_svid = lifetime(&mut table, "x509_svid", MAX_X509_SVID, log);
    let jwt_svid = lifetime(&mut table, "jwt_svid", MAX_JWT_SVID, log);
    let wit_svid = optional_lifetime(&mut table, "wit_svid", MAX_X509_SVID, log);
    let refresh_hint = lifetime(&mut table, "refresh_hint", MAX_REFRESH_HINT, log);
    table.finish(log);
    let authority = authority?;
    let svids = [
        ("x509_svid", x509_svid.as_ref()),
        ("jwt_svid", jwt_svid.as_ref()),
        ("wit_svid", wit_svid.as_ref()),
    ];
    for (name, svid) in svids {
        if let Some(svid) = svid.filter(|svid| {
            svid.value.as_duration().saturating_mul(SVIDS_PER_AUTHORITY)
                > authority.value.as_duration()
        }) {
            let message = format!("`{name}` in [lifetimes] must be at most a sixth of `authority`");
            log.at(svid.line, message);
        }
    }
    let (x509_svid, jwt_svid, refresh_hint) = (x509_svid?, jwt_svid?, refresh_hint?);
    if let Some(most) = too_long_for_rotation(refresh_hint.value, authority.value) {
        log.at(refresh_hint.line, most);
    }
    Some(LifetimeSettings {
        authority: authority.value,
        x509_svid: x509_svid.value,
        jwt_svid: jwt_svid.value,
        wit_svid: wit_svid.unwrap_or(x509_svid).value,
        refresh_hint: refresh_hint.value,
    })
}

/// The next key is prepared when half of the authority's life is left and signs when a sixth is, or 30 and 7 days: between
/// the two it is published for three times the refresh hint, counted in whole seconds.
fn too_long_for_rotation(refresh_hint: Lifetime, authority: Lifetime) -> Option<String> {
    let day = Duration::from_hours(24);
    let authority = authority.as_duration();
    let published = (authority / 2).min(day * 30).saturating_sub((authority / 6).min(day * 7));
    let longest = published.saturating_sub(Duration::from_secs(1)).as_secs() / 3;
    if refresh_hint.as_duration() <= Duration::from_secs(longest) {
        return None;
    }
    Some(match longest {
        0 => "`authority` in [lifetimes] is too short: its next key would sign before three times `refresh_hint` after it \
              was published; give `authority` at least 12s"
            .to_owned(),
        longest => format!(
            "`refresh_hint` in [lifetimes] is too long for `authority`: the next key signs before three times as long after it \
             was published; give it at most {longest}s, or a longer `authority`"
        ),
    })
}

fn hosts(mut table: Fields<'_, '_>, log: &mut Log<'_>) -> Option<HostSettings> {
    let listen: Option<SocketAddr> = table.text("listen", log);
    let url: Option<String> = table.optional_text("url", log);
    table.finish(log);
    Some(HostSettings { listen: listen?, url })
}

/// An access token outlives the key that signed it, which stays published for that long: not so long that keys pile up.
fn tokens(
    mut table: Fields<'_, '_>,
    lifetimes: Option<LifetimeSettings>,
    log: &mut Log<'_>,
) -> Option<Lifetime> {
    let max_lifetime = lifetime(&mut table, "max_lifetime", MAX_ACCESS_TOKEN, log);
    table.finish(log);
    if let (Some(max_lifetime), Some(lifetimes)) = (&max_lifetime, lifetimes)
        && max_lifetime.value.as_duration().saturating_mul(SVIDS_PER_AUTHORITY)
            > lifetimes.authority.as_duration()
    {
        let message =
            "`max_lifetime` in [tokens] must be at most a sixth of `authority` in [lifetimes]";
        log.at(max_lifetime.line, message);
    }
    max_lifetime.map(|field| field.value)
}

fn lifetime(
    table: &mut Fields<'_, '_>,
    key: &'static str,
    limit: Duration,
    log: &mut Log<'_>,
) -> Option<Lined<Lifetime>> {
    let field = table.lined_text(key, log)?;
    within(field, key, limit, log)
}

/// As [`lifetime`], for a field that may be absent.
pub(super) fn optional_lifetime(
    table: &mut Fields<'_, '_>,
    key: &'static str,
    limit: Duration,
    log: &mut Log<'_>,
) -> Option<Lined<Lifetime>> {
    let field = table.optional_lined_text(key, log)?;
    within(field, key, limit, log)
}

fn within(
    field: Lined<Lifetime>,
    key: &'static str,
    limit: Duration,
    log: &mut Log<'_>,
) -> Option<Lined<Lifetime>> {
    if field.value.as_duration() <= limit {
        return Some(field);
    }
    let limit = Lifetime::try_from(limit).map_or_else(|e| e.to_string(), |l| l.to_string());
    log.at(field.line, format!("`{key}` must be at most {limit}"));
    None
}

fn operator(mut table: Fields<'_, '_>, log: &mut Log<'_>) -> Option<OperatorRule> {
    let user: Option<Name> = table.optional_text("user", log);
    let uid = table.optional_number("uid", log);
    let groups: Vec<Name> = table.texts("groups", log);
    let persons: Vec<Name> = table.texts("persons", log);
    let emails: Vec<Address> = table.texts("emails", log);
    let line = table.line();
    table.finish(log);
    let principal = match (user, uid) {
        (Some(Name(user)), None) => OperatorPrincipal::User(user),
        (None, Some(uid)) => OperatorPrincipal::Uid(uid),
        _both_or_none => {
            log.at(line, "[operators] needs exactly one of `user` and `uid`");
            return None;
        }
    };
    let groups = groups.into_iter().map(|Name(group)| group).collect();
    let persons = persons.into_iter().map(|Name(person)| person).collect();
    let emails = emails.into_iter().map(|Address(email)| email).collect();
    Some(OperatorRule { principal, groups, persons, emails })
}

/// A mailbox: a name with one `@` in it.
struct Address(String);

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Name(address) = text.parse()?;
        let parts = address.split_once('@');
        if !parts
            .is_some_and(|(user, host)| !user.is_empty() && !host.is_empty() && !host.contains('@'))
        {
            return Err("is not an address such as `alice@example.org`");
        }
        Ok(Self(address))
    }
}

/// A user or group name.
struct Name(String);

impl FromStr for Name {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = |c: char| c.is_control() || c.is_whitespace();
        if text.is_empty() || text.len() > 256 || text.contains(refused) {
            return Err("is not a name of 1 to 256 bytes without blanks");
        }
        Ok(Self(text.to_owned()))
    }
}
