use marque_intent::{Denial, DenialCode, MAX_REQUEST_BYTES};

use super::{
    HttpLimits, Server,
    door::{AGENT, FakeDoor, INTENT},
};
use crate::http::IntentError;

/// How a 401 of the intents API leads to its metadata.
const CHALLENGE: &str = "Bearer realm=\"marque\", resource_metadata=\"https://localhost:8443/.well-known/oauth-protected-resource/v1\"";
const INVALID: &str = "Bearer realm=\"marque\", error=\"invalid_token\", resource_metadata=\"https://localhost:8443/.well-known/oauth-protected-resource/v1\"";

const INTENTS: &str = "/v1/intents";
const BEARER: &str = "authorization: Bearer good\r\n";
const JSON: &str = "authorization: Bearer good\r\ncontent-type: application/json\r\n";
const BODY: &str = "{\"playbook\":\"ingress-cert-rotation\",\"ticket\":\"CHG-1842\"}";

#[tokio::test]
async fn an_approved_intent_is_created_and_shows_its_grant() {
    let server = Server::start().await;
    let answer = server.post(INTENTS, JSON, BODY).await;
    assert_eq!(answer.status, 201);
    assert_eq!(
        answer.header("location"),
        Some(&*format!("https://localhost:8443/v1/intents/{INTENT}"))
    );
    answer.assert_never_stored();
    let intent = answer.json();
    assert_eq!((&intent["id"], &intent["state"]), (&INTENT.into(), &"approved".into()));
    assert!(intent["digest"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(intent["uses_left"], 1);
    assert_eq!(intent["grant"]["playbook"]["version"], 7);
    assert_eq!(intent["grant"]["audiences"][0], "https://gw.prod.example.org/k8s");
    assert_eq!(intent["grant"]["scopes"][0], "secrets.update");
    assert_eq!(intent["grant"]["token_lifetime_s"], 240);
    assert_eq!(
        server.door.calls(),
        [format!("request ingress-cert-rotation by {AGENT} under None")]
    );
}

#[tokio::test]
async fn an_agent_is_not_shown_what_policy_saw() {
    let server = Server::start().await;
    let answer = server.post(INTENTS, JSON, BODY).await;
    let text = String::from_utf8(answer.body).unwrap();
    for hidden in ["risk", "policy", "rule", "approval\"", "tenant"] {
        assert!(!text.contains(hidden), "{hidden} in {text}");
    }
}

#[tokio::test]
async fn a_pending_intent_is_accepted() {
    let door = FakeDoor { pending: true, ..FakeDoor::default() };
    let server = Server::with(door, HttpLimits::default()).await;
    let answer = server.post(INTENTS, JSON, BODY).await;
    assert_eq!((answer.status, answer.json()["state"].as_str()), (202, Some("pending")));
    assert_eq!(answer.json()["approvals_missing"], 1);
    assert!(answer.header("location").is_some());
}

#[tokio::test]
async fn a_denial_is_a_problem_with_code_class_retry_and_remediation() {
    let server = Server::start().await;
    let denial = Denial::new(DenialCode::OutsideChangeWindow, "secret window");
    let intent = Some(INTENT.parse().unwrap());
    *server.door.refusal.lock().unwrap() =
        Some(IntentError::Denied { denial: denial.clone(), intent });
    let answer = server.post(INTENTS, JSON, BODY).await;
    assert_eq!(answer.status, denial.to_problem().status);
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    answer.assert_never_stored();
    let problem = answer.json();
    assert_eq!(
        (&problem["code"], &problem["class"]),
        (&"outside_change_window".into(), &"change".into())
    );
    assert_eq!(problem["retry"]["allowed"], true);
    assert_eq!(problem["intent_id"], INTENT);
    assert!(problem["remediation"]["kind"].is_string());
    let after = problem["retry"]["after_s"].as_u64().unwrap().to_string();
    assert_eq!(answer.header("retry-after"), Some(&*after));
}

#[tokio::test]
async fn a_store_that_is_out_of_reach_is_503() {
    let server = Server::start().await;
    *server.door.refusal.lock().unwrap() = Some(IntentError::Unavailable("secret path".into()));
    let answer = server.post(INTENTS, JSON, BODY).await;
    assert_eq!(answer.status, 503);
    assert!(!String::from_utf8_lossy(&answer.body).contains("secret"));
}

#[tokio::test]
async fn a_request_that_cannot_be_read_is_refused_on_the_record() {
    let server = Server::start().await;
    for (body, status, code) in [
        ("", 400, "invalid_request"),
        ("[]", 400, "invalid_request"),
        ("{\"playbook\":\"p\",\"playbook\":\"q\"}", 400, "invalid_request"),
        ("{\"playbook\":\"p\",\"scopes\":[\"admin\"]}", 400, "raw_permissions_not_requestable"),
        ("{\"playbook\":\"p\",\"colour\":1}", 400, "unrecognised_field"),
    ] {
        let answer = server.post(INTENTS, JSON, body).await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (status, Some(code)), "{body}");
        assert_eq!(server.door.calls().last().unwrap(), &format!("refuse {code} by {AGENT}"));
    }
}

#[tokio::test]
async fn every_resource_wants_exactly_one_bearer() {
    let server = Server::start().await;
    let paths = [
        ("GET", "/v1/playbooks"),
        ("POST", INTENTS),
        ("GET", "/v1/intents/x"),
        ("POST", "/v1/intents/x/complete"),
    ];
    for (method, path) in paths {
        for headers in [
            "",
            "authorization: good\r\n",
            "authorization: Basic good\r\n",
            "authorization: Bearer\r\n",
            "authorization: Bearer  good\r\n",
            "authorization: Bearer good x\r\n",
            "authorization: Bearer \"good\"\r\n",
            "authorization: Bearer good\r\nauthorization: Bearer good\r\n",
        ] {
            let request = format!(
                "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 0\r\n{headers}\r\n"
            );
            let answer = server.ask(request.as_bytes()).await;
            let challenge = Some(CHALLENGE);
            assert_eq!(
                (answer.status, answer.header("www-authenticate")),
                (401, challenge),
                "{path} {headers}"
            );
            answer.assert_never_stored();
        }
    }
    assert!(server.door.calls().is_empty());
}

#[tokio::test]
async fn a_refused_bearer_is_told_apart_from_none_and_from_the_other_environments() {
    let server = Server::start().await;
    let answer = server.get("/v1/playbooks", "authorization: Bearer forged\r\n").await;
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some(INVALID)));
    let answer = server.get("/v1/playbooks", "authorization: bearer other-environment\r\n").await;
    assert_eq!(
        (answer.status, answer.json()["code"].as_str()),
        (403, Some("environment_boundary"))
    );
}

