//! Tokens that are bound to a key, over the real HTTPS edge: by DPoP proofs made by hand and by PyPI's
//! `requests-oauth2client`, and by the X.509-SVID of a rustls client.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::python::run;
use crate::support::daemon::{Daemon, NON_PRODUCTION, PRODUCTION, RESTARTER, ROTATOR};
use crate::support::http::{Answer, Call};
use crate::support::oauth::{Client, INGRESS, PREVIEW, approved_rotation, exchange_fields};
use crate::support::python::{interpreter, own_interpreter};
use crate::support::tokens::{ScratchKey, claims};

/// The thumbprint of a P-256 key (RFC 7638), made without the product's own code.
fn thumbprint(key: &ScratchKey) -> String {
    let jwk = key.jwk();
    let text = |name: &str| jwk[name].as_str().expect("a text").to_owned();
    let members =
        format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, text("x"), text("y"));
    URL_SAFE_NO_PAD.encode(digest(&SHA256, members.as_bytes()))
}

/// The exchange of an intent with `DPoP` headers.
async fn exchange(client: &Client, intent: &str, proofs: &[&str]) -> Answer {
    let fields = exchange_fields(&client.svid, intent);
    let call = Call::form(&client.place.token_endpoint, &fields);
    let call = proofs.iter().fold(call, |call, proof| call.header("dpop", *proof));
    client.send(call).await
}

