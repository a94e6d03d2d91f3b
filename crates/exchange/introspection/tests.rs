use std::time::Duration;

use marque_intent::KillScope;
use marque_jose::{Signer as _, base64url, sign_compact};
use marque_testkit::{START, ScratchSigner};
use proptest::prelude::*;

use super::*;
use crate::{
    OAuthErrorCode,
    fixture::{AUDIENCE, ISSUER, Rig, SECOND_AUDIENCE},
};

async fn issued(rig: &Rig) -> String {
    rig.exchange(&rig.fields()).await.unwrap().access_token().expose_token().to_owned()
}

fn gateway(rig: &Rig) -> String {
    rig.svid_of(&rig.own, &rig.own.id("/service/k8s-gateway"))
}

#[tokio::test]
async fn a_resource_server_learns_what_the_token_permits() {
    let rig = Rig::new();
    let token = issued(&rig).await;
    let answer = rig.introspect(&gateway(&rig), &token).await.unwrap();
    assert_eq!(answer["active"], true);
    assert_eq!(answer["sub"], rig.agent.as_str());
    assert_eq!(answer["scope"], "secrets.update secrets.read");
    assert_eq!(answer["authorization_details"][1]["type"], "k8s_object");
    assert_eq!(answer["intent"]["id"], rig.intent.as_str());
    assert_eq!(answer["exp"], START.as_second() + 240);
}

#[tokio::test]
async fn a_client_may_ask_about_its_own_token() {
    let rig = Rig::new();
    let token = issued(&rig).await;
    assert_eq!(rig.introspect(&rig.svid(), &token).await.unwrap()["active"], true);
}

#[tokio::test]
async fn strangers_and_servers_of_another_audience_learn_nothing() {
    let rig = Rig::new();
    let token = issued(&rig).await;
    let stranger = rig.svid_of(&rig.own, &rig.own.id("/agent/stranger"));
    assert_eq!(rig.introspect(&stranger, &token).await.unwrap(), inactive());

    let rig = Rig::new();
    let narrowed = rig.exchange(&rig.fields().set("audience", SECOND_AUDIENCE)).await.unwrap();
    let answer =
        rig.introspect(&gateway(&rig), narrowed.access_token().expose_token()).await.unwrap();
    assert_eq!(
        answer,
        inactive(),
        "the gateway answers to {AUDIENCE}, which this token is not for"
    );
}

#[tokio::test]
async fn a_caller_must_be_authenticated() {
    let rig = Rig::new();
    let token = issued(&rig).await;
    let error = rig.introspect("x", &token).await.unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::InvalidClient);
    let foreign =
        rig.svid_of(&rig.other_environment, &rig.other_environment.id("/service/k8s-gateway"));
    let error = rig.introspect(&foreign, &token).await.unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::AccessDenied);
}

#[tokio::test]
async fn every_end_makes_a_token_inactive() {
    type End = fn(&Rig);
    let ends: [(&str, End); 7] = [
        ("expired", |rig| rig.clock.advance(Duration::from_secs(240))),
        ("completed", Rig::complete),
        ("intent_revoked", Rig::revoke),
        ("token_revoked", |rig| {
            for record in rig.store.kept().tokens.values_mut() {
                record.revoked_at = Some(START);
            }
        }),
        ("agent_killed", |rig| rig.kill(KillScope::Agent(rig.agent.clone()))),
        ("playbook_killed", |rig| {
            rig.kill(KillScope::Playbook("ingress-cert-rotation".parse().unwrap()))
        }),
        ("all_killed", |rig| rig.kill(KillScope::All)),
    ];
    for (name, end) in ends {
        let rig = Rig::new();
        let token = issued(&rig).await;
        assert_eq!(rig.introspect(&gateway(&rig), &token).await.unwrap()["active"], true, "{name}");
        end(&rig);
        assert_eq!(rig.introspect(&gateway(&rig), &token).await.unwrap(), inactive(), "{name}");
    }
}

#[tokio::test]
async fn a_killed_caller_learns_nothing() {
    let rig = Rig::new();
    let token = issued(&rig).await;
    rig.kill(KillScope::Agent(rig.own.id("/service/k8s-gateway")));
    assert_eq!(rig.introspect(&gateway(&rig), &token).await.unwrap(), inactive());
}

#[tokio::test]
async fn what_is_no_access_token_of_ours_is_inactive() {
    let rig = Rig::new();
    let token = issued(&rig).await;
    let mut claims = UnverifiedJws::parse(&token).unwrap().dangerous_unverified_claims().clone();
    let sign =
        |typ: Option<&str>, claims: &serde_json::Map<String, Value>, signer: &ScratchSigner| {
            sign_compact(typ, claims, signer).unwrap().expose_token().to_owned()
        };
    let imposter = ScratchSigner::generate(rig.signer.key_id().as_str());
    let unknown_key = ScratchSigner::generate("access-token-b-1");
    let none = format!(
        "{}.{}.",
        base64url::encode("{\"alg\":\"none\",\"typ\":\"at+jwt\",\"kid\":\"access-token-a-1\"}"),
        token.split('.').nth(1).unwrap()
    );
    let mut cases = vec![
        ("an_svid_as_a_bearer", rig.svid()),
        ("signed_by_another_key_of_the_same_name", sign(Some("at+jwt"), &claims, &imposter)),
        ("signed_by_an_unknown_key", sign(Some("at+jwt"), &claims, &unknown_key)),
        ("signed_by_the_svid_key", sign(Some("at+jwt"), &claims, rig.own.signer())),
        ("typ_missing", sign(None, &claims, &rig.signer)),
        ("typ_jwt", sign(Some("JWT"), &claims, &rig.signer)),
        ("alg_none", none),
        ("garbage", "x".to_owned()),
        ("dots", ".".repeat(10_000)),
        ("truncated", token.get(..token.len() - 4).unwrap().to_owned()),
    ];
    claims.insert("iss".to_owned(), format!("{ISSUER}/").into());
    cases.push(("other_issuer", sign(Some("at+jwt"), &claims, &rig.signer)));
    claims.insert("iss".to_owned(), ISSUER.into());
    claims.insert("jti".to_owned(), "tok_00000000000000000000000000000000".into());
    cases.push(("never_issued", sign(Some("at+jwt"), &claims, &rig.signer)));
    for (name, token) in cases {
        assert_eq!(rig.introspect(&gateway(&rig), &token).await.unwrap(), inactive(), "{name}");
    }
}

#[tokio::test]
async fn a_store_that_is_down_is_an_error_and_not_an_answer() {
    let rig = Rig::new();
    let token = issued(&rig).await;
    rig.store.kept().down = true;
    let error = rig.introspect(&gateway(&rig), &token).await.unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::TemporarilyUnavailable);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn no_changed_byte_leaves_a_token_active(at in any::<proptest::sample::Index>(), to in proptest::char::range('!', '~')) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let rig = Rig::new();
        let token = runtime.block_on(issued(&rig));
        let mut bytes = token.clone().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = u8::try_from(to).unwrap();
        let changed = String::from_utf8(bytes).unwrap();
        prop_assume!(changed != token);
        prop_assert_eq!(runtime.block_on(rig.introspect(&gateway(&rig), &changed)).unwrap(), inactive());
    }
}
