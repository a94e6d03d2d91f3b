//! Reading `[[ssf_streams]]` and `[[ssf_transmitters]]`.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::time::Duration;

use marque_spiffe::{BundleEndpointUrl, Environment, SpiffeIdPattern, TrustDomain};

use super::super::federation::Readable;
use super::super::issuer_keys::{self, Name, duration};
use super::super::oidc_issuers::{OidcIssuer, Text};
use super::{
    MAX_SSF_STREAMS, MAX_SSF_TRANSMITTERS, SsfDelivery, SsfEffect, SsfHeard, SsfStream, SsfTold,
    SsfTransmitter, WebhookUrl,
};
use crate::fields::{Fields, Lined, Log};

const MAX_LISTED: usize = 64;
const MAX_AGE: Duration = Duration::from_hours(7 * 24);
pub(super) const DEFAULT_AGE: Duration = Duration::from_hours(1);

struct Delivery(bool);

impl FromStr for Delivery {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "push" => Ok(Self(true)),
            "poll" => Ok(Self(false)),
            _ => Err("is neither `push` nor `poll`"),
        }
    }
}

impl FromStr for SsfTold {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "session-revoked" => Ok(Self::SessionRevoked),
            "credential-change" => Ok(Self::CredentialChange),
            _ => Err("is neither `session-revoked` nor `credential-change`"),
        }
    }
}

impl FromStr for SsfEffect {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "stop" => Ok(Self::Stop),
            "record" => Ok(Self::Record),
            _ => Err("is neither `stop` nor `record`"),
        }
    }
}

/// Reads `[[ssf_streams]]`.
pub(in crate::document) fn streams(
    tables: Vec<Fields<'_, '_>>,
    (own, environment): (Option<&TrustDomain>, Option<Environment>),
    log: &mut Log<'_>,
) -> Vec<SsfStream> {
    if let Some(table) = tables.get(MAX_SSF_STREAMS) {
        log.at(table.line(), format!("more than {MAX_SSF_STREAMS} tables [ssf_streams]"));
    }
    let mut names = BTreeSet::new();
    let read = |table| stream(table, (own, environment), &mut names, log);
    tables.into_iter().filter_map(read).collect()
}

fn stream(
    mut table: Fields<'_, '_>,
    (own, environment): (Option<&TrustDomain>, Option<Environment>),
    names: &mut BTreeSet<String>,
    log: &mut Log<'_>,
) -> Option<SsfStream> {
    let line = table.line();
    let name: Option<Name> = table.text("name", log);
    let audience: Option<Text> = table.text("audience", log);
    let pushes: Option<Delivery> = table.text("delivery", log);
    let endpoint: Option<WebhookUrl> = table.optional_text("endpoint", log);
    let ca_file: Option<Readable> = table.optional_text("ca_file", log);
    let secret_file: Option<Readable> = table.text("secret_file", log);
    let events = table.texts("events", log);
    let agents = patterns(&mut table, own, log);
    let audiences: Vec<Text> = table.texts("audiences", log);
    table.finish(log);
    let Name(name) = name?;
    if !names.insert(name.clone()) {
        log.at(line, "`name` in [ssf_streams] is used twice");
    }
    if audiences.len() > MAX_LISTED {
        log.at(line, format!("`audiences` in [ssf_streams] has at most {MAX_LISTED} entries"));
    }
    let delivery = match (pushes?, endpoint) {
        (Delivery(true), Some(endpoint)) => {
            if !endpoint.is_https() && environment != Some(Environment::NonProduction) {
                log.at(line, "`endpoint` in [ssf_streams] is https in production");
            }
            if endpoint.is_https() != ca_file.is_some() {
                let message = "`ca_file` in [ssf_streams] belongs to an https `endpoint`, and to each of them";
                log.at(line, message);
            }
            SsfDelivery::Push { endpoint, ca_file: ca_file.map(|Readable(file)| file) }
        }
        (Delivery(false), None) if ca_file.is_none() => SsfDelivery::Poll,
        (Delivery(_), _) => {
            let message = "[ssf_streams] needs an `endpoint` where `delivery` is \"push\", and has neither that nor a `ca_file` where it is \"poll\"";
            log.at(line, message);
            return None;
        }
    };
    Some(SsfStream {
        name,
        audience: audience?.0,
        delivery,
        secret_file: secret_file?.0,
        events: events.into_iter().collect(),
        agents,
        audiences: audiences.into_iter().map(|Text(audience)| audience).collect(),
    })
}

