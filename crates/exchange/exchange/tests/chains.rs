//! What tokens that derive from others say and are.

use marque_audit::EventKind;
use marque_intent::{DenialCode, KillScope};
use marque_jose::Signer as _;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::fixture::ISSUER;

fn acting(agent: &SpiffeId) -> Value {
    json!({"sub": agent, "iss": ISSUER})
}

#[tokio::test]
async fn oauth_2_18_a_token_that_was_handed_on_names_the_root_and_who_acts() {
    let team = team();
    let first = team.first().await;
    assert_eq!(claims(&first)["sub"], team.rig.agent.as_str());
    assert_eq!(claims(&first).get("act"), None);
    let second = team
        .exchange(&team.narrower(&team.b, &first, &[AUDIENCE], "secrets.read secrets.list"))
        .await
        .unwrap();
    let said = claims(&second);
    assert_eq!(said["sub"], team.rig.agent.as_str(), "the root never changes");
    assert_eq!((&said["client_id"], &said["act"]), (&json!(team.b), &acting(&team.b)));
    assert_eq!(
        (&said["aud"], &said["scope"]),
        (&json!(AUDIENCE), &json!("secrets.read secrets.list"))
    );
    assert_eq!(said["intent"], claims(&first)["intent"]);
    assert!(said["exp"].as_i64() <= claims(&first)["exp"].as_i64());
    let record = team.record(&second);
    assert_eq!(record.parent, Some(team.record(&first).id));
    assert_eq!((&record.client, record.through), (&team.b, vec![team.rig.agent.clone()]));
    let kept = team.rig.store.kept();
    let event = kept.events.last().unwrap();
    assert_eq!(event.kind, EventKind::TokenDerived);
    assert_eq!(event.actor.as_deref(), Some(team.b.as_str()));
    assert_eq!(event.token_id.as_deref(), Some(record.id.as_str()));
    assert_eq!(kept.intents[&team.rig.intent].uses().len(), 1, "no further use is spent");
}

#[tokio::test]
async fn m_79_policies_decide_on_a_token_that_derives_from_another_too() {
    let team = team();
    let first = team.first().await;
    let fields = team.narrower(&team.b, &first, &[AUDIENCE], "secrets.read secrets.list");
    let asked = || team.rig.desk.asked.lock().unwrap();
    let before = asked().uses.len();
    asked().uses_refused = Some(DenialCode::DriftDetected);
    let error = team.exchange(&fields).await.unwrap_err();
    assert_eq!(error.denial(), Some(DenialCode::DriftDetected), "{error:?}");
    assert_eq!(asked().uses.len(), before + 1);
    let last = team.rig.store.kept().events.last().unwrap().kind;
    assert_eq!(last, EventKind::TokenRefused);
    asked().uses_refused = None;
    team.exchange(&fields).await.unwrap();
}

#[tokio::test]
async fn oauth_2_9_three_hops_nest_newest_first_and_each_is_narrower() {
    let team = team();
    let third = team.third().await;
    let fourth =
        team.exchange(&team.narrower(&team.d, &third, &[AUDIENCE], "secrets.read")).await.unwrap();
    let said = claims(&fourth);
    let mut act = acting(&team.d);
    act["act"] = acting(&team.c);
    act["act"]["act"] = acting(&team.b);
    assert_eq!((&said["act"], &said["sub"]), (&act, &json!(team.rig.agent)));
    assert_eq!((&said["aud"], &said["scope"]), (&json!(AUDIENCE), &json!("secrets.read")));
    let record = team.record(&fourth);
    assert_eq!(record.through, [team.c.clone(), team.b.clone(), team.rig.agent.clone()]);
    // The playbook lets it be handed on three times, and that was the third.
    assert_eq!(said["rights"].get("on_behalf"), None);
}

#[tokio::test]
async fn oauth_2_11_a_holder_narrows_its_own_token_and_nobody_acts() {
    let team = team_with(|_| {}, |terms| terms.on_behalf = None);
    let first = team.first().await;
    let fields = team.narrower(&team.rig.agent, &first, &[SECOND_AUDIENCE], "secrets.read");
    let narrowed = team.exchange(&fields).await.unwrap();
    let said = claims(&narrowed);
    assert_eq!(said.get("act"), None);
    assert_eq!((&said["aud"], &said["scope"]), (&json!(SECOND_AUDIENCE), &json!("secrets.read")));
    let record = team.record(&narrowed);
    assert_eq!((record.through.len(), record.parent), (0, Some(team.record(&first).id)));
    // Narrowed once more: from the token, and not from the grant.
    let wider = team.for_token(&team.rig.agent, &narrowed).set("scope", "secrets.update");
    assert_eq!(team.exchange(&wider).await.unwrap_err().code().as_str(), "invalid_scope");
    // It asks for nothing and gets what the parent has, which a delegation would not.
    let same = team.exchange(&team.for_token(&team.rig.agent, &narrowed)).await.unwrap();
    assert_eq!(claims(&same)["scope"], "secrets.read");
}

