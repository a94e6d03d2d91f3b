use marque_jose::{HolderKey, SignError, Signer, base64url, sign_compact};
use serde_json::{Value, json};

use super::*;
use crate::{ceiling::TokenCeiling, signer::TokenSigner, testing::later};

const ISSUER: &str = "https://issuer.example.org";

fn second(seconds: i64) -> i64 {
    START.as_second() + seconds
}

fn jwt_svid() -> Value {
    json!({ "sub": "spiffe://prod.example.org/agent/a", "aud": ["x"], "jti": "1",
        "iat": second(0), "exp": second(300) })
}

fn wit_svid() -> Value {
    let jwk = HolderKey::generate().unwrap().to_confirmation_jwk().to_value();
    json!({ "sub": "spiffe://prod.example.org/agent/a", "cnf": { "jwk": jwk }, "jti": "1",
        "iat": second(0), "nbf": second(-10), "exp": second(3600) })
}

fn access_token() -> Value {
    json!({ "iss": ISSUER, "sub": "spiffe://prod.example.org/agent/a", "aud": "x",
        "client_id": "spiffe://prod.example.org/agent/a", "intent": { "id": "in_1" },
        "iat": second(0), "exp": second(300) })
}

/// The claims with some of them in place of the right ones; `null` removes one.
fn with(mut claims: Value, changed: &Value) -> Value {
    let members = claims.as_object_mut().unwrap();
    for (name, value) in changed.as_object().unwrap() {
        match value {
            Value::Null => members.remove(name),
            value => members.insert(name.clone(), value.clone()),
        };
    }
    claims
}

fn refusal(error: &SignError) -> Breach {
    let source = std::error::Error::source(error).unwrap();
    source.downcast_ref::<CeilingRefusal>().unwrap().breach
}

/// Each change to right claims is refused for its own reason, and somebody is told.
fn assert_refused(
    signer: &TokenSigner,
    alarm: &Alarm,
    (typ, good): (&str, &Value),
    cases: &[(Breach, Value)],
) {
    sign_compact(Some(typ), good, signer).unwrap();
    assert!(told(alarm).is_empty());
    for (breach, changed) in cases {
        let error = sign_compact(Some(typ), &with(good.clone(), changed), signer).unwrap_err();
        assert_eq!(refusal(&error), *breach, "{changed}");
        assert_eq!(told(alarm), [*breach], "{changed}");
    }
    for typ in [None, Some(""), Some("jwt"), Some("at+JWT"), Some("application/at+jwt")] {
        let error = sign_compact(typ, good, signer).unwrap_err();
        assert!(matches!(refusal(&error), Breach::Header | Breach::Unreadable), "{typ:?}");
        told(alarm);
    }
}

#[test]
fn a_key_for_jwt_svids_signs_nothing_but_jwt_svids_of_its_trust_domain() {
    let (config, alarm, _clock) = watched();
    let ceiling = TokenCeiling::of_jwt_svids(&config, later(3600));
    let signer = TokenSigner::new(key(KeyPurpose::JwtSvid), ceiling).unwrap();
    let cases = [
        (Breach::Name, json!({ "sub": "spiffe://dev.example.org/agent/a" })),
        (Breach::Name, json!({ "sub": "spiffe://prod.example.org.evil.example/agent/a" })),
        (Breach::Name, json!({ "sub": "spiffe://prod.example.org" })),
        (Breach::Name, json!({ "sub": "admin" })),
        (Breach::Name, json!({ "sub": null })),
        (Breach::Claims, json!({ "aud": null })),
        (Breach::Unreadable, json!({ "aud": [] })),
        (Breach::Claims, json!({ "exp": null })),
        (Breach::Claims, json!({ "iat": null })),
        (Breach::Claims, json!({ "intent": { "id": "in_1" } })),
        (Breach::Unreadable, json!({ "exp": "9999999999" })),
        (Breach::Unreadable, json!({ "exp": 1.5 })),
        (Breach::Lifetime, json!({ "exp": second(301) })),
        (Breach::Lifetime, json!({ "exp": second(-1) })),
        // A life is not stretched by the lie that it begins later.
        (Breach::Lifetime, json!({ "iat": second(1000), "exp": second(1300) })),
        (Breach::Issuer, json!({ "iss": "https://evil.example" })),
        (Breach::Issuer, json!({ "iss": ISSUER })),
    ];
    assert_refused(&signer, &alarm, ("JWT", &jwt_svid()), &cases);
    let cloud = json!({ "iss": "https://issuer.example.org/svid" });
    sign_compact(Some("JWT"), &with(jwt_svid(), &cloud), &signer).unwrap();
    for typ in ["at+jwt", "wit+jwt", "secevent+jwt"] {
        let error = sign_compact(Some(typ), &jwt_svid(), &signer).unwrap_err();
        assert_eq!(refusal(&error), Breach::Header, "{typ}");
    }
}

