//! Ceilings of clients and policies of targets, in the intersection that a token carries.

use marque_intent::Scope;
use serde_json::json;

use super::*;
use crate::{ClientCeiling, ResourceServer};

fn scopes(names: &[&str]) -> BTreeSet<Scope> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn ceiling(clients: &str) -> ClientCeiling {
    ClientCeiling {
        clients: clients.parse().unwrap(),
        scopes: None,
        audiences: None,
        max_token_lifetime: None,
    }
}

fn target(audience: &str) -> ResourceServer {
    ResourceServer::new(audience.to_owned(), BTreeSet::new())
}

async fn issued(team: &Team, fields: &Fields) -> Value {
    claims(&team.exchange(fields).await.unwrap())
}

#[tokio::test]
async fn oauth_2_12_a_clients_ceiling_takes_away_and_never_adds() {
    let team = team_with(
        |config| {
            config.clients = vec![ClientCeiling {
                scopes: Some(scopes(&["secrets.read", "secrets.list", "admin"])),
                audiences: Some(BTreeSet::from([
                    AUDIENCE.to_owned(),
                    "https://x.example.org".to_owned(),
                ])),
                max_token_lifetime: Some(Duration::from_secs(30)),
                ..ceiling("spiffe://prod.example.org/agent/rotator")
            }];
        },
        |_| {},
    );
    let said = issued(&team, &team.rig.fields()).await;
    assert_eq!(
        (&said["aud"], &said["scope"]),
        (&json!(AUDIENCE), &json!("secrets.read secrets.list"))
    );
    assert_eq!(said["exp"].as_i64().unwrap() - START.as_second(), 30);
    let fields = team.rig.fields();
    for (name, value, code) in [
        ("scope", "secrets.update", "invalid_scope"),
        ("scope", "admin", "invalid_scope"),
        ("audience", SECOND_AUDIENCE, "invalid_target"),
        ("audience", "https://x.example.org", "invalid_target"),
    ] {
        let error = team.exchange(&fields.clone().set(name, value)).await.unwrap_err();
        assert_eq!(error.code().as_str(), code, "{value}");
    }
}

#[tokio::test]
async fn oauth_2_12_nothing_left_is_a_refusal_and_no_empty_token() {
    let none = |change: fn(&mut ClientCeiling)| {
        let mut ceiling = ceiling(EVERYBODY);
        change(&mut ceiling);
        team_with(move |config| config.clients = vec![ceiling], |_| {})
    };
    let team = none(|ceiling| ceiling.scopes = Some(BTreeSet::new()));
    let error = team.exchange(&team.rig.fields()).await.unwrap_err();
    assert_eq!(error.code().as_str(), "invalid_scope");
    let team = none(|ceiling| ceiling.audiences = Some(BTreeSet::new()));
    let error = team.exchange(&team.rig.fields()).await.unwrap_err();
    assert_eq!(error.code().as_str(), "invalid_target");
}

#[tokio::test]
async fn every_ceiling_that_names_a_client_counts_and_no_other() {
    let team = team_with(
        |config| {
            config.clients = vec![
                ClientCeiling {
                    scopes: Some(scopes(&["secrets.read", "secrets.list"])),
                    ..ceiling(EVERYBODY)
                },
                ClientCeiling {
                    scopes: Some(scopes(&["secrets.list", "secrets.update"])),
                    ..ceiling("spiffe://prod.example.org/agent/rotator")
                },
                ClientCeiling {
                    scopes: Some(BTreeSet::new()),
                    ..ceiling("spiffe://prod.example.org/agent/somebody-else")
                },
            ];
        },
        |_| {},
    );
    assert_eq!(issued(&team, &team.rig.fields()).await["scope"], "secrets.list");
}

#[tokio::test]
async fn oauth_2_12_a_target_takes_its_own_scopes_alone_and_its_own_time() {
    let team = team_with(
        |config| {
            config.resource_servers = vec![
                ResourceServer {
                    scopes: Some(scopes(&["secrets.read", "secrets.update"])),
                    max_token_lifetime: Some(Duration::from_secs(60)),
                    ..target(AUDIENCE)
                },
                ResourceServer { scopes: Some(scopes(&["dns.read"])), ..target(SECOND_AUDIENCE) },
            ];
        },
        |terms| terms.uses = 9,
    );
    let said = issued(&team, &team.rig.fields().set("audience", AUDIENCE)).await;
    assert_eq!(said["scope"], "secrets.update secrets.read");
    assert_eq!(said["exp"].as_i64().unwrap() - START.as_second(), 60);
    // A target of which nothing is said takes whatever the intent permits.
    let said = issued(&team, &team.rig.fields().set("audience", team.b.as_str())).await;
    assert_eq!(said["scope"], "secrets.update secrets.read secrets.list secrets.watch");
    for fields in [
        // No scope that every one of them takes.
        team.rig.fields(),
        team.rig.fields().set("audience", SECOND_AUDIENCE),
        team.rig.fields().set("audience", AUDIENCE).set("scope", "secrets.list"),
    ] {
        let error = team.exchange(&fields).await.unwrap_err();
        assert_eq!(error.code().as_str(), "invalid_scope");
    }
}

#[tokio::test]
async fn a_ceiling_of_the_new_holder_counts_when_a_token_is_handed_on() {
    let team = team_with(
        |config| {
            config.clients = vec![ClientCeiling {
                scopes: Some(scopes(&["secrets.read"])),
                ..ceiling("spiffe://prod.example.org/agent/b")
            }];
        },
        |_| {},
    );
    let first = team.first().await;
    let asked = team.for_token(&team.b, &first).set("audience", AUDIENCE);
    assert_eq!(issued(&team, &asked).await["scope"], "secrets.read");
    let more = asked.set("scope", "secrets.read secrets.list");
    assert_eq!(team.exchange(&more).await.unwrap_err().code().as_str(), "invalid_scope");
    // The holder that exchanges for that agent gets it no more than the agent would get.
    let wit = team.wit(&team.b, &HolderKey::generate().unwrap());
    let for_another = team
        .for_token(&team.rig.agent, &first)
        .set("audience", AUDIENCE)
        .set("actor_token", &wit)
        .set("actor_token_type", TOKEN_TYPE_JWT);
    assert_eq!(issued(&team, &for_another).await["scope"], "secrets.read");
}

#[tokio::test]
async fn a_target_that_takes_bound_tokens_only_gets_no_other() {
    let team = team_with(
        |config| {
            config.resource_servers =
                vec![ResourceServer { binding_required: true, ..target(AUDIENCE) }];
        },
        |terms| terms.uses = 2,
    );
    let error = team.exchange(&team.rig.fields()).await.unwrap_err();
    assert_eq!(error.denial().map(|code| code.as_str()), Some("sender_constraint_failed"));
    team.exchange(&team.rig.fields().set("audience", SECOND_AUDIENCE)).await.unwrap();
}
