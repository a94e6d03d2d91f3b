//! What every answer of the token endpoints keeps to (RFC 6749 §3.2 and §5), and what is refused before it is read.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, body::Bytes};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use super::{
    Answer, HttpLimits, Server, client,
    door::FakeDoor,
    post,
    token::{FORM, INTROSPECT, TOKEN, body},
};

/// Long enough for anything that happens at all.
const SOON: Duration = Duration::from_secs(20);
const LIMIT: usize = marque_exchange::MAX_FORM_BYTES;

/// Every kind of answer, with the request that gets it.
fn requests() -> Vec<(&'static str, u16, String)> {
    let anonymous = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange";
    let basic = format!("{FORM}authorization: Basic eDp5\r\n");
    let large = "x".repeat(LIMIT + 1);
    vec![
        ("granted", 200, post(TOKEN, FORM, &body())),
        ("introspected", 200, post(INTROSPECT, FORM, &format!("{}&token=x", body()))),
        ("no_grant_type", 400, post(TOKEN, FORM, "x=y")),
        ("unknown_grant_type", 400, post(TOKEN, FORM, "grant_type=password")),
        ("nobody", 400, post(TOKEN, FORM, anonymous)),
        ("basic", 401, post(TOKEN, &basic, anonymous)),
        ("query", 400, post(&format!("{TOKEN}?x=y"), FORM, &body())),
        ("json", 400, post(TOKEN, "content-type: application/json\r\n", "{}")),
        ("no_content_type", 400, post(INTROSPECT, "", &body())),
        ("large", 413, post(TOKEN, FORM, &large)),
        ("get", 405, format!("GET {TOKEN} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")),
        ("put", 405, format!("PUT {INTROSPECT} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")),
    ]
}

#[tokio::test]
async fn oauth_1_7_no_answer_of_a_token_endpoint_is_ever_stored() {
    let server = Server::start().await;
    for (name, status, request) in requests() {
        let answer = server.ask(request.as_bytes()).await;
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        answer.assert_never_stored();
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{name}");
    }
}

#[tokio::test]
async fn oauth_1_7_not_even_the_answers_to_a_slow_body_and_to_a_panic_are_stored() {
    let limits = HttpLimits { request: Duration::from_millis(200), ..HttpLimits::default() };
    let server = Server::with(FakeDoor::default(), limits).await;
    let head = format!(
        "POST {TOKEN} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{FORM}content-length: 100\r\n\r\n"
    );
    let answer = server.ask(head.as_bytes()).await;
    assert_eq!(answer.status, 408);
    answer.assert_never_stored();
    let door = FakeDoor { panics: true, ..FakeDoor::default() };
    let server = Server::with(door, HttpLimits::default()).await;
    let answer = server.post(TOKEN, FORM, &body()).await;
    assert_eq!(answer.status, 500);
    answer.assert_never_stored();
}

