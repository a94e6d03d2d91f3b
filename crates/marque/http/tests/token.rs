use marque_exchange::MAX_FORM_BYTES;

use super::{Answer, HttpLimits, Server, door::FakeDoor};

pub(super) const TOKEN: &str = "/oauth2/token";
pub(super) const INTROSPECT: &str = "/oauth2/introspect";
const REVOKE: &str = "/oauth2/revoke";
const CHALLENGE: &str = "/oauth2/challenge";
pub(super) const FORM: &str = "content-type: application/x-www-form-urlencoded\r\n";

pub(super) fn body() -> String {
    let details = "[{\"type\":\"marque_intent\",\"intent_id\":\"int_00000000000000000000000001\"}]";
    form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
        .append_pair(
            "client_assertion_type",
            "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe",
        )
        .append_pair("client_assertion", "x")
        .append_pair("subject_token", "x")
        .append_pair("subject_token_type", "urn:ietf:params:oauth:token-type:jwt")
        .append_pair("authorization_details", details)
        .finish()
}

fn assert_invalid_request(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.json()["error"], "invalid_request");
    answer.assert_never_stored();
}

#[tokio::test]
async fn oauth_1_7_a_token_is_answered_as_json_that_nobody_stores() {
    let server = Server::start().await;
    let answer = server.post(TOKEN, FORM, &body()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.json()["access_token"], "a.b.c");
    assert_eq!(answer.json()["expires_in"], 240);
    answer.assert_never_stored();
    assert_eq!(server.door.calls(), ["token by nobody"]);
}

#[tokio::test]
async fn an_independent_http_client_gets_its_token() {
    let server = Server::start().await;
    let ca = std::fs::read(server.folder.path().join("ca.pem")).unwrap();
    let url = format!("https://localhost:{}{TOKEN}", server.address.port());
    let status = tokio::task::spawn_blocking(move || {
        let root = ureq::tls::Certificate::from_pem(&ca).unwrap();
        let tls = ureq::tls::TlsConfig::builder()
            .root_certs(ureq::tls::RootCerts::new_with_certs(&[root]))
            .unversioned_rustls_crypto_provider(std::sync::Arc::new(
                rustls::crypto::ring::default_provider(),
            ))
            .build();
        let agent = ureq::Agent::config_builder().tls_config(tls).build().new_agent();
        let fields: Vec<(String, String)> =
            form_urlencoded::parse(body().as_bytes()).into_owned().collect();
        agent.post(&url).send_form(fields).unwrap().status().as_u16()
    });
    assert_eq!(status.await.unwrap(), 200);
}

#[tokio::test]
async fn oauth_1_1_only_post_is_for_the_token_endpoints() {
    let server = Server::start().await;
    for path in [TOKEN, INTROSPECT, REVOKE, CHALLENGE, "/oauth2/bc-authorize"] {
        for method in ["GET", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"] {
            let request =
                format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
            let answer = server.ask(request.as_bytes()).await;
            assert_eq!(
                (answer.status, answer.header("allow")),
                (405, Some("POST")),
                "{method} {path}"
            );
            answer.assert_never_stored();
        }
    }
    assert!(server.door.calls().is_empty());
}

#[tokio::test]
async fn oauth_1_2_another_content_type_than_a_form_is_an_invalid_request() {
    let server = Server::start().await;
    for headers in [
        "",
        "content-type: application/json\r\n",
        "content-type: multipart/form-data; boundary=x\r\n",
        "content-type: text/plain\r\n",
        "content-type: application/x-www-form-urlencoded-x\r\n",
        "content-type: application/x-www-form-urlencoded\r\ncontent-type: application/json\r\n",
    ] {
        assert_invalid_request(&server.post(TOKEN, headers, &body()).await, 400);
    }
    let charset = "content-type: Application/X-WWW-Form-Urlencoded; charset=UTF-8\r\n";
    assert_eq!(server.post(TOKEN, charset, &body()).await.status, 200);
}

#[tokio::test]
async fn oauth_1_3_parameters_in_the_query_are_refused() {
    let server = Server::start().await;
    let answer = server.post(&format!("{TOKEN}?{}", body()), FORM, &body()).await;
    assert_invalid_request(&answer, 400);
    assert!(server.door.calls().is_empty());
}

