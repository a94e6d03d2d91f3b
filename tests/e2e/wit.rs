//! WIT-SVIDs from the real daemon: verified by a library that is not ours, renewed in time, recorded, switched off where
//! nobody asked for them, and worth nothing as a bearer token.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};
use tonic::Code;

use crate::support::daemon::{Daemon, NON_PRODUCTION, PRODUCTION, RESTARTER};
use crate::support::http::Call;
use crate::support::log;
use crate::support::oauth::{Client, exchange_fields};
use crate::support::programs::this_program;
use crate::support::tokens::{claims, header, now};
use crate::support::wit;

async fn register_this_process(daemon: &Daemon, trust_domain: &'static str) -> String {
    let id = daemon.place(trust_domain).id("/service/e2e");
    daemon.operator(trust_domain).register(&id, "service", &this_program()).await;
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wit_svid_verifies_by_the_bundle_with_a_library_that_is_not_ours_and_its_key_fits() {
    let daemon = Daemon::start().await;
    let id = register_this_process(&daemon, NON_PRODUCTION).await;
    let socket = &daemon.place(NON_PRODUCTION).workload_api_socket;
    let bundles = wit::bundles(socket).await;
    let keys = &bundles[&format!("spiffe://{NON_PRODUCTION}")];
    let svids = wit::fetch(socket).await.unwrap();
    assert_eq!(svids.len(), 1);
    let claims = wit::verify(&svids[0].wit_svid, keys).expect("a good token");
    assert_eq!((&svids[0].spiffe_id, &claims["sub"]), (&id, &json!(id)));
    wit::assert_holder(&claims, &svids[0].wit_svid_key);
    let names: BTreeSet<_> = claims.as_object().unwrap().keys().map(String::as_str).collect();
    assert!(names.iter().eq(&["cnf", "exp", "iat", "jti", "nbf", "sub"]), "{names:?}");
    let lifetime = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
    assert_eq!(lifetime, 3_600, "as X.509-SVIDs, where the document does not say");
    let head = header(&svids[0].wit_svid);
    assert_eq!(head.as_object().unwrap().len(), 3, "{head}");

    // The keys are for WIT-SVIDs alone, and none of them is private.
    let keys: Value = serde_json::from_str(keys).unwrap();
    let keys = keys["keys"].as_array().unwrap();
    assert!(keys.iter().all(|key| key["use"] == "wit-svid" && key.get("d").is_none()), "{keys:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_brings_a_new_token_with_a_new_key_before_the_last_one_ends() {
    let daemon = Daemon::start_with(|trust_domains| {
        let file = trust_domains.join(NON_PRODUCTION).join("trust-domain.toml");
        let text = fs::read_to_string(&file).unwrap();
        let short = text.replace("jwt_svid =", "wit_svid = \"3s\"\njwt_svid =");
        assert_ne!(text, short);
        fs::write(file, short).unwrap();
    })
    .await;
    let id = register_this_process(&daemon, NON_PRODUCTION).await;
    let socket = &daemon.place(NON_PRODUCTION).workload_api_socket;
    let bundles = wit::bundles(socket).await;
    let keys = &bundles[&format!("spiffe://{NON_PRODUCTION}")];
    let mut stream = wit::open(socket, &id).await.unwrap();
    let (mut holders, mut last_end) = (BTreeSet::new(), None);
    while holders.len() < 4 {
        let svids = wit::next(&mut stream).await.unwrap();
        let claims = wit::verify(&svids[0].wit_svid, keys).expect("a token that is valid now");
        wit::assert_holder(&claims, &svids[0].wit_svid_key);
        assert!(holders.insert(claims["cnf"]["jwk"]["x"].to_string()), "the same key again");
        let end = claims["exp"].as_u64().unwrap();
        if let Some(last) = last_end.replace(end) {
            assert!(now() <= last, "the last token had ended before the next one came");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_whose_x509_svids_are_short_has_short_wit_svids() {
    let daemon = Daemon::start().await;
    let place = daemon.place(NON_PRODUCTION);
    let (id, uid) = (place.id("/service/e2e"), format!("unix:uid:{}", nix::unistd::geteuid()));
    let path = format!("unix:path:{}", this_program().display());
    let entry = [
        "entry",
        "create",
        "--expires-in",
        "1d",
        "--spiffe-id",
        &id,
        "--role",
        "service",
        "--owner",
        "x",
    ];
    let rest = ["--x509-lifetime", "2m", "--selector", &uid, "--selector", &path];
    daemon.operator(NON_PRODUCTION).run(&[&entry[..], &rest[..]].concat()).await.succeeded();
    let svids = wit::fetch(&place.workload_api_socket).await.unwrap();
    let claims = claims(&svids[0].wit_svid);
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 120);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_switches_each_profile_and_a_minted_token_is_in_the_log() {
    let daemon = Daemon::start_with(|trust_domains| {
        for (name, lines) in [
            (PRODUCTION, "wit_svid = true\njwt_svid = false"),
            (NON_PRODUCTION, "wit_svid = false"),
        ] {
            let file = trust_domains.join(name).join("trust-domain.toml");
            let text = fs::read_to_string(&file).unwrap();
            fs::write(file, format!("{text}\n[workload_api]\n{lines}\n")).unwrap();
        }
    })
    .await;
    let id = register_this_process(&daemon, PRODUCTION).await;
    register_this_process(&daemon, NON_PRODUCTION).await;
    let refused = wit::fetch(&daemon.place(NON_PRODUCTION).workload_api_socket).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented, "{refused:?}");

    let place = daemon.place(PRODUCTION);
    let svids = wit::fetch(&place.workload_api_socket).await.unwrap();
    assert_eq!(svids[0].spiffe_id, id);
    let workload = spiffe::WorkloadApiClient::connect_to(place.workload_api()).await.unwrap();
    workload.fetch_x509_svid().await.expect("a profile that nobody switched off");
    let off = format!("{:?}", workload.fetch_jwt_bundles().await.unwrap_err());
    assert!(off.contains("JWT-SVIDs are not served here"), "{off}");

    let leaves = log::export(&daemon.operator(PRODUCTION), &daemon.path("log")).await;
    let minted: Vec<_> =
        leaves.iter().filter(|leaf| leaf.to_string().contains("wit-svid")).collect();
    let issued = minted.iter().find(|leaf| leaf["type"] == "org.marque.svid.issued");
    let issued = issued.unwrap_or_else(|| panic!("no minted WIT-SVID in {leaves:#?}"));
    assert_eq!(issued["data"]["agent"], id, "{issued}");
    assert!(issued["data"]["expires_at"].is_string(), "{issued}");
    let secret: Value = serde_json::from_str(&svids[0].wit_svid_key).unwrap();
    let all = serde_json::to_string(&leaves).unwrap();
    assert!(!all.contains(secret["d"].as_str().unwrap()), "a private key is in the log");
    assert!(!daemon.output().contains(secret["d"].as_str().unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_without_a_key_for_wit_svids_gets_one_when_they_are_switched_on() {
    let mut daemon = Daemon::start().await;
    let id = register_this_process(&daemon, PRODUCTION).await;
    let socket = daemon.place(PRODUCTION).workload_api_socket.clone();
    assert_eq!(wit::fetch(&socket).await.unwrap_err().code(), Code::Unimplemented);
    daemon.stop().await;
    let file = daemon.path("trust-domains").join(PRODUCTION).join("trust-domain.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}\n[workload_api]\nwit_svid = true\n")).unwrap();
    daemon.launch().await;
    let socket = &daemon.place(PRODUCTION).workload_api_socket;
    let svids = wit::fetch(socket).await.unwrap();
    assert_eq!(svids[0].spiffe_id, id);
    let keys = &wit::bundles(socket).await[&format!("spiffe://{PRODUCTION}")];
    wit::verify(&svids[0].wit_svid, keys).expect("a good token");
}

#[tokio::test(flavor = "multi_thread")]
async fn wi_10_a_wit_svid_is_no_bearer_no_client_assertion_and_no_subject_token() {
    let daemon = Daemon::start().await;
    let mut restarter = Client::start(&daemon, RESTARTER).await;
    let intent = restarter.ask_restart().await;
    let (token, _key) = restarter.workload.wit_svid().await;
    assert_eq!(header(&token)["typ"], "wit+jwt");

    for scheme in ["Bearer", "DPoP", "WPT", "bearer"] {
        let call = Call::get(&restarter.place.playbooks_url());
        let call = call.header("authorization", format!("{scheme} {token}"));
        let answer = restarter.send(call).await;
        assert_eq!(answer.status, 401, "{scheme}: {answer:?}");
    }
    let good = exchange_fields(&restarter.svid, &intent);
    let with = |field: &str| {
        let swapped = |(name, value): &(&'static str, String)| {
            (*name, if *name == field { token.clone() } else { value.clone() })
        };
        good.iter().map(swapped).collect::<Vec<_>>()
    };
    for (field, error) in
        [("client_assertion", "invalid_client"), ("subject_token", "invalid_request")]
    {
        let answer = restarter.token(&with(field)).await;
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!(error)), "{field}");
    }
    let both = exchange_fields(&token, &intent);
    assert_eq!(restarter.token(&both).await.json()["error"], "invalid_client");
    let inspected = restarter.introspect(&token).await;
    assert_eq!(inspected.expect(200).json()["active"], false);
    // Nothing but the WIT-SVID was refused, and no refusal cost a use.
    restarter.exchange(&intent).await.expect(200);
}
