//! Cases of the negative list and lessons that are about chains of agents.

use marque_jose::Signer as _;
use serde_json::json;

use super::*;
use crate::{
    Act, ClientCeiling, MAX_ACT_DEPTH, OAuthErrorCode, TOKEN_TYPE_ID_TOKEN, TOKEN_TYPE_TXN_TOKEN,
    fixture::{LOGIN, Login, desk::AT_ONCE},
};

/// Everything may pass unchanged, as often as any playbook may say.
fn freely(terms: &mut GrantTerms) {
    let equal = Dimension::NARROWED_BY_DELEGATION.into_iter().collect();
    let depth = marque_intent::MAX_DELEGATION_DEPTH;
    terms.on_behalf = Some(OnBehalf { equal, ..behalf(depth, &[EVERYBODY]) });
}

fn with_actor(fields: Fields, token: &str, kind: &str) -> Fields {
    fields.set("actor_token", token).set("actor_token_type", kind)
}

impl Team {
    /// The request of the first agent on behalf of Alice.
    fn for_alice(&self) -> Fields {
        let token = self.rig.login.sign(&Login::alice());
        self.rig
            .fields()
            .set("subject_token", &token)
            .set("subject_token_type", TOKEN_TYPE_ID_TOKEN)
    }

    async fn refusal(&self, fields: &Fields) -> (&'static str, Option<&'static str>) {
        let error = self.exchange(fields).await.unwrap_err();
        (error.code().as_str(), error.denial().map(|denial| denial.as_str()))
    }

    /// How often a token can be handed on from here, each time to a new agent, and what the next one hears.
    async fn hops(&self, mut token: String) -> (usize, &'static str) {
        for hop in 0.. {
            let next = self.rig.own.id(&format!("/agent/hop-{hop}"));
            match self.exchange(&self.for_token(&next, &token)).await {
                Ok(handed_on) => token = handed_on,
                Err(error) => return (hop, error.denial().unwrap().as_str()),
            }
        }
        unreachable!("a chain ends")
    }
}

#[tokio::test]
async fn oauth_21_revoked_parent() {
    let team = team();
    let first = team.first().await;
    let second = team.second_of(&first).await;
    team.rig.revoke_token(&team.rig.svid(), &first).await.unwrap();
    let own = team.narrower(&team.rig.agent, &first, &[AUDIENCE], "secrets.read");
    let handed_on = team.narrower(&team.b, &first, &[AUDIENCE], "secrets.read");
    let child = team.narrower(&team.c, &second, &[AUDIENCE], "secrets.read");
    for fields in [own, handed_on, child] {
        assert_eq!(team.refusal(&fields).await, ("invalid_request", Some("grant_revoked")));
    }
}

#[tokio::test]
async fn oauth_21_actor_is_subject() {
    // Whoever acts for itself acts for nobody: its own SVID as the actor adds no `act`.
    let team = team();
    let svid = team.rig.svid();
    let own = with_actor(team.rig.fields(), &svid, TOKEN_TYPE_JWT);
    let first = team.exchange(&own).await.unwrap();
    assert_eq!(claims(&first).get("act"), None);
    let narrower = team.narrower(&team.rig.agent, &first, &[AUDIENCE], "secrets.read");
    let narrowed = team.exchange(&with_actor(narrower, &svid, TOKEN_TYPE_JWT)).await.unwrap();
    assert_eq!(claims(&narrowed).get("act"), None);
    // No subject token is its own actor.
    let itself = team.narrower(&team.b, &first, &[AUDIENCE], "secrets.read");
    let itself = with_actor(itself, &first, TOKEN_TYPE_JWT);
    assert_eq!(team.refusal(&itself).await, ("invalid_request", None));
    let person = team.rig.login.sign(&Login::alice());
    for kind in [TOKEN_TYPE_JWT, TOKEN_TYPE_ID_TOKEN] {
        let fields = with_actor(team.for_alice(), &person, kind);
        assert_eq!(team.refusal(&fields).await, ("invalid_request", None), "{kind}");
    }
    // And the root of a chain is not an actor further down.
    let team = team_with(
        |_| {},
        |terms| {
            freely(terms);
            terms.audiences.push(terms.agent.to_string());
        },
    );
    let first = team.first().await;
    let second = team.exchange(&team.for_token(&team.b, &first)).await.unwrap();
    let back = team.for_token(&team.rig.agent, &second);
    assert_eq!(team.refusal(&back).await, ("access_denied", Some("chain_invalid")));
}

#[tokio::test]
async fn oauth_21_may_act_mismatch() {
    // The claim of a token of ours: the playbook lets `c` act, and nobody else.
    let only_c = |terms: &mut GrantTerms| {
        terms.on_behalf = Some(behalf(1, &["spiffe://prod.example.org/agent/c"]));
    };
    let team = team_with(|_| {}, only_c);
    let first = team.first().await;
    assert_eq!(claims(&first)["may_act"]["sub"], json!(team.c));
    let fields = team.narrower(&team.b, &first, &[AUDIENCE], "secrets.read");
    assert_eq!(team.refusal(&fields).await, ("access_denied", Some("agent_not_allowed")));
    // It does not help to say that `c` is the actor, without the key of `c`.
    let svid = team.svid(&team.c);
    assert_eq!(
        team.refusal(&with_actor(fields, &svid, TOKEN_TYPE_JWT)).await,
        ("invalid_request", None)
    );
    // The claim of a person's token.
    for may_act in [json!({"sub": team.b}), json!({"sub": team.rig.agent, "iss": LOGIN})] {
        let mut alice = Login::alice();
        alice["may_act"] = may_act;
        let fields = team.for_alice().set("subject_token", &team.rig.login.sign(&alice));
        assert_eq!(team.refusal(&fields).await, ("invalid_request", None));
    }
}