#[test]
fn a_key_for_jwt_svids_signs_nothing_that_outlives_it() {
    let (config, alarm, clock) = watched();
    let ceiling = TokenCeiling::of_jwt_svids(&config, later(400));
    let signer = TokenSigner::new(key(KeyPurpose::JwtSvid), ceiling).unwrap();
    clock.set(later(200));
    let until = |end| with(jwt_svid(), &json!({ "iat": second(200), "exp": second(end) }));
    sign_compact(Some("JWT"), &until(400), &signer).unwrap();
    let error = sign_compact(Some("JWT"), &until(401), &signer).unwrap_err();
    assert_eq!(refusal(&error), Breach::OutlivesAuthority);
    assert_eq!(told(&alarm), [Breach::OutlivesAuthority]);
}

#[test]
fn the_clocks_of_who_asks_and_who_signs_may_differ_by_ten_seconds() {
    let (config, _alarm, clock) = watched();
    let ceiling = TokenCeiling::of_jwt_svids(&config, later(3600));
    let signer = TokenSigner::new(key(KeyPurpose::JwtSvid), ceiling).unwrap();
    clock.set(START - Duration::from_secs(10));
    sign_compact(Some("JWT"), &jwt_svid(), &signer).unwrap();
    clock.set(START - Duration::from_secs(11));
    let error = sign_compact(Some("JWT"), &jwt_svid(), &signer).unwrap_err();
    assert_eq!(refusal(&error), Breach::Lifetime);
}

#[test]
fn a_key_for_wit_svids_signs_nothing_but_bound_wit_svids_of_its_trust_domain() {
    let (config, alarm, _clock) = watched();
    let ceiling = TokenCeiling::of_wit_svids(&config, later(3600));
    let signer = TokenSigner::new(key(KeyPurpose::WitSvid), ceiling).unwrap();
    let cases = [
        (Breach::Name, json!({ "sub": "spiffe://dev.example.org/agent/a" })),
        (Breach::Claims, json!({ "cnf": null })),
        (Breach::Unreadable, json!({ "cnf": "none" })),
        (Breach::Claims, json!({ "aud": "x" })),
        (Breach::Claims, json!({ "intent": {} })),
        (Breach::Lifetime, json!({ "exp": second(3601) })),
        (Breach::OutlivesAuthority, json!({ "iat": second(5), "exp": second(3605) })),
    ];
    assert_refused(&signer, &alarm, ("wit+jwt", &wit_svid()), &cases);
}

#[test]
fn a_key_for_access_tokens_signs_none_without_an_intent_or_beyond_the_ceiling() {
    let (config, alarm, _clock) = watched();
    let ceiling = TokenCeiling::of_token_service(&config);
    let signer = TokenSigner::new(key(KeyPurpose::AccessToken), ceiling).unwrap();
    let cases = [
        (Breach::Issuer, json!({ "iss": "https://other.example.org" })),
        (Breach::Issuer, json!({ "iss": null })),
        (Breach::Claims, json!({ "intent": null })),
        (Breach::Unreadable, json!({ "intent": true })),
        (Breach::Claims, json!({ "aud": null })),
        (Breach::Claims, json!({ "sub": null })),
        (Breach::Claims, json!({ "client_id": null })),
        (Breach::Claims, json!({ "exp": null })),
        (Breach::Lifetime, json!({ "exp": second(301) })),
        (Breach::Lifetime, json!({ "iat": second(3600), "exp": second(3900) })),
    ];
    assert_refused(&signer, &alarm, ("at+jwt", &access_token()), &cases);
}

