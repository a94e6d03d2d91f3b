//! Reloading what the signing authorities go by: lifetimes, algorithms, how long tokens last, and whom JWT-SVIDs name.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use spiffe::WorkloadApiClient;
use x509_parser::parse_x509_certificate;

use futures::StreamExt as _;

use crate::reload::{folder, refused, reload, status};
use crate::support::agent::Workload;
use crate::support::daemon::{Daemon, NON_PRODUCTION, PRODUCTION, RESTARTER};
use crate::support::folder::{append, edit};
use crate::support::http::Call;
use crate::support::oauth::Client;
use crate::support::operator::Operator;
use crate::support::place::Place;
use crate::support::programs::{copy_of_this_program, this_program};
use crate::support::tokens::{claims, header};
use crate::support::wait::{until, within};

const DOCUMENT: &str = "trust-domain.toml";
const AUDIENCE: &str = "https://api.example.org";

/// How long a certificate lasts, in seconds.
fn lasts(der: &[u8]) -> i64 {
    let (_, certificate) = parse_x509_certificate(der).expect("a certificate");
    let validity = certificate.validity();
    validity.not_after.timestamp() - validity.not_before.timestamp()
}

/// How long a token lasts, in seconds.
fn token_lasts(token: &str) -> i64 {
    let claims = claims(token);
    claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap()
}

async fn active(operator: &Operator, purpose: &str) -> Value {
    let listed = operator.json(&["authority", "list"]).await;
    let keys = listed.as_array().expect("keys");
    let found = keys.iter().find(|key| key["purpose"] == purpose && key["state"] == "active");
    found.unwrap_or_else(|| panic!("{listed}")).clone()
}

/// Has a new key sign at once.
async fn rotate(operator: &Operator, purpose: &str) -> Value {
    let prepared = operator.json(&["authority", "prepare", purpose]).await;
    let key = prepared["key"].as_str().expect("a key").to_owned();
    operator
        .run(&["authority", "activate", &key, "--now", "--reason", "a drill"])
        .await
        .succeeded();
    active(operator, purpose).await
}

