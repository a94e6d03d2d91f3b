//! What no trust domain's folder may say.

use std::panic::AssertUnwindSafe;

use super::{PRODUCTION_DOCUMENT, ROTATION, checked, exchange_with, recorded};
use crate::support::agent::Workload;
use crate::support::daemon::{Daemon, PRODUCTION, ROTATOR};
use crate::support::folder::{append, edit};
use crate::support::oauth::{Client, approved_rotation, rotation};
use crate::support::programs::copy_of_this_program;
use crate::support::tokens::{claims, now, timestamp};
use crate::support::wait::until;
use futures::FutureExt as _;

/// A human role with these scopes.
fn role(scopes: &str) -> String {
    format!("\n[[human_roles]]\nname = \"platform-admin\"\nscopes = [{scopes}]\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn cloned_admin_role() {
    let admin = "\"secrets.update\", \"nodes.drain\"";
    let mut daemon = Daemon::start_with(|trust_domains| {
        append(trust_domains, PRODUCTION_DOCUMENT, &role(admin));
    })
    .await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    // Less than the role is served, and what the role has besides is nobody's to ask for.
    let intent = approved_rotation(&daemon, &rotator).await;
    let wider = exchange_with(&rotator, &intent, "scope", "secrets.update nodes.drain");
    rotator.token(&wider).await.expect(400).oauth_error("invalid_scope");
    recorded(&daemon, PRODUCTION, &[("token.refused", "exceeds_playbook_ceiling")]).await;
    assert!(daemon.stop().await.success());

    // All that the role may is not served, and a check says so.
    let folder = daemon.path("trust-domains");
    edit(&folder, ROTATION, "scopes = [\"secrets.update\"]", &format!("scopes = [{admin}]"));
    edit(&folder, ROTATION, "version = 1\n", "version = 2\n");
    let started = AssertUnwindSafe(daemon.launch()).catch_unwind().await;
    assert!(started.is_err(), "a playbook with all that a human role may is served");
    let output = daemon.output();
    assert!(output.contains("human role `platform-admin`"), "{output}");
    let wide = format!("{}\n[tokens]", role("\"secrets.update\""));
    let said = checked(PRODUCTION_DOCUMENT, "[tokens]", &wide).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("human role `platform-admin`"), "{said:?}");
}

const EXCEPTION: &str = r#"
apiVersion = "marque/v1"
kind = "PlaybookException"
id = "checkout-for-good"
playbook = "ingress-cert-rotation"
version = 1
agent = "spiffe://prod.example.org/agent/cert-rotator/one"
owner = "group:platform-sre"
reason = "nobody remembers"
review_by = "2026-11-20"
from = "2026-11-01T00:00:00Z"
runs = 1

[parameters]
service = "checkout"
region = "eu-west-1"

[relaxes]
approvals = 1
"#;

#[tokio::test(flavor = "multi_thread")]
async fn missing_expiry() {
    // No clock or count of a playbook may be left out, and none may be without end.
    for line in [
        "expected_runtime = \"3m\"\n",
        "retry_buffer = \"2m\"\n",
        "max_duration = \"10m\"\n",
        "uses = 1\n",
        "request_ttl = \"30m\"\n",
        "start_within = \"15m\"\n",
    ] {
        let field = line.split(' ').next().expect("a field");
        let said = checked(ROTATION, line, "").await.failed();
        assert!(said.out.contains(field) && said.out.contains(ROTATION), "{said:?}");
        let said = checked(ROTATION, line, &format!("{field} = \"unlimited\"\n")).await.failed();
        assert!(said.out.contains(ROTATION), "{said:?}");
    }
    let scratch = tempfile::tempdir().unwrap();
    crate::support::folder::copy(&crate::support::folder::shipped(), scratch.path());
    std::fs::create_dir(scratch.path().join("prod.example.org/exceptions")).unwrap();
    append(scratch.path(), "prod.example.org/exceptions/checkout-for-good.toml", EXCEPTION);
    let folder = scratch.path().display().to_string();
    let check = ["--output", "json", "check", &folder].map(ToOwned::to_owned);
    let said = crate::support::operator::run_marque(&check).await.failed();
    assert!(said.out.contains("expires_at"), "{said:?}");

    // All that is given ends: the request, the grant, the token, the identity, and the entry that it comes from.
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let asked = rotator.ask(&rotation()).await.expect(202).json();
    assert!(asked["expires_at"].is_string() && asked["grant"]["not_after"].is_string(), "{asked}");
    let intent = asked["id"].as_str().expect("an id");
    daemon.operator(PRODUCTION).approve(intent).await;
    let token = rotator.exchange(intent).await.expect(200).text("access_token");
    for (credential, most) in [(&token, 300), (&rotator.svid, 300)] {
        let ends = claims(credential)["exp"].as_u64().expect("an end");
        assert!(ends <= now() + most, "{ends}");
    }
    let program = copy_of_this_program("cert-rotator-leaver");
    let id = daemon.place(PRODUCTION).id("/agent/cert-rotator/leaver");
    let (end, path) = (
        timestamp() + std::time::Duration::from_secs(4),
        format!("unix:path:{}", program.display()),
    );
    let ends = end.to_string();
    let entry = ["entry", "create", "--spiffe-id", &id, "--owner", "group:tests"];
    let rest = ["--selector", &path, "--expires-at", &ends];
    daemon.operator(PRODUCTION).json(&[&entry[..], &rest[..]].concat()).await;
    let place = daemon.place(PRODUCTION).clone();
    let mut workload = Workload::start(&program, &place);
    let svid = workload.jwt_svid(&place.issuer_url).await;
    assert!(claims(&svid)["exp"].as_u64() <= u64::try_from(end.as_second()).ok(), "{ends}");
    until("the end of the entry", async || workload.try_jwt_svid(&[&place.issuer_url]).await.err())
        .await;
    let late = crate::support::http::Call::json(&place.intents_url, &rotation()).bearer(&svid);
    let refused = rotator.send(late).await;
    assert!([401, 403].contains(&refused.status), "{refused:?}");
    let leaves = recorded(&daemon, PRODUCTION, &[]).await;
    let of =
        |kind: &str| leaves.iter().filter(move |leaf| leaf["type"] == kind).collect::<Vec<_>>();
    for kind in ["org.marque.token.issued", "org.marque.intent.approved"] {
        let told = of(kind);
        assert!(!told.is_empty() && told.iter().all(|leaf| leaf["data"]["expires_at"].is_string()));
    }
}
