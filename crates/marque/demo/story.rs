//! The steps of the story, in order. Each says what must happen, and fails when anything else does.

use std::time::Instant;

use anyhow::{Context, ensure};
use futures::future::LocalBoxFuture;
use serde_json::{Value, json};
use spiffe::workload_api::error::WorkloadApiError;

use super::ending;
use super::orders::{Order, Outcome, member};
use super::player::Player;
use super::report::{Report, Step};
use super::stage::{
    INGRESS, NON_PRODUCTION, PREVIEW, PRODUCTION, RESTARTER, ROTATOR, SECOND_ROTATOR, Stage,
    said_yes,
};

/// What a step does to the stage; its result is told as the step's detail.
pub(super) type Deed = for<'a> fn(&'a mut Stage) -> LocalBoxFuture<'a, anyhow::Result<Value>>;

const IDENTITY: &str = "Identity";
const ASKING: &str = "Asking for one approved thing";
const USING: &str = "Using it once";
const ENDING: &str = "Stopping, and proving it";

/// Runs every step and tells each as it ends; a step that fails ends the story.
pub(super) async fn tell(stage: &mut Stage, report: &mut Report) -> std::io::Result<()> {
    for (act, name, says, deed) in STEPS {
        let started = Instant::now();
        let result = deed(stage).await;
        let failed = result.is_err();
        report.tell(Step { act, name, says }, &result, started.elapsed())?;
        if failed {
            break;
        }
    }
    Ok(())
}

const STEPS: &[(&str, &str, &str, Deed)] = &[
    (IDENTITY, "trust-domains-up", "two trust domains come up, each on its own root", |stage| {
        Box::pin(trust_domains_up(stage))
    }),
    (IDENTITY, "agent-attested", "an agent process is attested and gets its SVIDs", |stage| {
        Box::pin(agent_attested(stage))
    }),
    (IDENTITY, "stranger-refused", "a process that nobody registered gets nothing", |stage| {
        Box::pin(stranger_refused(stage))
    }),
    (
        IDENTITY,
        "baseline-can-do-nothing",
        "the identity alone opens nothing at the resource",
        |stage| Box::pin(baseline_can_do_nothing(stage)),
    ),
    (ASKING, "raw-permissions-refused", "asking for raw permissions is refused", |stage| {
        Box::pin(raw_permissions_refused(stage))
    }),
    (
        ASKING,
        "intent-pending",
        "a production playbook is asked for, and waits for a person",
        |stage| Box::pin(intent_pending(stage)),
    ),
    (ASKING, "unapproved-exchange-refused", "no token while it waits", |stage| {
        Box::pin(unapproved_exchange(stage))
    }),
    (ASKING, "own-approval-refused", "the agent cannot approve it itself", |stage| {
        Box::pin(own_approval(stage))
    }),
    (ASKING, "operator-approves", "the operator approves exactly what was shown", |stage| {
        Box::pin(operator_approves(stage))
    }),
    (USING, "other-agent-refused", "another agent cannot use the approval", |stage| {
        Box::pin(other_agent(stage))
    }),
    (USING, "non-production-refused", "a non-production SVID is refused in production", |stage| {
        Box::pin(non_production(stage))
    }),
    (USING, "exchanged", "SVID and intent are exchanged for one narrow token", |stage| {
        Box::pin(exchanged(stage))
    }),
    (USING, "resource-call-allowed", "the resource, which is not ours, accepts it", |stage| {
        Box::pin(resource_call(stage))
    }),
    (USING, "second-use-refused", "the approval cannot be used a second time", |stage| {
        Box::pin(second_use(stage))
    }),
    (ENDING, "policy-approves", "a non-production playbook needs no person", |stage| {
        Box::pin(ending::policy_approves(stage))
    }),
    (ENDING, "kill", "a kill ends the live token, the next exchange and the stream", |stage| {
        Box::pin(ending::kill(stage))
    }),
    (ENDING, "log-verified", "the log of both trust domains verifies", |stage| {
        Box::pin(ending::log_verified(stage))
    }),
    (ENDING, "tampering-detected", "one flipped byte in a copy of it is found", |stage| {
        Box::pin(ending::tampering_detected(stage))
    }),
];