#[tokio::test]
async fn oauth_1_10_a_body_past_the_limit_is_413_however_it_is_sent() {
    let server = Server::start().await;
    let filled = |length: usize| {
        let mut body = body();
        // As many fields as the limit of each demands.
        for name in ["x", "y", "z", "u"] {
            body.push_str(&format!("&{name}={}", "x".repeat(15_000)));
        }
        format!("{body}&v={}", "x".repeat(length - body.len() - 3))
    };
    assert_eq!(server.post(TOKEN, FORM, &filled(MAX_FORM_BYTES)).await.status, 200);
    let large = filled(MAX_FORM_BYTES + 1);
    assert_invalid_request(&server.post(TOKEN, FORM, &large).await, 413);
    let chunked = format!(
        "POST {TOKEN} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{FORM}transfer-encoding: chunked\r\n\r\n\
         {:x}\r\n{large}\r\n0\r\n\r\n",
        large.len()
    );
    assert_invalid_request(&server.ask(chunked.as_bytes()).await, 413);
}

#[tokio::test]
async fn oauth_1_8_a_failed_authorization_header_is_challenged_by_its_own_scheme() {
    let server = Server::start().await;
    let anonymous = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange";
    for (header, challenge) in
        [("Basic eDp5", "Basic realm=\"marque\""), ("Bearer x", "Bearer realm=\"marque\"")]
    {
        let headers = format!("{FORM}authorization: {header}\r\n");
        let answer = server.post(TOKEN, &headers, anonymous).await;
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some(challenge)));
        assert_eq!(answer.json()["error"], "invalid_client");
    }
    let beside = format!("{FORM}authorization: Basic eDp5\r\n");
    assert_invalid_request(&server.post(TOKEN, &beside, &body()).await, 400);
    let answer = server.post(TOKEN, FORM, anonymous).await;
    assert_eq!((answer.status, answer.header("www-authenticate")), (400, None));
}

#[tokio::test]
async fn oauth_1_9_no_answer_echoes_input_or_lets_it_into_a_header() {
    let server = Server::start().await;
    let hostile =
        "resource=https%3A%2F%2Fx%0D%0Aset-cookie%3A%20marker&scope=marker%00&grant_type=marker";
    let answer = server.post(TOKEN, FORM, hostile).await;
    assert!(!String::from_utf8_lossy(&answer.body).contains("marker"));
    assert_eq!(answer.header("set-cookie"), None);
}

#[tokio::test]
async fn oauth_1_7_introspection_is_never_stored_either() {
    let server = Server::start().await;
    let answer = server.post(INTROSPECT, FORM, &format!("{}&token=x", body())).await;
    assert_eq!((answer.status, answer.json()), (200, serde_json::json!({"active": false})));
    answer.assert_never_stored();
    assert_invalid_request(&server.post(INTROSPECT, FORM, &body()).await, 400);
    assert_invalid_request(&server.post(INTROSPECT, "", &format!("{}&token=x", body())).await, 400);
}