fn nonce(answer: &Answer) -> String {
    answer.headers["dpop-nonce"].to_str().expect("a nonce").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_7_8_a_proof_with_our_nonce_binds_the_token_to_its_key() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let ingress = Client::service(&daemon, PRODUCTION, INGRESS.path).await;
    let intent = approved_rotation(&daemon, &rotator).await;
    let (key, endpoint) = (ScratchKey::new(), rotator.place.token_endpoint.clone());
    // Production demands a nonce, which the first answer hands out.
    let first = exchange(&rotator, &intent, &[&key.proof(&endpoint, "one", None)]).await;
    let told = first.oauth_error("use_dpop_nonce").expect(400);
    assert_eq!(told.headers["cache-control"], "no-store");
    let good = key.proof(&endpoint, "two", Some(&nonce(&told)));
    let answer = exchange(&rotator, &intent, &[&good]).await.expect(200);
    assert_eq!(answer.json()["token_type"], "DPoP");
    assert!(!nonce(&answer).is_empty());
    let token = answer.text("access_token");
    let jkt = thumbprint(&key);
    assert_eq!(claims(&token)["cnf"], json!({ "jkt": jkt }));
    let told = ingress.introspect(&token).await.expect(200).json();
    assert_eq!((&told["cnf"]["jkt"], &told["token_type"]), (&json!(jkt), &json!("DPoP")));
    // The proof counts no more.
    let again = exchange(&rotator, &intent, &[&good]).await.oauth_error("invalid_dpop_proof");
    assert_eq!(again.status, 400);
    for secret in [&token, &good] {
        assert!(!daemon.output().contains(secret.as_str()), "a secret is in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_7_1_more_than_one_proof_is_none() {
    let daemon = Daemon::start().await;
    let restarter = Client::start(&daemon, RESTARTER).await;
    let intent = restarter.ask_restart().await;
    let (key, endpoint) = (ScratchKey::new(), restarter.place.token_endpoint.clone());
    let of = |jti: &str| key.proof(&endpoint, jti, None);
    let list = format!("{}, {}", of("one"), of("two"));
    for proofs in [vec![of("one"), of("two")], vec![list], vec![String::new()]] {
        let proofs: Vec<&str> = proofs.iter().map(String::as_str).collect();
        exchange(&restarter, &intent, &proofs).await.oauth_error("invalid_dpop_proof");
    }
    // Elsewhere than in production a proof needs no nonce, but one that is not ours is refused.
    let foreign = key.proof(&endpoint, "three", Some("nonce-of-another-server"));
    exchange(&restarter, &intent, &[&foreign]).await.oauth_error("use_dpop_nonce");
    let answer = exchange(&restarter, &intent, &[&of("four")]).await.expect(200);
    assert_eq!(answer.json()["token_type"], "DPoP");
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_21_replay_racing_of_one_proof_on_many_connections_is_answered_once() {
    let daemon = Daemon::start().await;
    let restarter = Client::start(&daemon, RESTARTER).await;
    let key = ScratchKey::new();
    let proof = key.proof(&restarter.place.token_endpoint, "one", None);
    let intents = [restarter.ask_restart().await];
    let proofs = [proof.as_str()];
    let calls = (0..16).map(|_| exchange(&restarter, &intents[0], &proofs));
    let answers = futures::future::join_all(calls).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1, "{answers:?}");
    for answer in answers.into_iter().filter(|answer| answer.status != 200) {
        answer.oauth_error("invalid_dpop_proof");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_6_1_a_client_of_mutual_tls_gets_a_token_that_is_bound_to_its_certificate() {
    let daemon = Daemon::start().await;
    let mut restarter = Client::start(&daemon, RESTARTER).await;
    let preview = Client::service(&daemon, NON_PRODUCTION, PREVIEW.path).await;
    let intent = restarter.ask_restart().await;
    let svid = restarter.workload.x509_svid().await.expect("an X.509-SVID");
    let der = |text: &Value| hex::decode(text.as_str().expect("a text")).expect("hexadecimal");
    let chain: Vec<Vec<u8>> = svid["chain"].as_array().expect("a chain").iter().map(der).collect();
    let http = daemon.http_with(NON_PRODUCTION, &chain, &der(&svid["key"]));
    let fields: Vec<_> = exchange_fields(&restarter.svid, &intent)
        .into_iter()
        .filter(|(name, _)| !name.starts_with("client_assertion"))
        .chain([("client_id", svid["id"].as_str().expect("an id").to_owned())])
        .collect();
    let call = || Call::form(&restarter.place.token_endpoint, &fields);
    // Over a connection without the certificate nobody is known.
    restarter.send(call()).await.oauth_error("invalid_client");
    let answer = http.send(call()).await.expect(200);
    let thumbprint = URL_SAFE_NO_PAD.encode(digest(&SHA256, &chain[0]));
    let token = answer.text("access_token");
    assert_eq!(claims(&token)["cnf"], json!({ "x5t#S256": thumbprint }));
    let told = preview.introspect(&token).await.expect(200).json();
    assert_eq!(told["cnf"], json!({ "x5t#S256": thumbprint }), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_oauth_client_binds_its_token_after_a_nonce() {
    let Some(python) = interpreter() else { return };
    let daemon = Daemon::start().await;
    let agent = own_interpreter(&python, &daemon.path(""), "python-agent");
    let place = daemon.place(PRODUCTION);
    let operator = daemon.operator(PRODUCTION);
    operator.register(&place.id("/agent/cert-rotator/python"), "agent", &agent).await;
    let endpoints = daemon.endpoints_file().display().to_string();
    let call = async |arguments: &[&str]| {
        let arguments = [&[endpoints.as_str(), PRODUCTION][..], arguments].concat();
        run(&agent, "dpop_client.py", place, &arguments, "").await
    };
    let intent = call(&["ask"]).await["id"].as_str().expect("an intent").to_owned();
    operator.approve(&intent).await;
    let told = call(&["exchange", &intent]).await;
    assert_eq!(told["statuses"], json!([400, 200]), "{told}");
    assert_eq!(told["errors"], json!(["use_dpop_nonce", null]), "{told}");
    assert!(told["nonces"].as_array().expect("nonces").iter().all(Value::is_string), "{told}");
    assert_eq!(told["token_type"], "DPoP", "{told}");
    let token = told["access_token"].as_str().expect("a token");
    assert_eq!(claims(token)["cnf"]["jkt"], told["jkt"], "{told}");
    assert!(told["algorithms"].as_array().expect("algorithms").contains(&json!("ES256")));
}