#[tokio::test]
async fn oauth_21_act_too_deep() {
    let hops = |shape: &mut GrantTerms| {
        freely(shape);
        let next = |hop| format!("spiffe://prod.example.org/agent/hop-{hop}");
        shape.audiences.extend((0..=MAX_ACT_DEPTH).map(next));
    };
    let team = team_with(|_| {}, hops);
    // The first agent is the root and no actor: eight act for it, and no ninth.
    let first = team.first().await;
    assert_eq!(team.hops(first).await, (MAX_ACT_DEPTH, "agent_not_allowed"));
    // Of those who act for a person the first agent is one.
    let team = team_with(|_| {}, hops);
    let first = team.exchange(&team.for_alice()).await.unwrap();
    assert_eq!(claims(&first)["act"]["sub"], json!(team.rig.agent));
    assert_eq!(team.hops(first).await, (MAX_ACT_DEPTH - 1, "chain_too_deep"));
}

#[tokio::test]
async fn oauth_21_act_forged_in_a_token() {
    let team = team();
    let first = team.first().await;
    let second = team.second_of(&first).await;
    // Who signs a token says what is in it, and what was kept of it says who held it: the claim is no source of a chain.
    let mut said = claims(&second);
    said["act"] =
        json!({"sub": "spiffe://prod.example.org/agent/other", "iss": crate::fixture::ISSUER});
    let stranger = marque_testkit::ScratchSigner::generate(team.rig.signer.key_id().as_str());
    let forged = marque_jose::sign_compact(Some("at+jwt"), &said, &stranger).unwrap();
    let fields = team.narrower(&team.c, forged.expose_token(), &[AUDIENCE], "secrets.read");
    assert_eq!(team.refusal(&fields).await, ("invalid_request", None));
    let ours = marque_jose::sign_compact(Some("at+jwt"), &said, &*team.rig.signer).unwrap();
    let fields = team.narrower(&team.c, ours.expose_token(), &[AUDIENCE], "secrets.read");
    if let Ok(third) = team.exchange(&fields).await {
        let act: Act = serde_json::from_value(claims(&third)["act"].clone()).unwrap();
        assert_eq!((&act.sub, &act.act.unwrap().sub), (&team.c, &team.b));
    }
    // In a request it means nothing.
    let act = json!({"sub": team.d}).to_string();
    let fields = team.narrower(&team.c, &second, &[AUDIENCE], "secrets.read").set("act", &act);
    let third = claims(&team.exchange(&fields).await.unwrap());
    assert_eq!(third["act"]["sub"], json!(team.c));
}

/// Every path to a token, as a request of the agent that the ceiling is for.
async fn paths(team: &Team) -> Vec<(&'static str, Fields)> {
    let inline = json!([{"type": "marque_intent", "playbook": AT_ONCE,
        "parameters": {"service": "checkout"}, "ticket": "CHG-1842"}]);
    let first = team.first().await;
    let fields = team.rig.fields();
    vec![
        ("an intent", fields.clone()),
        ("a playbook", fields.clone().set("authorization_details", &inline.to_string())),
        ("a person", team.for_alice()),
        ("a token that is narrowed", team.for_token(&team.rig.agent, &first)),
        (
            "a transaction of an intent",
            fields
                .set("requested_token_type", TOKEN_TYPE_TXN_TOKEN)
                .set("audience", "prod.example.org"),
        ),
        (
            "a transaction of a token",
            team.for_token(&team.rig.agent, &first)
                .set("requested_token_type", TOKEN_TYPE_TXN_TOKEN)
                .set("audience", "prod.example.org"),
        ),
        ("a token that is handed on", team.for_token(&team.b, &first)),
    ]
}

#[tokio::test]
async fn keycloak_48104_every_path_to_a_token_goes_through_one_decision() {
    let team = team_with(
        |config| {
            config.clients = vec![ClientCeiling {
                clients: EVERYBODY.parse().unwrap(),
                scopes: Some(BTreeSet::from(["secrets.read".parse().unwrap()])),
                audiences: None,
                max_token_lifetime: Some(Duration::from_secs(30)),
            }];
        },
        |terms| {
            freely(terms);
            terms.uses = 8;
        },
    );
    let paths = paths(&team).await;
    for (path, fields) in &paths {
        let wide = fields.clone().set("scope", "secrets.read secrets.update");
        let error = team.exchange(&wide).await.expect_err(path);
        assert_eq!(error.code(), OAuthErrorCode::InvalidScope, "{path}");
        let token = team.exchange(&fields.clone().set("scope", "secrets.read")).await.expect(path);
        let said = claims(&token);
        assert_eq!(said["scope"], "secrets.read", "{path}");
        let lives = said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap();
        assert!(lives <= 30, "{path}: {lives}");
    }
    team.rig.kill(marque_intent::KillScope::Agent(team.rig.agent.clone()));
    for (path, fields) in &paths {
        let error =
            team.exchange(&fields.clone().set("scope", "secrets.read")).await.expect_err(path);
        let denial = error.denial().map(|denial| denial.as_str());
        assert_eq!(denial, Some("kill_switch_agent"), "{path}");
    }
}