async fn trust_domains_up(stage: &mut Stage) -> anyhow::Result<Value> {
    stage.start_daemon().await?;
    let mut environments = Vec::new();
    let mut issuers = Vec::new();
    for trust_domain in [PRODUCTION, NON_PRODUCTION] {
        let at = stage.at(trust_domain)?;
        environments.push(at.environment);
        issuers.push(json!({ "trust_domain": trust_domain, "issuer": at.issuer_url }));
    }
    ensure!(
        environments.first() != environments.get(1),
        "both trust domains have the same environment"
    );
    Ok(
        json!({ "trust_domains": issuers, PRODUCTION: "production", NON_PRODUCTION: "non-production" }),
    )
}

async fn agent_attested(stage: &mut Stage) -> anyhow::Result<Value> {
    stage.rotator = Some(stage.start_agent(PRODUCTION, ROTATOR)?);
    stage.second_rotator = Some(stage.start_agent(PRODUCTION, SECOND_ROTATOR)?);
    stage.restarter = Some(stage.start_agent(NON_PRODUCTION, RESTARTER)?);
    let audience = stage.at(PRODUCTION)?.issuer_url.clone();
    let outcome = rotator(stage)?.order(&Order::Identity { audience }).await?;
    let expected = format!("spiffe://{PRODUCTION}{ROTATOR}");
    ensure!(
        *member(&outcome.detail, "spiffe_id") == expected.as_str(),
        "another identity: {}",
        outcome.detail
    );
    ensure!(
        *member(&outcome.detail, "jwt_spiffe_id") == expected.as_str(),
        "another identity: {}",
        outcome.detail
    );
    Ok(outcome.detail)
}

async fn stranger_refused(stage: &mut Stage) -> anyhow::Result<Value> {
    let socket = format!("unix:{}", stage.at(PRODUCTION)?.workload_api_socket.display());
    let workload = spiffe::WorkloadApiClient::connect_to(&socket)
        .await
        .context("connect to the Workload API")?;
    match workload.fetch_x509_svid().await {
        Ok(svid) => anyhow::bail!("the demo itself got the identity {}", svid.spiffe_id()),
        Err(error) if is_no_identity(&error) => Ok(json!({ "status": "PermissionDenied" })),
        Err(error) => Err(error).context("refused for another reason"),
    }
}

/// Whether the Workload API answered PermissionDenied, which the client tells apart by its text.
pub(super) const fn is_no_identity(error: &WorkloadApiError) -> bool {
    matches!(error, WorkloadApiError::NoIdentityIssued | WorkloadApiError::PermissionDenied(_))
}

async fn baseline_can_do_nothing(stage: &mut Stage) -> anyhow::Result<Value> {
    stage.ingress_url = stage.start_resource(INGRESS).await?;
    stage.preview_url = stage.start_resource(PREVIEW).await?;
    let order = Order::CallWithIdentity {
        url: stage.ingress_url.clone(),
        audience: INGRESS.audience.to_owned(),
    };
    let outcome = rotator(stage)?.order(&order).await?;
    ensure!(outcome.status == 401, "the resource answered {}", outcome.status);
    Ok(json!({ "status": outcome.status, "why": member(&outcome.detail, "why") }))
}

async fn raw_permissions_refused(stage: &mut Stage) -> anyhow::Result<Value> {
    let body = json!({ "scopes": ["network:write"], "environment": "production", "minutes": 60 });
    let outcome = ask(stage, body).await?;
    refused(&outcome, "raw_permissions_not_requestable")
}

async fn intent_pending(stage: &mut Stage) -> anyhow::Result<Value> {
    let body = json!({
        "playbook": "ingress-cert-rotation",
        "parameters": { "service": "checkout", "region": "eu-west-1" },
        "ticket": "CHG-1842",
        "justification": "the certificate of checkout ends in six days",
    });
    let outcome = ask(stage, body).await?;
    ensure!(outcome.status == 202, "answered {}: {}", outcome.status, outcome.detail);
    ensure!(
        *member(&outcome.detail, "state") == "pending",
        "state {}",
        member(&outcome.detail, "state")
    );
    stage.intent =
        member(&outcome.detail, "id").as_str().context("the answer names no intent")?.to_owned();
    Ok(json!({ "intent": stage.intent, "state": "pending", "ticket": "CHG-1842" }))
}

async fn unapproved_exchange(stage: &mut Stage) -> anyhow::Result<Value> {
    let order = exchange(stage, PRODUCTION, &stage.intent.clone())?;
    let outcome = rotator(stage)?.order(&order).await?;
    refused(&outcome, "approval_pending")
}