#[tokio::test]
async fn oauth_21_slow_body_is_not_waited_for_though_it_comes_drop_by_drop() {
    let limits = HttpLimits { request: Duration::from_millis(300), ..HttpLimits::default() };
    let server = Server::with(FakeDoor::default(), limits).await;
    let stream = server.connect(client(server.folder.path())).await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let dripping = tokio::spawn(async move {
        let head = format!(
            "POST {TOKEN} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{FORM}content-length: 60000\r\n\r\n"
        );
        if writer.write_all(head.as_bytes()).await.is_err() {
            return;
        }
        while writer.write_all(b"x").await.is_ok() && writer.flush().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let mut bytes = Vec::new();
    let _ended = timeout(SOON, reader.read_to_end(&mut bytes)).await.expect("an answer");
    dripping.abort();
    assert_eq!(Answer::parse(&bytes).status, 408);
    assert!(server.door.calls().is_empty());
}

#[tokio::test]
async fn oauth_1_10_a_body_that_says_it_is_too_large_is_answered_unread() {
    let server = Server::start().await;
    for path in [TOKEN, INTROSPECT] {
        for length in [(LIMIT + 1).to_string(), u64::from(u32::MAX).to_string()] {
            let mut stream = server.connect(client(server.folder.path())).await.unwrap();
            // Not a byte of the body is sent, and the answer does not wait for one.
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: a\r\n{FORM}content-length: {length}\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            let answer = timeout(SOON, Answer::read(stream)).await.expect("an answer");
            assert_eq!(
                (answer.status, answer.json()["error"].as_str()),
                (413, Some("invalid_request"))
            );
            answer.assert_never_stored();
        }
    }
    assert!(server.door.calls().is_empty());
}

#[tokio::test]
async fn oauth_1_10_a_body_without_an_end_is_answered_at_the_limit() {
    let server = Server::start().await;
    let stream = server.connect(client(server.folder.path())).await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let sending = tokio::spawn(async move {
        let head =
            format!("POST {TOKEN} HTTP/1.1\r\nhost: a\r\n{FORM}transfer-encoding: chunked\r\n\r\n");
        let mut sent = 0_usize;
        let chunk = format!("{:x}\r\n{}\r\n", 4096, "x".repeat(4096));
        if writer.write_all(head.as_bytes()).await.is_err() {
            return sent;
        }
        while writer.write_all(chunk.as_bytes()).await.is_ok() && writer.flush().await.is_ok() {
            sent += 4096;
        }
        sent
    });
    let mut bytes = Vec::new();
    let _ended = timeout(SOON, reader.read_to_end(&mut bytes)).await.expect("an answer");
    assert_eq!(Answer::parse(&bytes).status, 413);
    // It ends because the server closes, not because the body did. What the sockets held meanwhile is not ours to count.
    timeout(SOON, sending).await.expect("the connection is closed").unwrap();
}

/// One request over HTTP/2.
async fn over_http2(
    server: &Server,
    request: Request<Full<Bytes>>,
) -> (u16, hyper::HeaderMap, Bytes) {
    let mut config = client(server.folder.path());
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = server.connect(config).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(request).await.unwrap();
    let (parts, body) = answer.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    connection.abort();
    (parts.status.as_u16(), parts.headers, body)
}

#[tokio::test]
async fn oauth_1_7_the_same_holds_over_http2() {
    let server = Server::start().await;
    let form = "application/x-www-form-urlencoded";
    let request = |method: Method, path: &str, content_type: &str, body: String| {
        Request::builder()
            .method(method)
            .uri(format!("https://localhost{path}"))
            .header("content-type", content_type)
            .body(Full::new(Bytes::from(body)))
            .unwrap()
    };
    let twice = format!("{}&grant_type=x", body());
    let query = format!("{TOKEN}?x=y");
    for (name, status, request) in [
        ("granted", 200, request(Method::POST, TOKEN, form, body())),
        ("get", 405, request(Method::GET, TOKEN, form, String::new())),
        ("delete", 405, request(Method::DELETE, INTROSPECT, form, String::new())),
        ("json", 400, request(Method::POST, TOKEN, "application/json", "{}".to_owned())),
        ("query", 400, request(Method::POST, &query, form, body())),
        ("twice", 400, request(Method::POST, TOKEN, form, twice)),
        ("large", 413, request(Method::POST, TOKEN, form, "x".repeat(LIMIT + 1))),
        ("many", 400, request(Method::POST, TOKEN, form, "a=b&".repeat(10_000))),
    ] {
        let (found, headers, body) = over_http2(&server, request).await;
        assert_eq!(found, status, "{name}: {body:?}");
        assert_eq!(headers["cache-control"], "no-store", "{name}");
        assert_eq!(headers["pragma"], "no-cache", "{name}");
        if status == 405 {
            assert_eq!(headers["allow"], "POST", "{name}");
        }
    }
    assert_eq!(server.door.calls().len(), 1);
}
