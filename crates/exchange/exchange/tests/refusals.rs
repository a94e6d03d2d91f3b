//! Exchanges of tokens that are refused, each by its name.

mod widenings;

use marque_intent::{GrantTerms, IntentId};
use marque_jose::sign_compact;
use serde_json::json;

use self::widenings::widenings;
use super::*;
use crate::{Confirmation, TOKEN_TYPE_ID_TOKEN, Thumbprint, fixture::is_plain};

/// A refusal: its name, the grant, what is done before, the request, and what the client is told.
struct Refused {
    name: &'static str,
    shape: fn(&mut GrantTerms),
    spoil: fn(&Team, &str),
    ask: fn(&Team, &str) -> Fields,
    code: &'static str,
    denial: Option<&'static str>,
}

fn nothing(_: &mut GrantTerms) {}
fn unspoiled(_: &Team, _: &str) {}
fn good(team: &Team, token: &str) -> Fields {
    team.narrower(&team.b, token, &[AUDIENCE], "secrets.read")
}

const BASE: Refused = Refused {
    name: "",
    shape: nothing,
    spoil: unspoiled,
    ask: good,
    code: "invalid_request",
    denial: None,
};

fn change(team: &Team, token: &str, change: impl FnOnce(&mut TokenRecord)) {
    let id = team.record(token).id;
    change(team.rig.store.kept().tokens.get_mut(&id).unwrap());
}

/// The same token with other claims, by the key of the service.
fn reworded(team: &Team, token: &str, reword: impl FnOnce(&mut Value)) -> String {
    let mut claims = claims(token);
    reword(&mut claims);
    sign_compact(Some("at+jwt"), &claims, &*team.rig.signer).unwrap().expose_token().to_owned()
}

fn with_actor(fields: Fields, token: &str) -> Fields {
    fields.set("actor_token", token).set("actor_token_type", TOKEN_TYPE_JWT)
}

/// Who may not have it at all.
fn parties() -> Vec<Refused> {
    let stranger = Some("grant_not_bound_to_session");
    vec![
        Refused {
            name: "a_stranger",
            ask: |team, token| {
                team.narrower(&team.rig.own.id("/agent/x"), token, &[AUDIENCE], "secrets.read")
            },
            denial: stranger,
            ..BASE
        },
        Refused {
            name: "an_agent_that_is_no_audience_any_more",
            ask: |team, token| team.narrower(&team.d, token, &[AUDIENCE], "secrets.read"),
            shape: |terms| drop(terms.audiences.pop()),
            denial: stranger,
            ..BASE
        },
        Refused {
            name: "a_playbook_that_hands_nothing_on",
            shape: |terms| terms.on_behalf = None,
            code: "access_denied",
            denial: Some("agent_not_allowed"),
            ..BASE
        },
        Refused {
            name: "an_agent_that_the_playbook_does_not_name",
            shape: |terms| {
                terms.on_behalf = Some(behalf(3, &["spiffe://prod.example.org/agent/c"]));
            },
            code: "access_denied",
            denial: Some("agent_not_allowed"),
            ..BASE
        },
        Refused {
            name: "an_actor_of_another_trust_domain",
            shape: |terms| {
                terms.audiences.push("spiffe://partner.example.org/agent/b".to_owned());
                terms.on_behalf = Some(behalf(3, &["spiffe://partner.example.org/agent/*"]));
            },
            ask: |team, token| {
                let id = team.rig.federated.id("/agent/b");
                good(team, token).authenticated(&team.rig.svid_of(&team.rig.federated, &id))
            },
            code: "access_denied",
            denial: Some("trust_domain_mismatch"),
            ..BASE
        },
        Refused {
            name: "may_act_names_another",
            ask: |team, token| {
                let c = team.c.to_string();
                let token = reworded(team, token, |claims| claims["may_act"] = json!({"sub": c}));
                good(team, &token)
            },
            code: "access_denied",
            denial: Some("agent_not_allowed"),
            ..BASE
        },
        Refused {
            name: "a_killed_client",
            spoil: |team, _| team.rig.kill(marque_intent::KillScope::Agent(team.b.clone())),
            code: "access_denied",
            denial: Some("kill_switch_agent"),
            ..BASE
        },
    ]
}

