//! The firebreak between environments, tried from outside.

use std::fs;

use serde_json::Value;
use x509_parser::prelude::parse_x509_certificate;

use crate::support::agent::Workload;
use crate::support::daemon::{Daemon, NON_PRODUCTION, PRODUCTION, RESTARTER, ROTATOR};
use crate::support::folder;
use crate::support::http::Call;
use crate::support::oauth::{Client, approved_rotation, exchange_fields};
use crate::support::operator::{Said, run_marque};
use crate::support::programs::{copy_of_this_program, this_program};

async fn issuer(arguments: &[&str]) -> Said {
    let scratch = tempfile::Builder::new().prefix("mq").tempdir_in("/tmp").unwrap();
    let key = scratch.path().join("sealing.key");
    fs::write(&key, format!("{}\n", "5a".repeat(32))).unwrap();
    fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let (data, certs) = (scratch.path().join("s"), scratch.path().join("c"));
    let folder = folder::shipped().display().to_string();
    let fixed = [
        "issuer",
        "--trust-domains",
        &folder,
        "--sealing-key",
        key.to_str().unwrap(),
        "--data-dir",
        data.to_str().unwrap(),
        "--certs-dir",
        certs.to_str().unwrap(),
    ];
    let all: Vec<String> =
        fixed.iter().chain(arguments).map(|argument| (*argument).to_owned()).collect();
    run_marque(&all).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_refuses_trust_domains_of_both_environments() {
    let said = issuer(&[]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("production") && said.err.contains("non-production"), "{said:?}");
    assert!(said.err.contains(PRODUCTION) && said.err.contains(NON_PRODUCTION), "{said:?}");
    let both = issuer(&["--trust-domain", PRODUCTION, "--trust-domain", NON_PRODUCTION]).await;
    assert_eq!(both.code, 1, "{both:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_non_production_svid_is_refused_at_every_production_endpoint() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = approved_rotation(&daemon, &rotator).await;
    let foreign = daemon.agent(RESTARTER).jwt_svid(&rotator.place.issuer_url).await;
    let place = &rotator.place;
    rotator.token(&exchange_fields(&foreign, &intent)).await.refused("environment_boundary");
    let fields = exchange_fields(&rotator.svid, &intent);
    let as_subject: Vec<_> = fields
        .into_iter()
        .map(
            |(name, value)| {
                if name == "subject_token" { (name, foreign.clone()) } else { (name, value) }
            },
        )
        .collect();
    rotator.token(&as_subject).await.refused("environment_boundary");
    for url in [place.playbooks_url(), format!("{}/{intent}", place.intents_url)] {
        rotator.send(Call::get(&url).bearer(&foreign)).await.refused("environment_boundary");
    }
    rotator.exchange(&intent).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_production_svid_is_refused_in_non_production() {
    let daemon = Daemon::start().await;
    let restarter = Client::start(&daemon, RESTARTER).await;
    let intent = restarter.ask_restart().await;
    let foreign = daemon.agent(ROTATOR).jwt_svid(&restarter.place.issuer_url).await;
    restarter.token(&exchange_fields(&foreign, &intent)).await.refused("environment_boundary");
    restarter.exchange(&intent).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_of_one_environment_gets_no_identity_in_the_other() {
    let daemon = Daemon::start().await;
    let program = copy_of_this_program(RESTARTER.program);
    let mut stray = Workload::start(&program, daemon.place(PRODUCTION));
    let error = stray.x509_svid().await.expect_err("no identity");
    assert!(error.contains("PermissionDenied") || error.contains("NoIdentityIssued"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_serves_both_trust_domains_and_each_root_says_its_environment() {
    let daemon = Daemon::start().await;
    let mut tokens = Vec::new();
    for (role, environment) in [(ROTATOR, "production"), (RESTARTER, "non-production")] {
        let place = daemon.place(role.trust_domain);
        assert_eq!(place.environment, environment);
        let keys = daemon
            .http(role.trust_domain)
            .send(Call::get(&place.jwks_url))
            .await
            .expect(200)
            .json();
        tokens.extend(keys["keys"].as_array().unwrap().iter().map(|key| key["x"].clone()));
        let id = place.id("/service/e2e");
        let program = this_program();
        daemon.operator(role.trust_domain).register(&id, "service", &program).await;
        let workload = spiffe::WorkloadApiClient::connect_to(place.workload_api()).await.unwrap();
        let name = spiffe::TrustDomain::new(role.trust_domain).unwrap();
        let bundle = workload.fetch_x509_bundles().await.unwrap().get(&name).unwrap();
        let (_rest, root) = parse_x509_certificate(bundle.authorities()[0].as_bytes()).unwrap();
        let subject = root.subject().to_string();
        assert!(subject.contains(environment), "{subject}");
        assert_eq!(
            subject.contains("non-production"),
            environment == "non-production",
            "{subject}"
        );
        let jwt = workload.fetch_jwt_bundles().await.unwrap().get(&name).unwrap();
        for authority in jwt.jwt_authorities() {
            let key: Value = serde_json::from_slice(authority.jwk_json()).unwrap();
            tokens.push(key["x"].clone());
        }
    }
    let distinct: std::collections::BTreeSet<String> =
        tokens.iter().map(Value::to_string).collect();
    assert_eq!(distinct.len(), tokens.len(), "a key is used twice: {tokens:?}");
    assert!(tokens.len() >= 4, "{tokens:?}");
}
