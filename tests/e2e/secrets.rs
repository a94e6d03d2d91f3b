//! No output of a whole run holds a token or a private key: the log of the daemon, what the command line says, the
//! endpoints file, the exported log, the files in the data folder.

use std::fs;

use crate::support::collector::{Collector, Manner};
use crate::support::daemon::{Daemon, NON_PRODUCTION, PRODUCTION, RESTARTER, ROTATOR};
use crate::support::http::Call;
use crate::support::log;
use crate::support::oauth::{Client, INGRESS, deferred_fields, exchange_fields, rotation};
use crate::support::secrets::Canaries;
use crate::support::telemetry;

#[tokio::test(flavor = "multi_thread")]
async fn no_output_of_a_run_holds_a_token_or_a_private_key() {
    let collector = Collector::start(Manner::Takes).await;
    let arguments = vec!["--otlp-endpoint".to_owned(), collector.url.clone()];
    let mut daemon = Daemon::start_told(|_trust_domains| {}, arguments).await;
    let mut canaries = Canaries::default();
    let mut said = Vec::new();

    let mut rotator = Client::start(&daemon, ROTATOR).await;
    let ingress = Client::service(&daemon, PRODUCTION, INGRESS.path).await;
    let restarter = Client::start(&daemon, RESTARTER).await;
    for (name, client) in [
        ("rotator's SVID", &rotator),
        ("ingress's SVID", &ingress),
        ("restarter's SVID", &restarter),
    ] {
        canaries.token(name, &client.svid);
    }
    let svid = rotator.workload.x509_svid().await.unwrap();
    canaries.key("rotator's key", &hex::decode(svid["key"].as_str().unwrap()).unwrap());

    let intent = rotator.ask_rotation().await;
    let operator = daemon.operator(PRODUCTION);
    for command in [
        &["status"][..],
        &["entry", "list"],
        &["playbook", "list"],
        &["intent", "list"],
        &["intent", "show", &intent],
        &["approve", "--yes", &intent],
    ] {
        said.push(operator.run(command).await.succeeded());
    }
    let token = rotator.exchange(&intent).await.expect(200).text("access_token");
    canaries.token("rotator's access token", &token);
    let deferred = rotator.token(&deferred_fields(&rotator.svid)).await;
    let code = deferred.oauth_error("authorization_pending").text("deferral_code");
    canaries.add("rotator's deferral code", code.as_bytes());
    let preview =
        restarter.exchange(&restarter.ask_restart().await).await.expect(200).text("access_token");
    canaries.token("restarter's access token", &preview);
    assert!(ingress.is_active(&token).await);

    // What is refused is not repeated either, in answers or in logs.
    let mut refusals = vec![
        rotator.exchange(&intent).await,
        restarter.token(&exchange_fields(&rotator.svid, &intent)).await,
    ];
    refusals.push(rotator.token(&exchange_fields(&token, &intent)).await);
    refusals.push(
        rotator.send(Call::json(&rotator.place.intents_url, &rotation()).bearer(&token)).await,
    );
    refusals
        .push(rotator.send(Call::get(&rotator.place.token_endpoint).bearer(&rotator.svid)).await);
    for answer in &refusals {
        assert!(answer.status >= 400, "{answer:?}");
        canaries.search("a refusal", format!("{:?}{}", answer.headers, answer.body).as_bytes());
    }

    for trust_domain in [PRODUCTION, NON_PRODUCTION] {
        log::export(&daemon.operator(trust_domain), &daemon.path(&format!("log-{trust_domain}")))
            .await;
    }
    operator.kill(&["agent", &rotator.place.id(ROTATOR.path)]).await;
    said.push(operator.run(&["intent", "list"]).await);
    for said in &said {
        canaries.search(&said.command, format!("{}{}", said.out, said.err).as_bytes());
    }
    let endpoints = fs::read(daemon.endpoints_file()).expect("endpoints.json");
    canaries.search("the metrics", telemetry::ask(&daemon, "/metrics").await.body.as_bytes());
    drop((rotator, ingress, restarter));
    daemon.stop().await;
    for signal in ["traces", "logs", "metrics"] {
        let sent = collector.taken(&format!("/v1/{signal}"));
        assert!(!sent.is_empty(), "no {signal} were sent");
        canaries.search(&format!("the {signal} for a collector"), &sent);
    }
    canaries.search("the daemon's output", daemon.output().as_bytes());
    let files = canaries.search_folder(&daemon.path(""));
    assert!(files > 10, "only {files} files were searched");

    // The secrets that lie in a file of their own must not be anywhere else.
    let own = canaries.secret_files(&daemon.path(""));
    assert!(
        own >= 3,
        "only {own} files with a secret: two sealing keys and a TLS key were expected"
    );
    canaries.search("endpoints.json", &endpoints);
    canaries.search("the daemon's output", daemon.output().as_bytes());
    for trust_domain in [PRODUCTION, NON_PRODUCTION] {
        canaries.search_folder(&daemon.path(&format!("log-{trust_domain}")));
    }
    for said in &said {
        canaries.search(&said.command, format!("{}{}", said.out, said.err).as_bytes());
    }
}