#[test]
fn a_key_for_access_tokens_signs_only_the_kinds_it_was_told_of() {
    let (config, alarm, _clock) = watched();
    let ceiling = TokenCeiling::of_token_service(&config);
    let signer = TokenSigner::new(key(KeyPurpose::AccessToken), ceiling).unwrap();
    let sign = |typ, claims: &Value| sign_compact(Some(typ), claims, &signer);
    for typ in ["JWT", "wit+jwt", "txntoken+jwt", "dpop+jwt"] {
        assert_eq!(refusal(&sign(typ, &access_token()).unwrap_err()), Breach::Header, "{typ}");
    }
    assert_eq!(told(&alarm).len(), 4);
    // The statement of a moment has no end, and nothing that has one is dressed as such.
    let set = json!({ "iss": ISSUER, "aud": "x", "iat": second(0), "events": {} });
    sign("secevent+jwt", &set).unwrap();
    let dressed = sign("secevent+jwt", &access_token()).unwrap_err();
    assert_eq!(refusal(&dressed), Breach::Claims);
    let ends = sign("secevent+jwt", &with(set, &json!({ "exp": second(10) }))).unwrap_err();
    assert_eq!(refusal(&ends), Breach::Claims);
    // A kind without `iss` is named by its subject.
    let list = |sub: &str| json!({ "sub": sub, "iat": second(0), "exp": second(300), "status_list": { "bits": 1 } });
    sign("statuslist+jwt", &list(&format!("{ISSUER}/oauth2/status/1"))).unwrap();
    for sub in ["https://issuer.example.org.evil.example/1", "https://issuer.example.org", "x"] {
        let error = sign("statuslist+jwt", &list(sub)).unwrap_err();
        assert_eq!(refusal(&error), Breach::Issuer, "{sub}");
    }
}

#[test]
fn what_is_no_token_or_names_another_key_is_not_signed() {
    let (config, alarm, _clock) = watched();
    let ceiling = || TokenCeiling::of_jwt_svids(&config, later(3600));
    let signer = TokenSigner::new(key(KeyPurpose::JwtSvid), ceiling()).unwrap();
    let other = TokenSigner::new(key(KeyPurpose::JwtSvid), ceiling()).unwrap();
    let (kid, claims) = (signer.key_id(), base64url::encode(jwt_svid().to_string()));
    let header = |alg: &str, kid: &str, rest: &str| {
        base64url::encode(format!(r#"{{"alg":"{alg}","kid":"{kid}"{rest}}}"#))
    };
    let (kid, typ) = (kid.as_str(), r#","typ":"JWT""#);
    let right = header("ES256", kid, typ);
    signer.sign(format!("{right}.{claims}").as_bytes()).unwrap();
    let twice = base64url::encode(jwt_svid().to_string().replacen('{', r#"{"sub":"x","#, 1));
    let messages = [
        String::new(),
        "message".to_owned(),
        claims.clone(),
        format!("{right}.{claims}.{claims}"),
        format!("{right}.{twice}"),
        format!("{}.{claims}", header("ES256", kid, r#","typ":"JWT","crit":[]"#)),
        format!("{}.{claims}", header("ES256", kid, r#","typ":"JWT","typ":"JWT""#)),
        format!("{}.{claims}", header("none", kid, typ)),
        format!("{}.{claims}", header("RS256", kid, typ)),
        format!("{}.{claims}", header("ES256", other.key_id().as_str(), typ)),
    ];
    for message in messages {
        let error = signer.sign(message.as_bytes()).unwrap_err();
        assert!(matches!(refusal(&error), Breach::Unreadable | Breach::Header), "{message}");
        assert_eq!(told(&alarm).len(), 1);
    }
    assert_eq!(refusal(&signer.sign(b"\xff.\xff").unwrap_err()), Breach::Unreadable);
}