#[tokio::test]
async fn a_killed_agent_is_told_so_and_neither_reads_nor_changes_anything() {
    let door = FakeDoor { stopped: Some(DenialCode::KillSwitchAgent), ..FakeDoor::default() };
    let server = Server::with(door, HttpLimits::default()).await;
    let complete = format!("/v1/intents/{INTENT}/complete");
    let answers = [
        server.get("/v1/playbooks", BEARER).await,
        server.get(&format!("/v1/intents/{INTENT}"), BEARER).await,
        server.post(&complete, JSON, r#"{"outcome": "success"}"#).await,
        server.post(&format!("/v1/intents/{INTENT}/cancel"), BEARER, "").await,
    ];
    for answer in answers {
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (403, Some("kill_switch_agent"))
        );
        answer.assert_never_stored();
    }
    assert!(server.door.calls().is_empty());
    server.post(INTENTS, JSON, BODY).await;
    assert_eq!(
        server.door.calls().len(),
        1,
        "what is asked for reaches the door, which records it"
    );
}

#[tokio::test]
async fn an_agent_reads_its_playbooks() {
    let server = Server::start().await;
    let answer = server.get("/v1/playbooks", BEARER).await;
    assert_eq!((answer.status, answer.json()), (200, serde_json::json!({"playbooks": []})));
    assert_eq!(server.door.calls(), [format!("playbooks for {AGENT}")]);
}

#[tokio::test]
async fn an_idempotency_key_reaches_the_door_up_to_its_limit() {
    let server = Server::start().await;
    let key = "k".repeat(128);
    let answer = server.post(INTENTS, &format!("{JSON}idempotency-key: {key}\r\n"), BODY).await;
    assert_eq!(answer.status, 201);
    assert!(server.door.calls()[0].ends_with(&format!("under Some(\"{key}\")")));
    for headers in [
        format!("idempotency-key: {key}k\r\n"),
        "idempotency-key: a b\r\n".to_owned(),
        "idempotency-key: \u{e4}\r\n".to_owned(),
        "idempotency-key:\r\n".to_owned(),
        "idempotency-key: a\r\nidempotency-key: a\r\n".to_owned(),
    ] {
        let answer = server.post(INTENTS, &format!("{JSON}{headers}"), BODY).await;
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (400, Some("invalid_request")),
            "{headers}"
        );
    }
}

#[tokio::test]
async fn an_idempotency_conflict_is_409() {
    let server = Server::start().await;
    let denial = Denial::new(DenialCode::IdempotencyConflict, "");
    *server.door.refusal.lock().unwrap() = Some(IntentError::Denied { denial, intent: None });
    assert_eq!(server.post(INTENTS, JSON, BODY).await.status, 409);
}