/// Actor tokens.
fn actors() -> Vec<Refused> {
    vec![
        Refused {
            name: "the_jwt_svid_of_another_agent_as_actor",
            ask: |team, token| with_actor(good(team, token), &team.svid(&team.c)),
            ..BASE
        },
        Refused {
            name: "a_token_as_actor",
            ask: |team, token| with_actor(good(team, token), token),
            ..BASE
        },
        Refused {
            name: "a_forged_actor",
            ask: |team, token| {
                let forged = team.rig.svid_of(&team.rig.federated, &team.b);
                with_actor(good(team, token), &forged)
            },
            ..BASE
        },
        Refused {
            name: "an_actor_without_a_type",
            ask: |team, token| good(team, token).set("actor_token", &team.svid(&team.b)),
            ..BASE
        },
        Refused {
            name: "another_actor_by_who_is_not_the_holder",
            ask: |team, token| {
                let wit = team.wit(&team.c, &HolderKey::generate().unwrap());
                with_actor(good(team, token), &wit)
            },
            denial: Some("grant_not_bound_to_session"),
            ..BASE
        },
        Refused {
            name: "an_expired_actor",
            ask: |team, token| {
                let svid = team.rig.own.jwt_svid(&team.b, &[crate::fixture::ISSUER], START);
                with_actor(good(team, token), svid.expose_token())
            },
            ..BASE
        },
    ]
}

/// Tokens that are no longer what they were.
fn ends() -> Vec<Refused> {
    vec![
        Refused {
            name: "a_revoked_parent",
            spoil: |team, token| change(team, token, |record| record.revoked_at = Some(START)),
            denial: Some("grant_revoked"),
            ..BASE
        },
        Refused {
            name: "an_expired_parent",
            spoil: |team, _| team.rig.clock.advance(Duration::from_secs(240)),
            denial: Some("grant_expired"),
            ..BASE
        },
        Refused {
            name: "a_parent_whose_only_use_was_made",
            spoil: |team, token| {
                change(team, token, |record| {
                    record.single_use = true;
                    record.used_at = Some(START);
                });
            },
            denial: Some("grant_consumed"),
            ..BASE
        },
        Refused {
            name: "a_revoked_intent",
            spoil: |team, _| team.rig.revoke(),
            denial: Some("grant_revoked"),
            ..BASE
        },
        Refused {
            name: "a_completed_intent",
            spoil: |team, _| team.rig.complete(),
            denial: Some("grant_completed"),
            ..BASE
        },
        Refused {
            name: "a_bound_parent_without_its_key",
            spoil: |team, token| {
                change(team, token, |record| {
                    record.confirmation = Some(Confirmation::Jkt(Thumbprint::new([7; 32])));
                });
            },
            denial: Some("sender_constraint_failed"),
            ..BASE
        },
        Refused {
            name: "a_record_of_another_client",
            spoil: |team, token| change(team, token, |record| record.client = team.b.clone()),
            ..BASE
        },
        Refused {
            name: "a_token_of_which_nothing_is_kept",
            spoil: |team, token| {
                let id = team.record(token).id;
                team.rig.store.kept().tokens.remove(&id);
            },
            ..BASE
        },
    ]
}

/// What does not fit what it is said to be.
fn types() -> Vec<Refused> {
    vec![
        Refused {
            name: "a_token_said_to_be_an_id_token",
            ask: |team, token| good(team, token).set("subject_token_type", TOKEN_TYPE_ID_TOKEN),
            ..BASE
        },
        Refused {
            name: "an_svid_said_to_be_an_access_token",
            ask: |team, _| team.rig.fields().set("subject_token_type", TOKEN_TYPE_ACCESS_TOKEN),
            ..BASE
        },
        Refused {
            name: "an_svid_said_to_be_an_id_token",
            ask: |team, _| team.rig.fields().set("subject_token_type", TOKEN_TYPE_ID_TOKEN),
            ..BASE
        },
        Refused {
            name: "an_svid_signed_as_an_access_token",
            ask: |team, token| {
                let signer = team.rig.own.signer();
                let dressed = sign_compact(Some("at+jwt"), &claims(token), &**signer).unwrap();
                good(team, dressed.expose_token())
            },
            ..BASE
        },
        Refused {
            name: "a_token_dressed_as_an_svid",
            ask: |team, token| {
                let dressed = sign_compact(Some("JWT"), &claims(token), &*team.rig.signer).unwrap();
                good(team, dressed.expose_token()).set("subject_token_type", TOKEN_TYPE_JWT)
            },
            ..BASE
        },
        Refused {
            name: "an_svid_without_an_intent",
            ask: |team, _| team.rig.fields().without("authorization_details"),
            ..BASE
        },
        Refused {
            name: "a_transaction_token_of_a_token",
            ask: |team, token| {
                good(team, token).set("requested_token_type", "urn:example:something-else")
            },
            ..BASE
        },
    ]
}

