//! The rules of token exchange (specs/oauth.md 2), each through the token service's own door.

use serde_json::json;

use super::*;
use crate::{
    OAuthErrorCode::{AccessDenied, InvalidRequest, InvalidTarget},
    fixture::{ISSUER, Login},
};

const OTHER_TYPES: [&str; 6] = [
    "urn:ietf:params:oauth:token-type:refresh_token",
    "urn:ietf:params:oauth:token-type:saml1",
    "urn:ietf:params:oauth:token-type:saml2",
    "urn:ietf:params:oauth:token-type:jwt_spiffe",
    "jwt",
    "URN:IETF:PARAMS:OAUTH:TOKEN-TYPE:JWT",
];

#[tokio::test]
async fn oauth_2_1_a_resource_is_an_absolute_uri_and_targets_may_be_repeated() {
    let team = team();
    let resource = "k8s://eu-west-1/ns/ingress/secret/web-tls";
    let fields = team.rig.fields();
    let both = fields
        .clone()
        .add("audience", AUDIENCE)
        .add("audience", team.b.as_str())
        .add("resource", SECOND_AUDIENCE)
        .add("resource", resource);
    let said = claims(&team.exchange(&both).await.unwrap());
    assert_eq!(said["aud"], json!([AUDIENCE, SECOND_AUDIENCE, team.b]));
    assert_eq!(said["rights"]["resources"], json!([resource]));
    for relative in ["/ns/ingress", "ns/ingress", "//gw.prod.example.org/k8s"] {
        let refused = team.exchange(&fields.clone().set("resource", relative)).await.unwrap_err();
        assert_eq!(refused.code(), InvalidTarget, "{relative}");
    }
    let fragment = format!("{AUDIENCE}#x");
    let refused = team.exchange(&fields.set("resource", &fragment)).await.unwrap_err();
    assert_eq!(refused.code(), InvalidTarget);
}

#[tokio::test]
async fn oauth_2_2_a_subject_token_and_its_type_are_demanded() {
    let team = team();
    for name in ["subject_token", "subject_token_type"] {
        for fields in [team.rig.fields().without(name), team.rig.fields().set(name, "")] {
            assert_eq!(team.exchange(&fields).await.unwrap_err().code(), InvalidRequest, "{name}");
        }
    }
}

#[tokio::test]
async fn oauth_2_3_an_actor_token_and_its_type_come_together() {
    let team = team();
    let (fields, svid) = (team.rig.fields(), team.rig.svid());
    for (name, value) in [("actor_token", svid.as_str()), ("actor_token_type", TOKEN_TYPE_JWT)] {
        let alone = fields.clone().set(name, value);
        assert_eq!(team.exchange(&alone).await.unwrap_err().code(), InvalidRequest, "{name}");
    }
    let both = fields.set("actor_token", &svid).set("actor_token_type", TOKEN_TYPE_JWT);
    team.exchange(&both).await.unwrap();
}

#[tokio::test]
async fn oauth_2_4_a_jwt_svid_is_a_jwt_and_of_no_other_type() {
    let team = team();
    let fields = team.rig.fields();
    let id_token = "urn:ietf:params:oauth:token-type:id_token";
    for kind in OTHER_TYPES.into_iter().chain([TOKEN_TYPE_ACCESS_TOKEN, id_token]) {
        let as_subject = fields.clone().set("subject_token_type", kind);
        let error = team.exchange(&as_subject).await.unwrap_err();
        assert_eq!(error.code(), InvalidRequest, "{kind}");
        let as_actor =
            fields.clone().set("actor_token", &team.rig.svid()).set("actor_token_type", kind);
        let error = team.exchange(&as_actor).await.unwrap_err();
        assert_eq!(error.code(), InvalidRequest, "{kind}");
    }
    team.exchange(&fields.set("subject_token_type", TOKEN_TYPE_JWT)).await.unwrap();
}

#[tokio::test]
async fn oauth_2_5_an_answer_has_every_member_that_is_due() {
    let team = team();
    let first = team.rig.exchange(&team.rig.fields()).await.unwrap();
    let token = first.access_token().expose_token().to_owned();
    let narrower = team.narrower(&team.b, &token, &[AUDIENCE], "secrets.read");
    let second = team.rig.exchange(&narrower).await.unwrap().expose_json();
    for (answer, scope) in [
        (first.expose_json(), "secrets.update secrets.read secrets.list secrets.watch"),
        (second, "secrets.read"),
    ] {
        assert!(answer["access_token"].is_string());
        assert_eq!(answer["issued_token_type"], TOKEN_TYPE_ACCESS_TOKEN);
        assert_eq!((&answer["token_type"], &answer["expires_in"]), (&json!("Bearer"), &json!(240)));
        assert_eq!(answer["scope"], scope);
    }
}