#[tokio::test]
async fn unknown_foreign_and_misspelt_intents_read_alike() {
    let server = Server::start().await;
    let mut answers = Vec::new();
    for path in [
        format!("/v1/intents/{INTENT}"),
        "/v1/intents/int_%00".to_owned(),
        "/v1/intents/..%2f..%2fx".to_owned(),
        "/v1/intents/x".to_owned(),
        "/v1/intents/%ff".to_owned(),
    ] {
        *server.door.refusal.lock().unwrap() = Some(IntentError::NotFound);
        let answer = server.get(&path, BEARER).await;
        assert_eq!(answer.status, 404, "{path}");
        answers.push(answer.body);
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
    let found = Server::start().await.get(&format!("/v1/intents/{INTENT}"), BEARER).await;
    assert_eq!((found.status, found.json()["id"].as_str()), (200, Some(INTENT)));
}

#[tokio::test]
async fn an_agent_says_that_it_still_works_and_more_about_an_outcome() {
    let server = Server::start().await;
    let path = format!("/v1/intents/{INTENT}/heartbeat");
    assert_eq!(server.post(&path, JSON, "{}").await.status, 200);
    assert_eq!(server.door.calls().last().unwrap(), &format!("hear {INTENT} by {AGENT}"));
    assert_eq!(server.post(&path, JSON, "{\"more\":1}").await.status, 400);
    let path = format!("/v1/intents/{INTENT}/complete");
    let said = r#"{"outcome":"partial","report":"three of four\u202e"}"#;
    assert_eq!(server.post(&path, JSON, said).await.status, 200);
    let told = format!("complete {INTENT} by {AGENT} with partial: three of four");
    assert_eq!(server.door.calls().last().unwrap(), &told);
    let long = format!("{{\"outcome\":\"partial\",\"report\":\"{}\"}}", "x".repeat(1025));
    for bad in [long.as_str(), r#"{"outcome":"partial","report":7}"#] {
        assert_eq!(server.post(&path, JSON, bad).await.status, 400, "{bad:.60}");
    }
}

#[tokio::test]
async fn an_agent_reports_each_outcome_and_no_other() {
    let server = Server::start().await;
    let path = format!("/v1/intents/{INTENT}/complete");
    for outcome in ["success", "failure", "partial", "unknown"] {
        let answer = server.post(&path, JSON, &format!("{{\"outcome\":\"{outcome}\"}}")).await;
        assert_eq!(answer.status, 200);
        assert_eq!(
            server.door.calls().last().unwrap(),
            &format!("complete {INTENT} by {AGENT} with {outcome}")
        );
    }
    let told = server.door.calls().len();
    for body in [
        "",
        "{}",
        "{\"outcome\":\"great\"}",
        "{\"outcome\":null}",
        "{\"outcome\":[\"success\"]}",
        "{\"outcome\":\"success\",\"outcome\":\"failure\"}",
        "{\"outcome\":\"success\",\"note\":\"x\"}",
    ] {
        assert_eq!(server.post(&path, JSON, body).await.status, 400, "{body}");
    }
    assert_eq!(server.door.calls().len(), told);
}

#[tokio::test]
async fn an_agent_cancels_without_a_body() {
    let server = Server::start().await;
    let path = format!("/v1/intents/{INTENT}/cancel");
    for body in ["", "{}"] {
        assert_eq!(server.post(&path, JSON, body).await.status, 200);
    }
    assert_eq!(server.post(&path, JSON, "{\"intent\":\"other\"}").await.status, 400);
    assert_eq!(server.door.calls(), vec![format!("cancel {INTENT} by {AGENT}"); 2]);
}

#[tokio::test]
async fn only_json_within_the_limit_is_read() {
    let server = Server::start().await;
    for headers in [BEARER.to_owned(), format!("{BEARER}content-type: text/plain\r\n")] {
        let answer = server.post(INTENTS, &headers, BODY).await;
        assert_eq!(answer.status, 415);
        answer.assert_never_stored();
    }
    let large = format!("{{\"playbook\":\"{}\"}}", "p".repeat(MAX_REQUEST_BYTES));
    assert_eq!(server.post(INTENTS, JSON, &large).await.status, 413);
    assert!(server.door.calls().is_empty());
}

#[tokio::test]
async fn there_is_no_way_to_approve_over_http() {
    let server = Server::start().await;
    for action in ["approve", "deny", "revoke"] {
        let answer = server.post(&format!("/v1/intents/{INTENT}/{action}"), JSON, "{}").await;
        assert_eq!(answer.status, 404, "{action}");
    }
    assert!(server.door.calls().is_empty());
}