#[tokio::test]
async fn oauth_2_19_a_jwt_is_what_it_is_by_either_of_its_names() {
    let team = team();
    let first = team.first().await;
    let named = team.narrower(&team.b, &first, &[AUDIENCE], "secrets.read");
    team.exchange(&named.set("subject_token_type", TOKEN_TYPE_JWT)).await.unwrap();
}

#[tokio::test]
async fn oauth_2_17_may_act_lets_the_one_agent_of_the_playbook_exchange_without_being_an_audience()
{
    let only = "spiffe://prod.example.org/agent/c";
    let team = team_with(
        |_| {},
        |terms| {
            terms.on_behalf = Some(behalf(1, &[only]));
            terms.audiences.truncate(2);
        },
    );
    let first = team.first().await;
    assert_eq!(claims(&first)["may_act"], acting(&team.c));
    let mine = team.narrower(&team.c, &first, &[AUDIENCE], "secrets.read");
    let second = team.exchange(&mine).await.unwrap();
    assert_eq!(claims(&second)["act"], acting(&team.c));
    assert_eq!(claims(&second).get("may_act"), None, "it may not be handed on any further");
    let other = team.narrower(&team.b, &first, &[AUDIENCE], "secrets.read");
    assert_eq!(team.exchange(&other).await.unwrap_err().code().as_str(), "invalid_request");
}

#[tokio::test]
async fn oauth_2_the_holder_gets_a_token_for_another_agent_bound_to_that_agents_key() {
    let team = team();
    let first = team.first().await;
    let holder = HolderKey::generate().unwrap();
    let fields = team
        .narrower(&team.rig.agent, &first, &[AUDIENCE], "secrets.read")
        .set("actor_token", &team.wit(&team.b, &holder))
        .set("actor_token_type", TOKEN_TYPE_JWT);
    let second = team.exchange(&fields).await.unwrap();
    let said = claims(&second);
    assert_eq!((&said["client_id"], &said["act"]), (&json!(team.b), &acting(&team.b)));
    let key = crate::Thumbprint::new(holder.public_key().thumbprint());
    assert_eq!(said["cnf"], json!({"jkt": key}));
}

#[tokio::test]
async fn a_wit_svid_lives_as_long_as_its_own_ceiling_and_no_longer() {
    let team = team_with(
        |config| {
            config.max_assertion_lifetime = Duration::from_secs(300);
            config.max_wit_svid_lifetime = Duration::from_secs(3600);
        },
        |_| {},
    );
    let first = team.first().await;
    // Ten seconds are the leeway.
    for (seconds, good) in [(3610, true), (3611, false)] {
        let holder = HolderKey::generate().unwrap();
        let end = START + Duration::from_secs(seconds);
        let wit = team.rig.own.wit_svid(&team.b, &holder, end);
        let fields = team
            .narrower(&team.rig.agent, &first, &[AUDIENCE], "secrets.read")
            .set("actor_token", wit.expose_token())
            .set("actor_token_type", TOKEN_TYPE_JWT);
        assert_eq!(team.exchange(&fields).await.is_ok(), good, "{seconds}");
    }
}

#[tokio::test]
async fn oauth_2_14_a_token_lives_no_longer_than_any_of_its_parents() {
    let team = team();
    let first = team.first().await;
    let end = |token: &str| claims(token)["exp"].as_i64().unwrap() - START.as_second();
    assert_eq!(end(&first), 240);
    team.rig.clock.advance(Duration::from_secs(100));
    let narrower = |client| team.narrower(client, &first, &[AUDIENCE], "secrets.read");
    // The subject ends first, though the playbook gives every token four minutes.
    assert_eq!(end(&team.exchange(&narrower(&team.b)).await.unwrap()), 240);
    let short = team.rig.own.jwt_svid(&team.b, &[ISSUER], START + Duration::from_secs(150));
    let fields = narrower(&team.b).authenticated(short.expose_token());
    assert_eq!(end(&team.exchange(&fields).await.unwrap()), 150, "the client's SVID");
    let actor = team.rig.own.jwt_svid(&team.b, &[ISSUER], START + Duration::from_secs(130));
    let fields = narrower(&team.b)
        .set("actor_token", actor.expose_token())
        .set("actor_token_type", TOKEN_TYPE_JWT);
    assert_eq!(end(&team.exchange(&fields).await.unwrap()), 130, "the actor's SVID");
}

