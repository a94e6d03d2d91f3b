//! Receipts and proofs, which need no server.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tokio::process::Command;

use super::{alone, daemon, found, jti, key};
use crate::support::daemon::{PRODUCTION, RESTARTER, ROTATOR, SECOND_ROTATOR};
use crate::support::http::{Answer, Call};
use crate::support::oauth::{Client, INGRESS, approved_rotation};
use crate::support::wait::until;
use crate::support::{log, node};

/// The receipt of a token, once a checkpoint covers it.
async fn receipt(client: &Client, token: &str) -> Answer {
    let url = format!("{}/v1/receipts/{}", client.place.issuer_url, jti(token));
    until("the receipt", async || {
        let answer = client.send(Call::get(&url).bearer(&client.svid)).await;
        if answer.status == 404 {
            assert_eq!(answer.json()["code"], "receipt_pending", "{answer:?}");
            assert_eq!(answer.headers["retry-after"], "1");
            return None;
        }
        Some(answer)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_token_has_a_receipt_that_is_checked_without_any_server_and_tells_of_no_other_leaf() {
    let daemon = daemon().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let second = Client::start(&daemon, SECOND_ROTATOR).await;
    let ingress = Client::service(&daemon, PRODUCTION, INGRESS.path).await;
    let operator = daemon.operator(PRODUCTION);
    let token = |answer: Answer| answer.expect(200).text("access_token");
    let own = token(rotator.exchange(&approved_rotation(&daemon, &rotator).await).await);
    let other = token(second.exchange(&approved_rotation(&daemon, &second).await).await);

    let proof = receipt(&rotator, &own).await.expect(200);
    assert_eq!(proof.headers["cache-control"], "no-store");
    let (file, key) = (daemon.path("own.tlog-proof"), key(&operator).await);
    fs::write(&file, &proof.body).expect("a file");
    let file = file.display().to_string();
    let check = async |more: &[&str]| {
        alone(&[&["audit", "check-proof", &file, "--key", &key], more].concat()).await
    };
    let told = check(&["--token", &jti(&own)]).await.succeeded().json();
    assert_eq!(told["leaf"]["type"], "org.marque.token.issued");
    assert_eq!(told["leaf"]["data"]["token_id"], json!(jti(&own)));
    assert_eq!(found(&check(&["--token", &jti(&other)]).await), "proof_of_another_leaf");
    // A line for the form, one for the leaf, one for its number; hashes; the checkpoint.
    let lines: Vec<&str> = proof.body.split('\n').collect();
    assert!(lines[3..].iter().all(|line| line.len() <= 200), "{proof:?}");

    // Whoever has nothing to do with the token learns nothing of it.
    let url = format!("{}/v1/receipts/{}", rotator.place.issuer_url, jti(&own));
    second.send(Call::get(&url).bearer(&second.svid)).await.refused("receipt_not_found");
    second.send(Call::get(&url)).await.expect(401);
    second.send(Call::get(&url).bearer(&other)).await.expect(401);
    for bearer in [&ingress.svid, &own] {
        let answer = ingress.send(Call::get(&url).bearer(bearer)).await.expect(200);
        assert!(answer.body.starts_with("c2sp.org/tlog-proof@v1\n"), "{answer:?}");
    }
    rotator.revoke(&own).await.expect(200);
    ingress.send(Call::get(&url).bearer(&own)).await.expect(401);
    receipt(&rotator, &own).await.expect(200);
    operator.kill(&["agent", &rotator.place.id(ROTATOR.path)]).await;
    rotator.send(Call::get(&url).bearer(&rotator.svid)).await.refused("kill_switch_agent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_is_proven_from_a_daemon_and_from_a_copy_alike() {
    let daemon = daemon().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = approved_rotation(&daemon, &rotator).await;
    let token = rotator.exchange(&intent).await.expect(200).text("access_token");
    let operator = daemon.operator(PRODUCTION);
    let copy = daemon.path("log").display().to_string();
    log::export(&operator, &daemon.path("log")).await;
    let key = key(&operator).await;
    let jti = jti(&token);
    let whats: [(&[&str], &str); 3] = [
        (&["--seq", "0"], "org.marque.authority.created"),
        (&["--token", &jti], "org.marque.token.issued"),
        (&["--intent", &intent], "org.marque.intent.approved"),
    ];
    for (what, kind) in whats {
        for from in [&["--log", &copy, "--key", &key][..], &["--key", &key]] {
            let file = daemon.path("leaf.tlog-proof").display().to_string();
            let prove = [&["audit", "prove", "--to", &file], what, from].concat();
            operator.run(&prove).await.succeeded();
            let told =
                alone(&["audit", "check-proof", &file, "--key", &key]).await.succeeded().json();
            assert_eq!((&told["proven"], &told["leaf"]["type"]), (&json!(true), &json!(kind)));
            let other = self::key(&daemon.operator(RESTARTER.trust_domain)).await;
            let said = alone(&["audit", "check-proof", &file, "--key", &other]).await;
            assert_eq!(found(&said), "checkpoint_untrusted");
            let text = fs::read_to_string(&file).expect("the proof").replace("index ", "index 1");
            fs::write(&file, text).expect("a file");
            let said = alone(&["audit", "check-proof", &file, "--key", &key]).await;
            assert_eq!(found(&said), "leaf_not_included");
        }
    }
    let said = operator.run(&["audit", "prove", "--seq", "999999"]).await;
    assert_eq!(found(&said), "leaf_not_found");
    assert_eq!(operator.run(&["audit", "prove"]).await.code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn proofs_and_checkpoints_verify_with_the_sigstore_library_for_javascript() {
    let Some(modules) = node::modules() else { return };
    let daemon = daemon().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    for _ in 0..3 {
        rotator.exchange(&approved_rotation(&daemon, &rotator).await).await.expect(200);
    }
    let operator = daemon.operator(PRODUCTION);
    let copy = daemon.path("log").display().to_string();
    let leaves = log::export(&operator, &daemon.path("log")).await;
    let key = key(&operator).await;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node/log_proof.mjs");
    let mut node = Command::new("node");
    node.arg(node::script(&modules, &source, &daemon.path("node"))).arg(&key);
    // With every one of them and its place, so is the root of the tree.
    for seq in 0..leaves.len() {
        let file = daemon.path(&format!("{seq}.tlog-proof")).display().to_string();
        let seq = seq.to_string();
        let prove = ["audit", "prove", "--seq", &seq, "--to", &file, "--log", &copy, "--key", &key];
        operator.run(&prove).await.succeeded();
        node.arg(file);
    }
    let output = node.kill_on_drop(true).output().await.expect("Node.js runs");
    assert!(output.status.success(), "{output:?}");
    let found: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(found.len(), leaves.len());
    for (seq, (found, leaf)) in found.iter().zip(&leaves).enumerate() {
        let origin = format!("{PRODUCTION}/marque/audit");
        let proven = json!({ "proven": true, "origin": origin, "size": leaves.len() });
        assert_eq!(
            (&found["check"], &found["index"], &found["leaf"]),
            (&proven, &json!(seq), leaf)
        );
        for spoiled in ["other_leaf", "other_checkpoint"] {
            assert_eq!(found[spoiled]["proven"], false, "{spoiled}: {found}");
        }
    }
}
