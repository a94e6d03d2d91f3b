//! Which key speaks for what, and what kinds of token are never taken for one another.

use std::{collections::BTreeSet, time::Duration};

use marque_jose::{HolderKey, Signer};
use marque_testkit::{START, ScratchSigner};
use serde_json::{Value, json};

use super::{Forge, signed};
use crate::{
    OAuthErrorCode::{self, InvalidClient, InvalidRequest},
    TOKEN_TYPE_ACCESS_TOKEN, TOKEN_TYPE_ID_TOKEN, TOKEN_TYPE_JWT,
    fixture::{Fields, ISSUER, LOGIN, Login, Rig, is_plain},
};

/// A request of somebody who is known, with this token in another place.
fn with_subject(rig: &Rig, token: &str, kind: &str) -> Fields {
    rig.fields().set("subject_token", token).set("subject_token_type", kind)
}

async fn refusal(rig: &Rig, name: &str, fields: &Fields) -> OAuthErrorCode {
    let Err(error) = rig.exchange(fields).await else { panic!("{name} gets a token") };
    assert!(is_plain(&error), "{name}: {error}");
    error.code()
}

#[tokio::test]
async fn oauth_4_7_the_keys_of_a_bundle_serve_their_own_use_alone() {
    let forge = Forge::new();
    let own = &forge.rig.own;
    let claims = forge.claims().to_string();
    let wit_key: &dyn Signer = &**own.wit_signer();
    for kid in [wit_key.key_id().as_str(), own.signer().key_id().as_str()] {
        let header = json!({ "alg": "ES256", "kid": kid, "typ": "JWT" }).to_string();
        forge.refuses(kid, &signed(&header, &claims, wit_key)).await;
    }
}

#[tokio::test]
async fn oauth_4_8_a_jwt_svid_authenticates_again_and_again_until_it_ends() {
    for jti in [Value::Null, json!("one")] {
        let forge = Forge { rig: Rig::with(|_| {}, |terms| terms.uses = 8) };
        let rig = &forge.rig;
        // A `jti` makes nothing of it that is used once.
        let svid = if jti.is_null() { rig.svid() } else { forge.with_claim("jti", jti) };
        let fields = rig.fields().authenticated(&svid).set("subject_token", &svid);
        for after in [0, 1, 299] {
            rig.clock.set(START + Duration::from_secs(after));
            rig.exchange(&fields).await.unwrap();
        }
        rig.clock.set(START + Duration::from_secs(300));
        assert_eq!(refusal(rig, "at its end", &fields).await, InvalidClient);
    }
}

/// Each kind of token is taken in its own places, and in no other.
#[tokio::test]
async fn oauth_4_10_no_kind_of_token_stands_in_for_another() {
    let rig = Rig::with(|_| {}, |terms| terms.uses = 4);
    let svid = rig.svid();
    let id_token = rig.login.sign(&Login::alice());
    let access_token = rig.exchange(&rig.fields()).await.unwrap();
    let access_token = access_token.access_token().expose_token();
    let end = START + Duration::from_secs(300);
    let wit = rig.own.wit_svid(&rig.agent, &HolderKey::generate().unwrap(), end);
    let wit = wit.expose_token();
    let kinds = [
        ("an SVID", svid.as_str()),
        ("an ID token", &id_token),
        ("an access token", access_token),
        ("a WIT-SVID", wit),
    ];
    for (name, token) in kinds {
        if token != svid {
            let fields = rig.fields().authenticated(token);
            assert_eq!(refusal(&rig, name, &fields).await, InvalidClient, "{name} as client");
        }
        // An actor is named by either kind of SVID.
        if token != svid && token != wit {
            let fields = rig.fields().set("actor_token", token);
            let fields = fields.set("actor_token_type", TOKEN_TYPE_JWT);
            assert_eq!(refusal(&rig, name, &fields).await, InvalidRequest, "{name} as actor");
        }
        for (kind, fits) in
            [(TOKEN_TYPE_ACCESS_TOKEN, access_token), (TOKEN_TYPE_ID_TOKEN, id_token.as_str())]
        {
            if token != fits {
                let code = refusal(&rig, name, &with_subject(&rig, token, kind)).await;
                assert_eq!(code, InvalidRequest, "{name} as {kind}");
            }
        }
        let told = rig.introspect(&svid, token).await.unwrap();
        assert_eq!(told["active"], token == access_token, "{name} at introspection");
    }
    // A WIT-SVID is no subject of any type, and the others are what they are.
    let code = refusal(&rig, "a WIT-SVID", &with_subject(&rig, wit, TOKEN_TYPE_JWT)).await;
    assert_eq!(code, InvalidRequest);
    rig.exchange(&with_subject(&rig, &svid, TOKEN_TYPE_JWT)).await.unwrap();
    rig.exchange(&with_subject(&rig, &id_token, TOKEN_TYPE_ID_TOKEN)).await.unwrap();
}