#[tokio::test(flavor = "multi_thread")]
async fn shorter_lifetimes_are_pushed_longer_ones_come_with_the_next_svid_and_nobody_is_sent_away()
{
    let daemon = Daemon::start().await;
    let operator = daemon.operator(NON_PRODUCTION);
    let (folder, place) = (folder(&daemon, NON_PRODUCTION), daemon.place(NON_PRODUCTION));
    operator.register(&place.id("/service/e2e"), "service", &this_program()).await;
    let workload = WorkloadApiClient::connect_to(place.workload_api()).await.unwrap();
    let mut stream = Box::pin(workload.stream_x509_contexts().await.unwrap());
    let first = within("a first SVID", stream.next()).await.unwrap().unwrap();
    let of = |context: &spiffe::X509Context| {
        lasts(context.default_svid().expect("an SVID").cert_chain()[0].as_bytes())
    };
    assert_eq!(of(&first), 3610);
    // Somebody with a JWT-SVID of before works while all of this happens.
    let restarter = Client::start(&daemon, RESTARTER).await;
    assert_eq!(token_lasts(&restarter.svid), 300);
    let stop = AtomicBool::new(false);
    let works = async {
        while !stop.load(Ordering::Relaxed) {
            let intent = restarter.ask_restart().await;
            restarter.exchange(&intent).await.expect(200);
            restarter.end(&intent, "complete", &json!({ "outcome": "success" })).await.expect(200);
        }
    };
    let reloads = async {
        edit(&folder, DOCUMENT, "x509_svid = \"1h\"", "x509_svid = \"10m\"\nwit_svid = \"7m\"");
        edit(&folder, DOCUMENT, "jwt_svid = \"5m\"", "jwt_svid = \"1m\"");
        reload(&operator).await;
        let pushed = within("a shorter SVID", stream.next()).await.unwrap().unwrap();
        assert_eq!(of(&pushed), 610);
        let token = workload.fetch_jwt_svid([AUDIENCE], None).await.unwrap();
        assert_eq!(token_lasts(token.token()), 60);
        let mut agent = Workload::start(&copy_of_this_program(RESTARTER.program), place);
        assert_eq!(token_lasts(&agent.wit_svid().await.0), 420);
        // What no folder may say leaves everything as it is.
        let before = status(&operator).await;
        edit(&folder, DOCUMENT, "x509_svid = \"10m\"", "x509_svid = \"26h\"");
        refused(&operator, "folder_invalid").await;
        assert_eq!(status(&operator).await["digest"], before["digest"]);
        let token = workload.fetch_jwt_svid(["https://other.example.org"], None).await.unwrap();
        assert_eq!(token_lasts(token.token()), 60);
        // Longer: what is there is good until its renewal, and whoever comes next gets longer ones.
        edit(&folder, DOCUMENT, "x509_svid = \"26h\"", "x509_svid = \"2h\"");
        reload(&operator).await;
        let program = copy_of_this_program("longer");
        operator.register(&place.id("/service/longer"), "service", &program).await;
        let mut longer = Workload::start(&program, place);
        let svid = longer.x509_svid().await.expect("an SVID");
        let leaf = hex::decode(svid["chain"][0].as_str().unwrap()).unwrap();
        assert_eq!(lasts(&leaf), 7210);
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(works, reloads);
    assert_eq!(claims(&restarter.svid)["sub"], place.id(RESTARTER.path));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_key_is_as_the_document_says_by_then_and_the_one_that_signs_keeps_its_own() {
    let daemon = Daemon::start().await;
    let operator = daemon.operator(PRODUCTION);
    let folder = folder(&daemon, PRODUCTION);
    let place = daemon.place(PRODUCTION);
    operator.register(&place.id("/service/e2e"), "service", &this_program()).await;
    let workload = WorkloadApiClient::connect_to(place.workload_api()).await.unwrap();
    let algorithm = async || {
        let token = workload.fetch_jwt_svid([AUDIENCE], None).await.unwrap();
        header(token.token())["alg"].as_str().unwrap().to_owned()
    };
    let (x509, jwt) =
        (active(&operator, "x509-authority").await, active(&operator, "jwt-svid").await);
    let bundle =
        daemon.http(PRODUCTION).send(Call::get(&place.bundle_url)).await.expect(200).json();
    assert_eq!(algorithm().await, "ES256");
    edit(&folder, DOCUMENT, "authority = \"30d\"", "authority = \"20d\"");
    edit(&folder, DOCUMENT, "refresh_hint = \"5m\"", "refresh_hint = \"2m\"");
    append(&folder, DOCUMENT, "\n[authorities]\njwt_svid = \"RS256\"\n");
    reload(&operator).await;
    assert_eq!(active(&operator, "x509-authority").await, x509);
    assert_eq!(active(&operator, "jwt-svid").await, jwt);
    assert_eq!(algorithm().await, "ES256");
    // A bundle does not change under its sequence.
    let again = daemon.http(PRODUCTION).send(Call::get(&place.bundle_url)).await.expect(200).json();
    assert_eq!(again, bundle);
    rotate(&operator, "jwt-svid").await;
    let next = rotate(&operator, "x509-authority").await;
    let seconds = |key: &Value, member: &str| {
        key[member].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second()
    };
    assert_eq!(seconds(&next, "ends_at") - seconds(&next, "published_at"), 20 * 24 * 3600);
    let after = daemon.http(PRODUCTION).send(Call::get(&place.bundle_url)).await.expect(200).json();
    assert_eq!(after["spiffe_refresh_hint"], 120, "{after}");
    assert!(after["spiffe_sequence"].as_u64() > bundle["spiffe_sequence"].as_u64(), "{after}");
    // What was minted by the key of before is served until its renewal, so that somebody new is asked.
    let token = workload.fetch_jwt_svid(["https://new.example.org"], None).await.unwrap();
    assert_eq!(header(token.token())["alg"], "RS256");
}

#[tokio::test(flavor = "multi_thread")]
async fn access_tokens_last_as_long_as_the_document_says_by_then_less_or_more() {
    let daemon = Daemon::start().await;
    let operator = daemon.operator(NON_PRODUCTION);
    let folder = folder(&daemon, NON_PRODUCTION);
    let restarter = Client::start(&daemon, RESTARTER).await;
    let lifetime = async || {
        let intent = restarter.ask_restart().await;
        let answer = restarter.exchange(&intent).await.expect(200).json();
        answer["expires_in"].as_u64().expect("a lifetime")
    };
    let usual = lifetime().await;
    assert!(usual > 60, "{usual}");
    edit(&folder, DOCUMENT, "max_lifetime = \"10m\"", "max_lifetime = \"1m\"");
    reload(&operator).await;
    assert_eq!(lifetime().await, 60);
    edit(&folder, DOCUMENT, "max_lifetime = \"1m\"", "max_lifetime = \"30m\"");
    reload(&operator).await;
    assert!(lifetime().await >= usual);
    // No key was asked for more than it may sign.
    let metrics = operator.run(&["metrics"]).await.succeeded().out;
    assert!(!metrics.contains("marque_signing_refused_total{"), "{metrics}");
}

/// What a daemon says of one of its trust domains now.
fn told(daemon: &Daemon, trust_domain: &str) -> Place {
    let places = Place::read_all(&daemon.endpoints_file()).expect("endpoints");
    places.into_iter().find(|place| place.name == trust_domain).expect("the trust domain")
}

#[tokio::test(flavor = "multi_thread")]
async fn clouds_find_the_issuer_of_jwt_svids_as_soon_as_the_document_names_one() {
    let daemon = Daemon::start().await;
    let operator = daemon.operator(PRODUCTION);
    let folder = folder(&daemon, PRODUCTION);
    let place = daemon.place(PRODUCTION).clone();
    operator.register(&place.id("/service/e2e"), "service", &this_program()).await;
    let workload = WorkloadApiClient::connect_to(place.workload_api()).await.unwrap();
    let issuer = async || {
        let token = workload.fetch_jwt_svid([AUDIENCE], None).await.unwrap();
        claims(token.token()).get("iss").cloned()
    };
    assert_eq!(issuer().await, None);
    let own = format!("{}/svid", place.issuer_url);
    let discovery = Call::get(&format!("{own}/.well-known/openid-configuration"));
    let http = daemon.http(PRODUCTION);
    assert_eq!(http.send(discovery.clone()).await.status, 404);
    append(&folder, DOCUMENT, "\n[oidc_discovery]\n");
    reload(&operator).await;
    assert_eq!(issuer().await, Some(json!(own)), "the token of before was another one");
    assert_eq!(http.send(discovery.clone()).await.expect(200).json()["issuer"], own);
    assert_eq!(told(&daemon, PRODUCTION).svid_issuer_url, Some(own.clone()));
    // A line more above it is no other setting.
    edit(&folder, DOCUMENT, "\n[oidc_discovery]", "\n# for the clouds\n[oidc_discovery]");
    reload(&operator).await;
    append(&folder, DOCUMENT, "issuer = \"https://oidc.example.org/prod\"\n");
    reload(&operator).await;
    assert_eq!(issuer().await, Some(json!("https://oidc.example.org/prod")));
    edit(&folder, DOCUMENT, "issuer = \"https://oidc.example.org/prod\"", "issuer = \"no url\"");
    refused(&operator, "folder_invalid").await;
    assert_eq!(issuer().await, Some(json!("https://oidc.example.org/prod")));
    edit(&folder, DOCUMENT, "[oidc_discovery]\nissuer = \"no url\"", "");
    reload(&operator).await;
    assert_eq!(issuer().await, None);
    until("the end of discovery", async || {
        (http.send(discovery.clone()).await.status == 404).then_some(())
    })
    .await;
    assert_eq!(told(&daemon, PRODUCTION).svid_issuer_url, None);
}