#[tokio::test]
async fn oauth_2_every_refusal_of_a_token_as_subject_has_its_code() {
    for table in [parties(), actors(), widenings(), ends(), types()] {
        for Refused { name, shape, spoil, ask, code, denial } in table {
            let team = team_with(|_| {}, shape);
            let first = team.first().await;
            let before = team.rig.store.kept().tokens.len();
            spoil(&team, &first);
            let error = team.exchange(&ask(&team, &first)).await.expect_err(name);
            let told = (error.code().as_str(), error.denial().map(|denial| denial.as_str()));
            assert_eq!(told, (code, denial), "{name}: {error:?}");
            assert!(is_plain(&error), "{name}");
            assert!(team.rig.store.kept().tokens.len() <= before, "{name}: nothing was issued");
        }
    }
}

#[tokio::test]
async fn every_refusal_about_a_token_of_ours_is_in_the_log_with_its_intent() {
    let team = team();
    let first = team.first().await;
    let fields = good(&team, &first).set("scope", "admin");
    team.exchange(&fields).await.unwrap_err();
    let kept = team.rig.store.kept();
    let event = kept.events.last().unwrap();
    assert_eq!(event.intent.as_deref(), Some(team.rig.intent.as_str()));
    assert_eq!(event.agent.as_ref(), Some(&team.b));
    assert_eq!(event.code.as_deref(), Some("exceeds_parent_scope"));
}

#[tokio::test]
async fn to_a_stranger_a_live_token_and_a_dead_one_are_alike() {
    let team = team();
    let first = team.first().await;
    let stranger = team.narrower(&team.rig.own.id("/agent/x"), &first, &[AUDIENCE], "secrets.read");
    let live = team.exchange(&stranger).await.unwrap_err();
    change(&team, &first, |record| record.revoked_at = Some(START));
    let dead = team.exchange(&stranger).await.unwrap_err();
    assert_eq!(live.to_json(), dead.to_json());
}

#[tokio::test]
async fn oauth_2_18_no_agent_is_handed_a_token_that_it_had_before() {
    // The first agent is an audience of its own token; it holds what the second one derives from.
    let team = team_with(|_| {}, |terms| terms.audiences.push(terms.agent.to_string()));
    let first = team.first().await;
    let audiences = [AUDIENCE, team.rig.agent.as_str()];
    let second = team
        .exchange(&team.narrower(&team.b, &first, &audiences, "secrets.read secrets.list"))
        .await
        .unwrap();
    let again = team.narrower(&team.rig.agent, &second, &[AUDIENCE], "secrets.read");
    let error = team.exchange(&again).await.unwrap_err();
    assert_eq!(error.denial().map(|code| code.as_str()), Some("chain_invalid"));
}

#[tokio::test]
async fn oauth_2_18_a_token_is_handed_on_as_often_as_the_playbook_says_and_not_once_more() {
    let team = team_with(|_| {}, |terms| terms.on_behalf = Some(behalf(2, &[EVERYBODY])));
    let third = team.third().await;
    let fourth = team.narrower(&team.d, &third, &[AUDIENCE], "secrets.read");
    let error = team.exchange(&fourth).await.unwrap_err();
    assert_eq!(error.code().as_str(), "access_denied");
    assert_eq!(error.denial().map(|code| code.as_str()), Some("agent_not_allowed"));
}

#[tokio::test]
async fn what_the_playbook_lets_pass_unchanged_may_pass_unchanged() {
    let both = [Dimension::Audiences, Dimension::Scopes];
    let team = team_with(|_| {}, move |terms| terms.on_behalf = Some(equal(&both[1..])));
    let first = team.first().await;
    let scopes_pass = team.for_token(&team.b, &first).set("audience", AUDIENCE);
    team.exchange(&scopes_pass).await.unwrap();
    let error = team.exchange(&team.for_token(&team.b, &first)).await.unwrap_err();
    assert_eq!(error.code().as_str(), "invalid_target");
}
