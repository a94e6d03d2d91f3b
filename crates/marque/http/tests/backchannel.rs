use marque_intent::{Denial, DenialCode};

use super::{
    Server,
    token::{FORM, TOKEN, body},
};
use crate::http::IntentError;

const BACKCHANNEL: &str = "/oauth2/bc-authorize";

fn request() -> String {
    form_urlencoded::Serializer::new(String::new())
        .append_pair(
            "client_assertion_type",
            "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe",
        )
        .append_pair("client_assertion", "x")
        .append_pair("login_hint", "operators")
        .append_pair("authorization_details", "[{\"type\":\"marque_intent\",\"playbook\":\"p\"}]")
        .finish()
}

#[tokio::test]
async fn oauth_18_6_a_refused_authentication_request_has_the_status_that_ciba_wants() {
    let server = Server::start().await;
    let unknown = server.post(BACKCHANNEL, FORM, &request()).await;
    assert_eq!((unknown.status, &unknown.json()["error"]), (400, &"unknown_user_id".into()));
    unknown.assert_never_stored();
    let denial = Denial::new(DenialCode::RiskTooHigh, "no");
    *server.door.refusal.lock().unwrap() = Some(IntentError::Denied { denial, intent: None });
    let denied = server.post(BACKCHANNEL, FORM, &request()).await;
    assert_eq!((denied.status, &denied.json()["error"]), (403, &"access_denied".into()));
    denied.assert_never_stored();
    assert_eq!(server.door.calls(), ["backchannel by nobody", "backchannel by nobody"]);
}

#[tokio::test]
async fn oauth_18_the_backchannel_takes_one_form_by_post_and_nothing_in_a_query() {
    let server = Server::start().await;
    let get = format!("GET {BACKCHANNEL} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    assert_eq!(server.ask(get.as_bytes()).await.status, 405);
    let path = format!("{BACKCHANNEL}?login_hint=operators");
    let query = server.post(&path, FORM, &request()).await;
    assert_eq!((query.status, &query.json()["error"]), (400, &"invalid_request".into()));
    let json = server.post(BACKCHANNEL, "content-type: application/json\r\n", "{}").await;
    assert_eq!((json.status, &json.json()["error"]), (400, &"invalid_request".into()));
    let twice = format!("{}&login_hint=alice", request());
    let twice = server.post(BACKCHANNEL, FORM, &twice).await;
    assert_eq!((twice.status, &twice.json()["error"]), (400, &"invalid_request".into()));
    assert!(server.door.calls().is_empty());
}

#[tokio::test]
async fn oauth_7_9_the_backchannel_hands_out_the_nonce_for_the_next_proof_too() {
    let server = Server::start().await;
    let headers = format!("{FORM}dpop: a proof\r\n");
    for body in [request(), "nothing=of-the-kind".to_owned()] {
        let answer = server.post(BACKCHANNEL, &headers, &body).await;
        assert_eq!((answer.status, answer.header("dpop-nonce")), (400, Some("nonce-1")));
        answer.assert_never_stored();
    }
    let without = server.post(BACKCHANNEL, FORM, &request()).await;
    assert_eq!(without.header("dpop-nonce"), None);
}

#[tokio::test]
async fn an_idempotency_key_reaches_the_door_with_the_token_request() {
    let server = Server::start().await;
    let headers = format!("{FORM}idempotency-key: k-1\r\n");
    assert_eq!(server.post(TOKEN, &headers, &body()).await.status, 200);
    assert_eq!(server.door.calls(), ["token by nobody under k-1"]);
}