#[tokio::test]
async fn oauth_2_6_no_answer_has_a_refresh_token() {
    let team = team();
    let first = team.rig.exchange(&team.rig.fields()).await.unwrap();
    let token = first.access_token().expose_token().to_owned();
    let narrower = team.narrower(&team.b, &token, &[AUDIENCE], "secrets.read");
    let second = team.rig.exchange(&narrower).await.unwrap();
    for answer in [first.expose_json(), second.expose_json()] {
        assert_eq!(answer.get("refresh_token"), None);
    }
    let refresh = "urn:ietf:params:oauth:token-type:refresh_token";
    let asked = team.rig.fields().set("requested_token_type", refresh);
    assert_eq!(team.exchange(&asked).await.unwrap_err().code(), InvalidRequest);
}

#[tokio::test]
async fn oauth_2_7_a_token_that_is_unacceptable_for_any_reason_is_an_invalid_request() {
    let team = team();
    let first = team.first().await;
    let svid = team.svid(&team.b);
    let foreign = team.rig.svid_of(&team.rig.undeclared, &team.rig.undeclared.id("/agent/b"));
    let expired = team.rig.own.jwt_svid(&team.b, &[ISSUER], START).expose_token().to_owned();
    let elsewhere = team.rig.own.jwt_svid(
        &team.b,
        &["https://elsewhere.example.org"],
        START + Duration::from_secs(60),
    );
    let cut = first.get(..first.len() - 4).unwrap();
    let unacceptable = ["x", "a.b.c", cut, &foreign, &expired, elsewhere.expose_token(), "\u{0}"];
    for token in unacceptable {
        for kind in [TOKEN_TYPE_JWT, TOKEN_TYPE_ACCESS_TOKEN] {
            let subject = team.narrower(&team.b, token, &[AUDIENCE], "secrets.read");
            let subject = subject.set("subject_token_type", kind);
            let error = team.exchange(&subject).await.unwrap_err();
            assert_eq!(error.code(), InvalidRequest, "{token} {kind}");
        }
        let actor = team
            .narrower(&team.b, &first, &[AUDIENCE], "secrets.read")
            .authenticated(&svid)
            .set("actor_token", token)
            .set("actor_token_type", TOKEN_TYPE_JWT);
        assert_eq!(team.exchange(&actor).await.unwrap_err().code(), InvalidRequest, "{token}");
    }
}

#[tokio::test]
async fn oauth_2_9_only_the_outermost_actor_counts() {
    let team = team();
    let third = team.third().await;
    // `b` stands inside of `act`, and neither holds the token nor is it for it.
    let inner = team.narrower(&team.b, &third, &[AUDIENCE], "secrets.read");
    assert_eq!(team.exchange(&inner).await.unwrap_err().code(), InvalidRequest);
    let told = team.rig.introspect(&team.svid(&team.b), &third).await.unwrap();
    assert_eq!(told, json!({"active": false}));
    let outermost = team.narrower(&team.c, &third, &[AUDIENCE], "secrets.read");
    team.exchange(&outermost).await.unwrap();
    let mut act = &claims(&third)["act"];
    while let Some(members) = act.as_object() {
        let strange = members.keys().find(|name| !["sub", "iss", "act"].contains(&name.as_str()));
        assert_eq!(strange, None);
        act = members.get("act").unwrap_or(&Value::Null);
    }
}

#[tokio::test]
async fn oauth_2_10_introspection_says_of_the_chain_what_the_token_says() {
    let only = "spiffe://prod.example.org/agent/c";
    let team = team_with(|_| {}, |terms| terms.on_behalf = Some(behalf(2, &[only, EVERYBODY])));
    let team_of_one = team_with(|_| {}, |terms| terms.on_behalf = Some(behalf(2, &[only])));
    let second = team_of_one.first().await;
    assert!(claims(&second)["may_act"].is_object());
    let third = team.third().await;
    for (team, holder, token) in
        [(&team_of_one, &team_of_one.rig.agent, &second), (&team, &team.c, &third)]
    {
        let told = team.rig.introspect(&team.svid(holder), token).await.unwrap();
        let said = claims(token);
        for claim in ["act", "may_act", "scope", "client_id", "sub"] {
            assert_eq!(told.get(claim), said.get(claim), "{claim}");
        }
    }
}