/// Reads `[[ssf_transmitters]]`; `people` are the issuers of ID tokens.
pub(in crate::document) fn transmitters(
    tables: Vec<Fields<'_, '_>>,
    (own, environment): (Option<&TrustDomain>, Option<Environment>),
    people: &[OidcIssuer],
    log: &mut Log<'_>,
) -> Vec<SsfTransmitter> {
    if let Some(table) = tables.get(MAX_SSF_TRANSMITTERS) {
        log.at(table.line(), format!("more than {MAX_SSF_TRANSMITTERS} tables [ssf_transmitters]"));
    }
    let mut names = BTreeSet::new();
    let read = |table| transmitter(table, (own, environment), people, &mut names, log);
    tables.into_iter().filter_map(read).collect()
}

fn transmitter(
    mut table: Fields<'_, '_>,
    (own, environment): (Option<&TrustDomain>, Option<Environment>),
    people: &[OidcIssuer],
    names: &mut BTreeSet<String>,
    log: &mut Log<'_>,
) -> Option<SsfTransmitter> {
    let line = table.line();
    let name: Option<Name> = table.text("name", log);
    let stated: Option<Lined<Environment>> = table.lined_text("environment", log);
    let issuer: Option<BundleEndpointUrl> = table.text("issuer", log);
    let audience: Option<Text> = table.text("audience", log);
    let keys = issuer_keys::read(&mut table, log);
    let secret_file: Option<Readable> = table.text("secret_file", log);
    let agents = patterns(&mut table, own, log);
    let persons: Vec<Text> = table.texts("persons", log);
    let max_age = duration(&mut table, "max_age", (DEFAULT_AGE, MAX_AGE), log);
    let effects = table.optional_table("effects", log).map(|table| effects(table, log));
    table.finish(log);
    let (Name(name), stated) = (name?, stated?);
    if environment.is_some_and(|own| own != stated.value) {
        let message = format!(
            "environment_boundary: `{name}` is of {}, and nobody's word crosses from one environment to the other",
            stated.value
        );
        log.at(stated.line, message);
        return None;
    }
    if !names.insert(name.clone()) {
        log.at(line, "`name` in [ssf_transmitters] is used twice");
    }
    if agents.is_empty() && persons.is_empty() {
        log.at(line, "[ssf_transmitters] needs `agents` or `persons`: it could stop nobody");
    }
    let mut known = BTreeMap::new();
    for Text(person) in persons {
        match people.iter().find(|issuer| issuer.name() == person) {
            Some(issuer) => drop(known.insert(issuer.issuer().to_owned(), person)),
            None => log.at(
                line,
                format!("`persons` in [ssf_transmitters]: there is no [[oidc_issuers]] `{person}`"),
            ),
        }
    }
    Some(SsfTransmitter {
        // A colon is in no name of an issuer.
        key_name: format!("ssf:{name}"),
        name,
        issuer: issuer?.as_str().to_owned(),
        audience: audience?.0,
        keys: keys?,
        secret_file: secret_file?.0,
        agents,
        persons: known,
        max_age: max_age?,
        effects: effects.unwrap_or_default(),
    })
}

fn effects(mut table: Fields<'_, '_>, log: &mut Log<'_>) -> BTreeMap<SsfHeard, SsfEffect> {
    let mut effects = BTreeMap::new();
    for heard in SsfHeard::ALL {
        if let Some(effect) = table.optional_text(heard.as_str(), log) {
            effects.insert(heard, effect);
        }
    }
    table.finish(log);
    effects
}

/// `agents`: patterns of the own trust domain.
fn patterns(
    table: &mut Fields<'_, '_>,
    own: Option<&TrustDomain>,
    log: &mut Log<'_>,
) -> Vec<SpiffeIdPattern> {
    let (line, name) = (table.line(), table.name().to_owned());
    let agents: Vec<SpiffeIdPattern> = table.texts("agents", log);
    if agents.len() > MAX_LISTED {
        log.at(line, format!("`agents` in {name} has at most {MAX_LISTED} entries"));
    }
    for agent in agents.iter().filter(|agent| own.is_some_and(|own| own != agent.trust_domain())) {
        log.at(line, format!("`agents` in {name}: `{agent}` is of another trust domain"));
    }
    agents
}