async fn own_approval(stage: &mut Stage) -> anyhow::Result<Value> {
    let order = Order::Approve {
        program: stage.marque().to_owned(),
        endpoints: stage.endpoints_file(),
        trust_domain: PRODUCTION.to_owned(),
        intent: stage.intent.clone(),
    };
    let outcome = rotator(stage)?.order(&order).await?;
    ensure!(outcome.status != 0, "the agent approved its own intent");
    let said = member(&outcome.detail, "said").as_str().unwrap_or_default();
    ensure!(said.contains("self_approval_forbidden"), "refused for another reason: {said}");
    Ok(json!({ "code": "self_approval_forbidden" }))
}

async fn operator_approves(stage: &mut Stage) -> anyhow::Result<Value> {
    let output = stage.run_marque(PRODUCTION, &["approve", "--yes", &stage.intent]).await?;
    said_yes("approve", &output)?;
    let intent: Value =
        serde_json::from_slice(&output.stdout).context("read the answer of `marque approve`")?;
    ensure!(*member(&intent, "state") == "approved", "state {}", member(&intent, "state"));
    Ok(json!({ "intent": stage.intent, "state": "approved" }))
}

async fn other_agent(stage: &mut Stage) -> anyhow::Result<Value> {
    let order = exchange(stage, PRODUCTION, &stage.intent.clone())?;
    let outcome = player(&mut stage.second_rotator)?.order(&order).await?;
    ensure!((400..500).contains(&outcome.status), "answered {}", outcome.status);
    let unknown = exchange(stage, PRODUCTION, "int_00000000000000000000000000")?;
    let stranger = player(&mut stage.second_rotator)?.order(&unknown).await?;
    ensure!(outcome.detail == stranger.detail, "a foreign intent reads unlike an unknown one");
    Ok(
        json!({ "status": outcome.status, "error": member(&outcome.detail, "error"), "code": member(&outcome.detail, "code") }),
    )
}

async fn non_production(stage: &mut Stage) -> anyhow::Result<Value> {
    let order = exchange(stage, PRODUCTION, &stage.intent.clone())?;
    let outcome = player(&mut stage.restarter)?.order(&order).await?;
    refused(&outcome, "environment_boundary")
}

async fn exchanged(stage: &mut Stage) -> anyhow::Result<Value> {
    let order = exchange(stage, PRODUCTION, &stage.intent.clone())?;
    let outcome = rotator(stage)?.order(&order).await?;
    ensure!(outcome.status == 200, "answered {}: {}", outcome.status, outcome.detail);
    Ok(outcome.detail)
}

async fn resource_call(stage: &mut Stage) -> anyhow::Result<Value> {
    let order = Order::Call { url: stage.ingress_url.clone() };
    let outcome = rotator(stage)?.order(&order).await?;
    ensure!(outcome.status == 200, "the resource answered {}: {}", outcome.status, outcome.detail);
    Ok(outcome.detail)
}

async fn second_use(stage: &mut Stage) -> anyhow::Result<Value> {
    let order = exchange(stage, PRODUCTION, &stage.intent.clone())?;
    let outcome = rotator(stage)?.order(&order).await?;
    refused(&outcome, "grant_consumed")
}

async fn ask(stage: &mut Stage, body: Value) -> anyhow::Result<Outcome> {
    let at = stage.at(PRODUCTION)?;
    let order = Order::Ask { url: at.intents_url.clone(), issuer: at.issuer_url.clone(), body };
    rotator(stage)?.order(&order).await
}

/// The order to exchange at the token endpoint of `trust_domain`.
pub(super) fn exchange(stage: &Stage, trust_domain: &str, intent: &str) -> anyhow::Result<Order> {
    let at = stage.at(trust_domain)?;
    Ok(Order::Exchange {
        url: at.token_endpoint.clone(),
        issuer: at.issuer_url.clone(),
        intent: intent.to_owned(),
    })
}

/// The detail of a refusal that must carry `code`.
pub(super) fn refused(outcome: &Outcome, code: &str) -> anyhow::Result<Value> {
    ensure!(
        (400..500).contains(&outcome.status),
        "answered {}: {}",
        outcome.status,
        outcome.detail
    );
    ensure!(
        *member(&outcome.detail, "code") == code,
        "refused for another reason: {}",
        outcome.detail
    );
    Ok(json!({ "status": outcome.status, "code": code, "class": member(&outcome.detail, "class") }))
}

pub(super) fn player(role: &mut Option<Player>) -> anyhow::Result<&mut Player> {
    role.as_mut().context("the agent is not running")
}

fn rotator(stage: &mut Stage) -> anyhow::Result<&mut Player> {
    player(&mut stage.rotator)
}