#[tokio::test]
async fn oauth_2_11_no_agent_gets_a_token_in_anothers_name() {
    let team = team();
    let first = team.first().await;
    // With a token of the first agent another one acts for it, and says so.
    let second = claims(
        &team.exchange(&team.narrower(&team.b, &first, &[AUDIENCE], "secrets.read")).await.unwrap(),
    );
    assert_eq!((&second["client_id"], &second["act"]["sub"]), (&json!(team.b), &json!(team.b)));
    // With its SVID it gets nothing, whether or not it says that it acts.
    let with_svid = team.rig.fields().authenticated(&team.svid(&team.b));
    assert_eq!(team.exchange(&with_svid).await.unwrap_err().code(), InvalidRequest);
    let acting =
        with_svid.set("actor_token", &team.svid(&team.b)).set("actor_token_type", TOKEN_TYPE_JWT);
    assert_eq!(team.exchange(&acting).await.unwrap_err().code(), InvalidRequest);
    // A person is never impersonated either: the agent is in `act`.
    let alice = team
        .rig
        .fields()
        .set("subject_token", &team.rig.login.sign(&Login::alice()))
        .set("subject_token_type", crate::TOKEN_TYPE_ID_TOKEN);
    let other = alice.clone().authenticated(&team.svid(&team.b));
    assert_eq!(team.exchange(&other).await.unwrap_err().code(), AccessDenied);
}

#[tokio::test]
async fn oauth_2_13_a_subject_without_scope_gives_nothing() {
    let team = team();
    let first = team.first().await;
    assert_eq!(claims(&first)["scope"], "secrets.update secrets.read secrets.list secrets.watch");
    for change in [
        |said: &mut Value| said["scope"] = json!(""),
        |said: &mut Value| {
            said.as_object_mut().unwrap().remove("scope");
        },
    ] {
        let mut said = claims(&first);
        change(&mut said);
        let token = marque_jose::sign_compact(Some("at+jwt"), &said, &*team.rig.signer).unwrap();
        for client in [&team.rig.agent, &team.b] {
            let fields = team.for_token(client, token.expose_token()).set("audience", AUDIENCE);
            assert_eq!(team.exchange(&fields).await.unwrap_err().code(), InvalidRequest);
            let scoped = fields.set("scope", "secrets.read");
            assert_eq!(team.exchange(&scoped).await.unwrap_err().code(), InvalidRequest);
        }
    }
}

#[tokio::test]
async fn oauth_2_15_a_token_that_is_for_somebody_else_is_no_subject() {
    let team = team();
    let first = team.rig.exchange(&team.rig.fields().set("audience", AUDIENCE)).await.unwrap();
    let token = first.access_token().expose_token();
    // Its holder may narrow it; those whom it is not for learn nothing of it.
    let own = team.narrower(&team.rig.agent, token, &[AUDIENCE], "secrets.read");
    team.exchange(&own).await.unwrap();
    for stranger in [&team.b, &team.c, &team.rig.own.id("/service/k8s-gateway")] {
        let fields = team.narrower(stranger, token, &[AUDIENCE], "secrets.read");
        let error = team.exchange(&fields).await.unwrap_err();
        let told = (error.code(), error.denial().map(|denial| denial.as_str()));
        assert_eq!(told, (InvalidRequest, Some("grant_not_bound_to_session")));
    }
}

/// Whom each record names as the person at the root.
fn delegators(team: &Team) -> Vec<Option<Value>> {
    let kept = team.rig.store.kept();
    kept.events.iter().map(|event| event.detail.get("delegator").cloned()).collect()
}

#[tokio::test]
async fn the_log_names_the_person_at_the_root_of_every_token() {
    let team = team_with(
        |_| {},
        |terms| {
            let equal = Dimension::NARROWED_BY_DELEGATION.into_iter().collect();
            terms.on_behalf = Some(OnBehalf { equal, ..behalf(3, &[EVERYBODY]) });
        },
    );
    let alice = team
        .rig
        .fields()
        .set("subject_token", &team.rig.login.sign(&Login::alice()))
        .set("subject_token_type", crate::TOKEN_TYPE_ID_TOKEN);
    let first = team.exchange(&alice).await.unwrap();
    let second = team.exchange(&team.for_token(&team.b, &first)).await.unwrap();
    team.exchange(&team.for_token(&team.c, &second)).await.unwrap();
    assert_eq!(delegators(&team), vec![Some(json!("corp:alice")); 3]);
    // And policies are told of the same person, with the groups of the login, each time.
    let uses = team.rig.desk.asked.lock().unwrap().uses.clone();
    let [Some(person), ..] = &uses[..] else { panic!("{uses:?}") };
    assert!(!person.groups.is_empty(), "{person:?}");
    assert_eq!(uses, vec![Some(person.clone()); 3]);
    // An agent that acts for itself has nobody to name.
    let team = super::team();
    team.second().await;
    assert_eq!(delegators(&team), vec![None; 2]);
}
