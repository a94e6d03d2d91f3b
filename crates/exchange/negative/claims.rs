//! What a token claims: times, audience, issuer, subject.

use marque_jose::{Signer as _, base64url};
use marque_testkit::START;
use serde_json::{Value, json};

use super::{Forge, signed};
use crate::fixture::ISSUER;

/// The agent's SVID whose claims are exactly this text.
fn with_payload(forge: &Forge, payload: &str) -> String {
    forge.svid(&Forge::header().to_string(), payload)
}

#[tokio::test]
async fn oauth_21_claim_twice() {
    let forge = Forge::new();
    let claims = forge.claims().to_string();
    let open = claims.strip_suffix('}').unwrap();
    let agent = forge.rig.agent.as_str();
    for more in [
        r#""sub":"spiffe://prod.example.org/agent/other""#.to_owned(),
        format!(r#""sub":"{agent}""#),
        r#""exp":1"#.to_owned(),
        format!(r#""aud":"{ISSUER}""#),
        format!(r#""s\u0075b":"{agent}""#),
        r#""x":{"y":1,"y":2}"#.to_owned(),
        r#""x":[{"y":1,"y":1}]"#.to_owned(),
    ] {
        forge.refuses(&more, &with_payload(&forge, &format!("{open},{more}}}"))).await;
    }
}

#[tokio::test]
async fn oauth_21_exp_mistyped() {
    let forge = Forge::new();
    let end = START.as_second() + 300;
    for value in [
        json!(end.to_string()),
        json!("never"),
        json!(end as f64),
        json!(end as f64 + 0.5),
        json!(-1),
        json!(true),
        json!([end]),
        json!({ "exp": end }),
        Value::Null,
        json!(u64::MAX),
    ] {
        forge.refuses(&value.to_string(), &forge.with_claim("exp", value)).await;
    }
    // What no JSON library would write.
    for number in
        ["1e400", "-1e400", "1e10", "1893456300e0", "01893456300", "+1893456300", "0x70DBD880"]
    {
        let claims = forge.claims();
        let payload = claims.to_string().replace(&claims["exp"].to_string(), number);
        assert!(payload.contains(number));
        forge.refuses(number, &with_payload(&forge, &payload)).await;
    }
}

#[tokio::test]
async fn oauth_21_exp_missing() {
    let forge = Forge::new();
    forge.refuses("exp", &forge.without_claim("exp")).await;
}

#[tokio::test]
async fn oauth_21_exp_missing_or_over_in_an_svid_that_was_one() {
    let forge = Forge::new();
    let now = START.as_second();
    for end in [now, now - 1, now - 3600, 0] {
        forge.refuses("over", &forge.with_claim("exp", json!(end))).await;
    }
    forge.refuses("too far", &forge.with_claim("exp", json!(now + 3611))).await;
    forge.refuses("the year 9999", &forge.with_claim("exp", json!(253_402_207_200_u64))).await;
}

#[tokio::test]
async fn oauth_21_nbf_future() {
    let forge = Forge::new();
    let now = START.as_second();
    for value in [json!(now + 1), json!(now + 3600), json!("0"), json!(0.5), Value::Null, json!(-1)]
    {
        forge.refuses(&value.to_string(), &forge.with_claim("nbf", value)).await;
    }
}

#[tokio::test]
async fn oauth_21_iat_future() {
    let forge = Forge::new();
    let now = START.as_second();
    for value in [json!(now + 61), json!(now + 86_400), json!("0"), json!(0.5), Value::Null] {
        forge.refuses(&value.to_string(), &forge.with_claim("iat", value)).await;
    }
    // Clocks differ: up to a minute is taken.
    let ahead = forge.with_claim("iat", json!(now + 60));
    forge.rig.exchange(&forge.rig.fields().authenticated(&ahead)).await.unwrap();
}

#[tokio::test]
async fn oauth_21_aud_missing() {
    let forge = Forge::new();
    forge.refuses("no aud", &forge.without_claim("aud")).await;
    for value in
        [json!([]), json!(""), json!([""]), Value::Null, json!(7), json!({}), json!([ISSUER, 7])]
    {
        forge.refuses(&value.to_string(), &forge.with_claim("aud", value)).await;
    }
}

#[tokio::test]
async fn oauth_21_aud_array() {
    let forge = Forge::new();
    let refused = async |aud: Value| {
        let token = forge.with_claim("aud", aud.clone());
        let error = forge.rig.exchange(&forge.rig.fields().authenticated(&token)).await;
        assert!(error.is_err(), "{aud}");
    };
    let other = "https://other.example.org";
    refused(json!([ISSUER, other])).await;
    refused(json!([other, ISSUER])).await;
    refused(json!([ISSUER, ISSUER])).await;
    forge.refuses("others alone", &forge.with_claim("aud", json!([other]))).await;
    // An array of one is one.
    let one = forge.with_claim("aud", json!([ISSUER]));
    forge.rig.exchange(&forge.rig.fields().authenticated(&one)).await.unwrap();
}

/// An audience that is not ours to the byte.
async fn refuses_audiences(forge: &Forge, audiences: &[String]) {
    for audience in audiences {
        forge.refuses(audience, &forge.with_claim("aud", json!(audience))).await;
    }
}

#[tokio::test]
async fn oauth_21_aud_prefix() {
    let forge = Forge::new();
    refuses_audiences(
        &forge,
        &[
            ISSUER.strip_suffix('3').unwrap().to_owned(),
            ISSUER.replace(":8443", ""),
            format!("{ISSUER}0"),
            format!("{ISSUER}.attacker.example.org"),
            format!("{ISSUER}/oauth2/token"),
            format!("{ISSUER}?x"),
            format!("{ISSUER}#x"),
            format!("{ISSUER}\0"),
            format!(" {ISSUER}"),
        ],
    )
    .await;
}

#[tokio::test]
async fn oauth_21_aud_case() {
    let forge = Forge::new();
    let host = ISSUER.replace("issuer", "Issuer");
    refuses_audiences(&forge, &[ISSUER.to_uppercase(), host, ISSUER.replace("https", "HTTPS")])
        .await;
}

#[tokio::test]
async fn oauth_21_aud_slash() {
    let forge = Forge::new();
    refuses_audiences(
        &forge,
        &[format!("{ISSUER}/"), format!("{ISSUER}//"), format!("{ISSUER}/.")],
    )
    .await;
}

#[tokio::test]
async fn oauth_21_iss_slash() {
    let forge = Forge::new();
    let token = forge.rig.exchange(&forge.rig.fields()).await.unwrap();
    let token = token.access_token().expose_token();
    let claims = token.split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&base64url::decode(claims).unwrap()).unwrap();
    let signer = &*forge.rig.signer;
    let header = json!({ "alg": "ES256", "kid": signer.key_id().as_str(), "typ": "at+jwt" });
    let is_active = async |iss: &str| {
        let mut claims = claims.clone();
        claims["iss"] = json!(iss);
        let token = signed(&header.to_string(), &claims.to_string(), signer);
        forge.rig.introspect(&forge.rig.svid(), &token).await.unwrap()["active"] == true
    };
    assert!(is_active(ISSUER).await);
    for other in [format!("{ISSUER}/"), ISSUER.to_uppercase(), String::new(), format!("{ISSUER} ")]
    {
        assert!(!is_active(&other).await, "{other}");
    }
}

#[tokio::test]
async fn oauth_21_sub_no_spiffe_id() {
    let forge = Forge::new();
    forge.refuses("no sub", &forge.without_claim("sub")).await;
    for sub in [
        json!("rotator"),
        json!(""),
        json!("https://prod.example.org/agent/rotator"),
        json!("spiffe://prod.example.org"),
        json!("spiffe://prod.example.org/"),
        json!("spiffe://prod.example.org/agent/rotator/"),
        json!("spiffe://prod.example.org//agent/rotator"),
        json!("spiffe://prod.example.org/agent/../agent/rotator"),
        json!("spiffe://prod.example.org/agent/./rotator"),
        json!("spiffe://prod.example.org/agent/%72otator"),
        json!("spiffe://PROD.example.org/agent/rotator"),
        json!("SPIFFE://prod.example.org/agent/rotator"),
        json!("spiffe://prod.example.org:443/agent/rotator"),
        json!("spiffe://x@prod.example.org/agent/rotator"),
        json!("spiffe://prod.example.org/agent/rotator?x"),
        json!("spiffe://prod.example.org/agent/rotator#x"),
        json!("spiffe://prod.example.org/agent/*"),
        json!("spiffe://prod.example.org/agent/rotator\n"),
        json!(["spiffe://prod.example.org/agent/rotator"]),
        json!(7),
        Value::Null,
    ] {
        forge.refuses(&sub.to_string(), &forge.with_claim("sub", sub)).await;
    }
}

#[tokio::test]
async fn oauth_21_other_tenant() {
    let forge = Forge::new();
    let rig = &forge.rig;
    let agent = &rig.agent;
    for (name, token) in [
        ("our name by a federated key", rig.svid_of(&rig.federated, agent)),
        ("our name by the other environment", rig.svid_of(&rig.other_environment, agent)),
        ("a federated name by our key", rig.svid_of(&rig.own, &rig.federated.id("/agent/rotator"))),
        ("a name of nobody", rig.svid_of(&rig.own, &"spiffe://x.example.org/a".parse().unwrap())),
        (
            "of an undeclared domain",
            rig.svid_of(&rig.undeclared, &rig.undeclared.id("/agent/rotator")),
        ),
    ] {
        forge.refuses(name, &token).await;
    }
    // Another issuer's access token, though its key has the name of ours.
    let other = crate::fixture::Rig::new();
    let token = other.exchange(&other.fields()).await.unwrap();
    forge.refuses("another issuer's token", token.access_token().expose_token()).await;
}

#[tokio::test]
async fn oauth_21_clock_step() {
    let forge = Forge::new();
    let rig = &forge.rig;
    let svid = rig.svid();
    // Back before the SVID was made: further than clocks may differ.
    rig.clock.set(START - jiff::SignedDuration::from_secs(61));
    assert!(rig.exchange(&rig.fields().authenticated(&svid)).await.is_err());
    // Forward past its end.
    rig.clock.set(START + jiff::SignedDuration::from_secs(301));
    assert!(rig.exchange(&rig.fields().authenticated(&svid)).await.is_err());
    rig.clock.set(START);
    let token = rig.exchange(&rig.fields()).await.unwrap();
    let token = token.access_token().expose_token();
    let is_active = async || {
        rig.introspect(&rig.svid(), token).await.is_ok_and(|answer| answer["active"] == true)
    };
    assert!(is_active().await);
    rig.clock.set(START + jiff::SignedDuration::from_secs(241));
    assert!(!is_active().await);
}
