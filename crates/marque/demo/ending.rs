//! The last act: a kill that reaches everything, and a log that proves what happened.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::orders::{Order, member};
use super::stage::{NON_PRODUCTION, PRODUCTION, RESTARTER, Stage, said_yes};
use super::story::{exchange, player, refused};

pub(super) async fn policy_approves(stage: &mut Stage) -> anyhow::Result<Value> {
    let at = stage.at(NON_PRODUCTION)?;
    let order = Order::Ask {
        url: at.intents_url.clone(),
        issuer: at.issuer_url.clone(),
        body: json!({ "playbook": "restart-preview", "parameters": { "preview": "pr-1207" } }),
    };
    let asked = player(&mut stage.restarter)?.order(&order).await?;
    ensure!(asked.status == 201, "answered {}: {}", asked.status, asked.detail);
    stage.preview_intent =
        member(&asked.detail, "id").as_str().context("the answer names no intent")?.to_owned();
    let order = exchange(stage, NON_PRODUCTION, &stage.preview_intent)?;
    let exchanged = player(&mut stage.restarter)?.order(&order).await?;
    ensure!(exchanged.status == 200, "answered {}: {}", exchanged.status, exchanged.detail);
    let call = Order::Call { url: stage.preview_url.clone() };
    let called = player(&mut stage.restarter)?.order(&call).await?;
    ensure!(called.status == 200, "the resource answered {}: {}", called.status, called.detail);
    Ok(
        json!({ "intent": stage.preview_intent, "state": member(&asked.detail, "state"), "resource": called.status }),
    )
}

pub(super) async fn kill(stage: &mut Stage) -> anyhow::Result<Value> {
    player(&mut stage.restarter)?.order(&Order::Watch).await?;
    let agent = format!("spiffe://{NON_PRODUCTION}{RESTARTER}");
    let killed = stage
        .run_marque(NON_PRODUCTION, &["kill", "agent", &agent, "--yes", "--reason", "demo"])
        .await?;
    said_yes("kill agent", &killed)?;
    let answered = Instant::now();
    let ended = player(&mut stage.restarter)?.order(&Order::WatchEnded).await?;
    ensure!(ended.status == 0, "the stream ended for another reason: {}", ended.detail);
    let stream = answered.elapsed();
    let order = exchange(stage, NON_PRODUCTION, &stage.preview_intent)?;
    let again = player(&mut stage.restarter)?.order(&order).await?;
    let call = Order::Call { url: stage.preview_url.clone() };
    let called = player(&mut stage.restarter)?.order(&call).await?;
    ensure!(called.status == 401, "the resource answered {}: {}", called.status, called.detail);
    ensure!(
        *member(&called.detail, "why") == "introspection says inactive",
        "refused for another reason: {}",
        called.detail
    );
    refused(&again, "kill_switch_agent")?;
    Ok(json!({
        "killed": agent,
        "stream_ended_after_ms": milliseconds(stream),
        "all_seen_after_ms": milliseconds(answered.elapsed()),
        "exchange": "kill_switch_agent",
        "introspection": "inactive",
    }))
}

pub(super) async fn log_verified(stage: &mut Stage) -> anyhow::Result<Value> {
    let mut leaves = serde_json::Map::new();
    for trust_domain in [PRODUCTION, NON_PRODUCTION] {
        let output = stage.run_marque(trust_domain, &["audit", "verify"]).await?;
        said_yes("audit verify", &output)?;
        let told: Value = serde_json::from_slice(&output.stdout)
            .context("read the answer of `marque audit verify`")?;
        leaves.insert(trust_domain.to_owned(), member(&told, "size").clone());
    }
    Ok(Value::Object(leaves))
}

pub(super) async fn tampering_detected(stage: &mut Stage) -> anyhow::Result<Value> {
    let copy = stage.path("log-copy");
    let folder = copy.display().to_string();
    let exported = stage.run_marque(PRODUCTION, &["audit", "export", "--to", &folder]).await?;
    said_yes("audit export", &exported)?;
    let sound = stage.run_marque(PRODUCTION, &["audit", "verify", "--log", &folder]).await?;
    said_yes("audit verify --log", &sound)?;
    flip_one_byte(&copy)?;
    let tampered = stage.run_marque(PRODUCTION, &["audit", "verify", "--log", &folder]).await?;
    ensure!(!tampered.status.success(), "the tampered copy verified");
    let said: Value = serde_json::from_slice(&tampered.stderr)
        .context("read the error of `marque audit verify`")?;
    Ok(json!({ "exit": tampered.status.code(), "said": member(&said, "error") }))
}

/// Flips one bit in the middle of the first bundle of entries.
fn flip_one_byte(log: &Path) -> anyhow::Result<()> {
    let bundle = first_file(&log.join("tile").join("entries"))?;
    let mut bytes = std::fs::read(&bundle)?;
    let middle = bytes.len() / 2;
    let byte = bytes.get_mut(middle).context("the log is empty")?;
    *byte ^= 1;
    std::fs::write(&bundle, bytes).with_context(|| format!("write `{}`", bundle.display()))
}

fn first_file(folder: &Path) -> anyhow::Result<PathBuf> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)
        .with_context(|| format!("read `{}`", folder.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    entries.sort();
    let first = entries.into_iter().next().context("the folder is empty")?;
    if first.is_dir() { first_file(&first) } else { Ok(first) }
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}