#[tokio::test]
async fn oauth_11_5_a_signed_answer_has_its_own_media_type() {
    let server = Server::start().await;
    let headers = format!("{FORM}accept: application/token-introspection+jwt\r\n");
    let answer = server.post(INTROSPECT, &headers, &format!("{}&token=x", body())).await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"d.e.f".as_slice()));
    assert_eq!(answer.header("content-type"), Some("application/token-introspection+jwt"));
    answer.assert_never_stored();
    // A refusal is JSON all the same.
    let refused = server.post(INTROSPECT, &headers, &body()).await;
    assert_invalid_request(&refused, 400);
    assert_eq!(refused.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn oauth_12_1_a_revocation_is_answered_with_an_empty_200_that_nobody_stores() {
    let server = Server::start().await;
    let answer = server.post(REVOKE, FORM, &format!("{}&token=x", body())).await;
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    answer.assert_never_stored();
    assert_eq!(server.door.calls(), ["revoke by nobody"]);
    assert_invalid_request(&server.post(REVOKE, FORM, &body()).await, 400);
    assert_invalid_request(&server.post(REVOKE, "", &format!("{}&token=x", body())).await, 400);
    let query = format!("{REVOKE}?token=x");
    assert_invalid_request(&server.post(&query, FORM, &format!("{}&token=x", body())).await, 400);
    assert_eq!(server.door.calls().len(), 1);
}

#[tokio::test]
async fn a_panic_is_a_500_that_says_nothing() {
    let door = FakeDoor { panics: true, ..FakeDoor::default() };
    let server = Server::with(door, HttpLimits::default()).await;
    let answer = server.post(TOKEN, FORM, &body()).await;
    assert_eq!(answer.status, 500);
    assert!(!String::from_utf8_lossy(&answer.body).contains("secret"));
    answer.assert_never_stored();
}

#[tokio::test]
async fn oauth_7_9_every_answer_to_a_proof_carries_the_nonce_for_the_next() {
    let server = Server::start().await;
    let with = |proof: &str| format!("{FORM}dpop: {proof}\r\n");
    let answer = server.post(TOKEN, &with("a proof"), &body()).await;
    assert_eq!((answer.status, answer.header("dpop-nonce")), (200, Some("nonce-1")));
    answer.assert_never_stored();
    let answer = server.post(TOKEN, &with("without a nonce"), &body()).await;
    assert_eq!((answer.status, answer.header("dpop-nonce")), (400, Some("nonce-1")));
    assert_eq!(answer.json()["error"], "use_dpop_nonce");
    assert_eq!(answer.header("www-authenticate"), None);
    answer.assert_never_stored();
    let answer = server.post(TOKEN, FORM, &body()).await;
    assert_eq!((answer.status, answer.header("dpop-nonce")), (200, None));
}

#[tokio::test]
async fn where_dpop_is_not_offered_no_nonce_is_handed_out() {
    let door = FakeDoor { offers: super::door::NOTHING, ..FakeDoor::default() };
    let server = Server::with(door, HttpLimits::default()).await;
    let answer = server.post(TOKEN, &format!("{FORM}dpop: a proof\r\n"), &body()).await;
    assert_eq!(answer.header("dpop-nonce"), None);
}

#[tokio::test]
async fn oauth_5_4_whoever_asks_gets_a_challenge_that_nobody_stores() {
    let server = Server::start().await;
    for (name, headers, body) in [
        ("nothing", "", String::new()),
        ("accept", "accept: application/json\r\n", String::new()),
        ("form", FORM, body()),
        ("json", "content-type: application/json\r\n", "{}".to_owned()),
    ] {
        let answer = server.post(CHALLENGE, headers, &body).await;
        let expected = serde_json::json!({"attestation_challenge": "challenge-1"});
        assert_eq!((answer.status, answer.json()), (200, expected), "{name}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{name}");
        answer.assert_never_stored();
    }
    assert!(server.door.calls().is_empty());
    let large = server.post(CHALLENGE, FORM, &"x".repeat(MAX_FORM_BYTES + 1)).await;
    assert_invalid_request(&large, 413);
    let door = FakeDoor { offers: super::door::NOTHING, ..FakeDoor::default() };
    let server = Server::with(door, HttpLimits::default()).await;
    assert_eq!(server.post(CHALLENGE, "", "").await.status, 404);
}

#[tokio::test]
async fn oauth_5_4_every_answer_to_an_attestation_carries_the_challenge_for_the_next_proof() {
    let server = Server::start().await;
    const ATTESTED: &str = "oauth-client-attestation: x\r\noauth-client-attestation-pop: x\r\n";
    let bare = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&token=x";
    let header = "oauth-client-attestation-challenge";
    for path in [TOKEN, INTROSPECT, REVOKE, "/oauth2/bc-authorize"] {
        // Whether it is the form that is wrong, or the media type, or nothing at all.
        for headers in [FORM, "content-type: text/plain\r\n", "oauth-client-attestation: y\r\n"] {
            let answer = server.post(path, &format!("{ATTESTED}{headers}"), bare).await;
            assert_eq!(answer.header(header), Some("challenge-1"), "{path} {headers}");
            assert_eq!(answer.header("dpop-nonce"), None);
            answer.assert_never_stored();
        }
        let answer = server.post(path, FORM, bare).await;
        assert_eq!(answer.header(header), None, "{path}");
    }
    let door = FakeDoor { offers: super::door::NOTHING, ..FakeDoor::default() };
    let server = Server::with(door, HttpLimits::default()).await;
    let answer = server.post(TOKEN, &format!("{ATTESTED}{FORM}"), bare).await;
    assert_eq!(answer.header(header), None);
}

#[tokio::test]
async fn oauth_6_4_a_certificate_in_a_header_is_ignored() {
    let server = Server::start().await;
    for header in
        ["client-cert: :MIIB:", "x-forwarded-client-cert: Hash=ab;Cert=MIIB", "x-ssl-cert: MIIB"]
    {
        let answer = server.post(TOKEN, &format!("{FORM}{header}\r\n"), &body()).await;
        assert_eq!(answer.status, 200, "{header}");
    }
    assert_eq!(server.door.calls(), ["token by nobody"; 3]);
}