/// What one kind says, signed by the key of another: neither claims nor `typ` make it that kind.
#[tokio::test]
async fn oauth_4_10_claims_of_one_kind_under_the_key_of_another_are_neither() {
    let forge = Forge::new();
    let rig = &forge.rig;
    let (iat, exp) = (START.as_second(), START.as_second() + 300);
    let access = json!({
        "iss": ISSUER, "sub": rig.agent, "aud": ISSUER, "client_id": rig.agent, "iat": iat,
        "exp": exp, "jti": "tok_00000000000000000000000000000000", "scope": "secrets.read",
    });
    let svid_key: &dyn Signer = &**rig.own.signer();
    let token_key: &dyn Signer = &*rig.signer;
    let under = |key: &dyn Signer, typ: &str, claims: &Value| {
        let header = json!({ "alg": "ES256", "kid": key.key_id().as_str(), "typ": typ });
        signed(&header.to_string(), &claims.to_string(), key)
    };
    let mut alice = Login::alice();
    alice["aud"] = json!(ISSUER);
    for (name, token) in [
        ("an access token by the key of SVIDs", under(svid_key, "at+jwt", &access)),
        ("an SVID by the key of access tokens", under(token_key, "JWT", &forge.claims())),
        ("an SVID by the issuer of ID tokens", rig.login.sign(&forge.claims())),
        ("an ID token by the key of SVIDs", under(svid_key, "JWT", &alice)),
        ("an ID token by the key of access tokens", under(token_key, "JWT", &alice)),
    ] {
        forge.refuses(name, &token).await;
        let code = refusal(rig, name, &with_subject(rig, &token, TOKEN_TYPE_ID_TOKEN)).await;
        assert_eq!(code, InvalidRequest, "{name}");
    }
    assert_eq!(alice["iss"], LOGIN, "it says the issuer of ID tokens");
}

#[tokio::test]
async fn oauth_4_11_malformed_is_an_invalid_request_and_not_known_an_invalid_client() {
    let forge = Forge::new();
    let rig = &forge.rig;
    let good = rig.fields();
    for (name, fields) in [
        ("an assertion without its type", good.clone().without("client_assertion_type")),
        ("a type without its assertion", good.clone().without("client_assertion")),
        ("two assertions", good.clone().add("client_assertion", &rig.svid())),
        ("a secret beside it", good.clone().set("client_secret", "x")),
        ("longer than a token", good.clone().authenticated(&"x".repeat(16 * 1024 + 1))),
    ] {
        assert_eq!(refusal(rig, name, &fields).await, InvalidRequest, "{name}");
    }
    let svid = rig.svid();
    let (input, _signature) = svid.rsplit_once('.').unwrap();
    let stranger = ScratchSigner::generate("scratch-jwt-1");
    let header = Forge::header().to_string();
    let mut said = BTreeSet::new();
    for (name, fields) in [
        ("nothing like a JWT", good.clone().authenticated("x")),
        ("no signature", good.clone().authenticated(&format!("{input}."))),
        (
            "the signature of another key",
            good.clone().authenticated(&signed(&header, &forge.claims().to_string(), &stranger)),
        ),
        ("over", good.clone().authenticated(&forge.with_claim("exp", json!(START.as_second())))),
        ("for another", good.clone().authenticated(&forge.with_claim("aud", json!(LOGIN)))),
        ("an unknown key", good.clone().authenticated(&forge.with_header("kid", json!("other")))),
        (
            "an unknown trust domain",
            good.clone().authenticated(
                &rig.svid_of(&rig.own, &"spiffe://nowhere.example.org/agent/a".parse().unwrap()),
            ),
        ),
    ] {
        let Err(error) = rig.exchange(&fields).await else { panic!("{name} gets a token") };
        assert_eq!((error.code(), error.http_status()), (InvalidClient, 400), "{name}");
        said.insert(error.to_json().to_string());
    }
    assert_eq!(said.len(), 1, "an answer tells one reason from another: {said:?}");
    let other = good.set("client_id", "spiffe://prod.example.org/agent/other");
    assert_eq!(refusal(rig, "another client", &other).await, InvalidClient);
}