#[tokio::test]
async fn keycloak_52691_the_path_is_that_of_the_token_and_not_of_the_parameters() {
    let team = team();
    let first = team.first().await;
    // Without any actor parameter another agent is still an actor: it gets no token as the first agent.
    let fields = team.narrower(&team.b, &first, &[AUDIENCE], "secrets.read");
    let said = claims(&team.exchange(&fields).await.unwrap());
    assert_eq!((&said["act"], &said["client_id"]), (&acting(&team.b), &json!(team.b)));
    // With its own SVID as the actor it is the same.
    let actor = team.svid(&team.b);
    let fields = fields.set("actor_token", &actor).set("actor_token_type", TOKEN_TYPE_JWT);
    assert_eq!(claims(&team.exchange(&fields).await.unwrap())["act"], acting(&team.b));
    // And an approved intent beside the token is no way around it.
    let fields = fields.intent(&team.rig.intent);
    assert_eq!(claims(&team.exchange(&fields).await.unwrap())["act"], acting(&team.b));
}

#[tokio::test]
async fn a_kill_of_anybody_in_the_chain_ends_the_token_and_what_could_come_of_it() {
    for killed in 0..3 {
        let team = team();
        let third = team.third().await;
        let agent = [&team.rig.agent, &team.b, &team.c][killed].clone();
        team.rig.kill(KillScope::Agent(agent));
        let gateway = team.svid(&team.rig.own.id("/service/k8s-gateway"));
        let answer = team.rig.introspect(&gateway, &third).await.unwrap();
        assert_eq!(answer, json!({"active": false}));
        let next = team.narrower(&team.d, &third, &[AUDIENCE], "secrets.read");
        let error = team.exchange(&next).await.unwrap_err();
        assert_eq!(error.denial().map(|code| code.as_str()), Some("kill_switch_agent"));
    }
}

#[tokio::test]
async fn a_kill_while_the_token_is_written_leaves_none() {
    for late in [false, true] {
        let team = team();
        let first = team.first().await;
        let scope = KillScope::Agent(team.b.clone());
        if late {
            team.rig.store.kept().later_kill = Some(scope);
        } else {
            team.rig.store.kept().late_kill = Some(scope);
        }
        let fields = team.narrower(&team.b, &first, &[AUDIENCE], "secrets.read");
        let error = team.exchange(&fields).await.unwrap_err();
        assert_eq!(error.denial().map(|code| code.as_str()), Some("kill_switch_agent"), "{late}");
    }
}

#[tokio::test]
async fn a_token_that_another_service_signed_is_none_of_ours() {
    let team = team();
    let first = team.first().await;
    let stranger = marque_testkit::ScratchSigner::generate(team.rig.signer.key_id().as_str());
    let forged = marque_jose::sign_compact(Some("at+jwt"), &claims(&first), &stranger).unwrap();
    let fields = team.narrower(&team.b, forged.expose_token(), &[AUDIENCE], "secrets.read");
    assert_eq!(team.exchange(&fields).await.unwrap_err().code().as_str(), "invalid_request");
}

/// What one agent asks for: which of the audiences, which of the scopes, and who it is.
fn hops() -> impl Strategy<Value = Vec<(u8, u8, usize)>> {
    proptest::collection::vec((0_u8..32, 0_u8..16, 0_usize..4), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn oauth_2_12_no_sequence_of_exchanges_gains_anything(hops in hops()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let team = team();
            let agents = [&team.rig.agent, &team.b, &team.c, &team.d];
            let scopes = ["secrets.update", "secrets.read", "secrets.list", "secrets.watch"];
            let audiences: Vec<String> = [AUDIENCE, SECOND_AUDIENCE].map(str::to_owned).into_iter()
                .chain([&team.b, &team.c, &team.d].map(ToString::to_string)).collect();
            let mut token = team.first().await;
            for (audience, scope, who) in hops {
                let named = |bits: u8| move |(index, _): &(usize, _)| bits >> index & 1 == 1;
                let wanted: Vec<&str> = audiences.iter().map(String::as_str).enumerate()
                    .filter(|(index, _)| audience >> index & 1 == 1).map(|(_, name)| name).collect();
                let scope: Vec<&str> =
                    scopes.into_iter().enumerate().filter(named(scope)).map(|(_, name)| name).collect();
                let fields = team.narrower(agents[who], &token, &wanted, &scope.join(" "));
                let Ok(next) = team.exchange(&fields).await else { continue };
                let (child, parent) = (claims(&next), claims(&token));
                assert_eq!(child["sub"], parent["sub"]);
                assert_eq!(child["intent"], parent["intent"]);
                assert!(is_subset(&child["aud"], &parent["aud"]), "{child} {parent}");
                assert!(is_subset(&child["scope"], &parent["scope"]), "{child} {parent}");
                assert!(child["exp"].as_i64() <= parent["exp"].as_i64());
                token = next;
            }
        });
    }
}
