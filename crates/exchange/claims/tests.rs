use std::collections::BTreeSet;

use marque_intent::{OnBehalf, is_secret_name, looks_like_secret};
use marque_jose::{Signer as _, UnverifiedJws, VerifiedJws};
use serde_json::Value;

use crate::{
    GRANT_TYPE_TOKEN_EXCHANGE, TOKEN_TYPE_ACCESS_TOKEN, TOKEN_TYPE_ID_TOKEN, TokenResponse,
    fixture::{AUDIENCE, Fields, ISSUER, Login, Rig},
};

const OTHER: &str = "spiffe://prod.example.org/agent/b";

/// A rig whose tokens may be handed on.
fn rig() -> Rig {
    Rig::with(
        |_| {},
        |terms| {
            let agents = vec![OTHER.parse().unwrap()];
            terms.on_behalf = Some(OnBehalf { max_depth: 2, agents, equal: BTreeSet::new() });
            terms.audiences.push(OTHER.to_owned());
            terms.uses = 4;
        },
    )
}

/// One way to a token: its name, the request, whose token it is, and who holds it.
struct Way {
    name: &'static str,
    fields: Fields,
    sub: &'static str,
    client: &'static str,
}

/// Every way to an access token: for an SVID, for a person, by narrowing and by handing on.
async fn ways(rig: &Rig) -> Vec<Way> {
    const AGENT: &str = "spiffe://prod.example.org/agent/rotator";
    let first = rig.exchange(&rig.fields()).await.unwrap();
    let for_token = |svid: &str| {
        Fields::default()
            .set("grant_type", GRANT_TYPE_TOKEN_EXCHANGE)
            .authenticated(svid)
            .set("subject_token", first.access_token().expose_token())
            .set("subject_token_type", TOKEN_TYPE_ACCESS_TOKEN)
            .set("audience", AUDIENCE)
            .set("scope", "secrets.read")
    };
    let alice = rig.fields().set("subject_token", &rig.login.sign(&Login::alice()));
    let alice = alice.set("subject_token_type", TOKEN_TYPE_ID_TOKEN);
    let other = rig.svid_of(&rig.own, &OTHER.parse().unwrap());
    let way = |name, fields, sub, client| Way { name, fields, sub, client };
    vec![
        way("an SVID", rig.fields(), AGENT, AGENT),
        way("a person", alice, "corp:alice", AGENT),
        way("its own token", for_token(&rig.svid()), AGENT, AGENT),
        way("handed on", for_token(&other), AGENT, OTHER),
    ]
}

fn verified(rig: &Rig, answer: &TokenResponse) -> VerifiedJws {
    let jws = UnverifiedJws::parse(answer.access_token().expose_token()).unwrap();
    jws.verify(rig.signer.public_key(), rig.signer.public_key().algorithms()).unwrap()
}

#[tokio::test]
async fn oauth_9_1_every_access_token_has_what_rfc_9068_demands() {
    let rig = rig();
    let mut ids = BTreeSet::new();
    for Way { name, fields, sub, client } in ways(&rig).await {
        let token = verified(&rig, &rig.exchange(&fields).await.unwrap());
        assert_eq!(token.header().typ(), Some("at+jwt"), "{name}");
        let claims = token.claims();
        let says = |claim: &str| claims[claim].as_str();
        assert_eq!((says("iss"), says("sub")), (Some(ISSUER), Some(sub)), "{name}");
        assert_eq!(says("client_id"), Some(client), "{name}");
        let (iat, exp) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
        assert_eq!(iat, rig.now().as_second(), "{name}");
        assert!(iat < exp && exp <= iat + 240, "{name}");
        let audiences = claims["aud"].as_array().map_or(1, Vec::len);
        assert!(audiences > 0 && (audiences > 1) != claims["aud"].is_string(), "{name}");
        assert!(ids.insert(says("jti").unwrap().to_owned()), "{name}");
    }
}

/// Every text in a value, with the path to it, and every name.
fn texts(path: &str, value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::String(text) => found.push((path.to_owned(), text.clone())),
        Value::Array(items) => items.iter().for_each(|item| texts(path, item, found)),
        Value::Object(members) => {
            for (name, value) in members {
                assert!(!is_secret_name(name), "{path}/{name}");
                texts(&format!("{path}/{name}"), value, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The names of tokens, of grants and of keys are digests and random on purpose, and open nothing.
const NAMES: [&str; 3] = ["/jti", "/intent/id", "/intent/digest"];

#[tokio::test]
async fn m_17_no_token_that_is_minted_holds_a_secret_or_another_token() {
    let rig = rig();
    for Way { name, fields, .. } in ways(&rig).await {
        let token = verified(&rig, &rig.exchange(&fields).await.unwrap());
        let mut found = Vec::new();
        texts("", &Value::Object(token.claims().clone()), &mut found);
        assert!(found.len() > 10, "{name}: only {found:?} was looked at");
        for (path, text) in found {
            let is_name = NAMES.contains(&path.as_str()) || path.ends_with("/intent_id");
            assert!(is_name || !looks_like_secret(&text), "{name}: {path} says {text}");
        }
        // What was shown for it stays out of it, in every form that a part of it could be used in.
        let shown = fields.encode();
        let shown = shown.split(['&', '=', '.']).filter(|part| part.len() > 40);
        let said = Value::Object(token.claims().clone()).to_string();
        for part in shown {
            assert!(!said.contains(part), "{name}");
        }
    }
}
