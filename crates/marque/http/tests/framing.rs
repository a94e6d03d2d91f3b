//! Where a request ends (RFC 9112 §6.3, RFC 9113 §8.1.1): nothing that is part of one is ever answered as another.

use std::time::Duration;

use marque_testkit::http2::{END_STREAM, Frame, kind, preface};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use super::{
    Server, client,
    token::{FORM, TOKEN, body},
};

/// Long enough for anything that happens at all.
const SOON: Duration = Duration::from_secs(20);
/// What somebody would like to have answered as a request of its own.
const SMUGGLED: &str = "GET /live HTTP/1.1\r\nhost: a\r\n\r\n";

/// Everything that the server says to these bytes until it closes, after the client has said all.
async fn said(server: &Server, bytes: &[u8]) -> String {
    let mut stream = server.connect(client(server.folder.path())).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let _ended = timeout(SOON, stream.read_to_end(&mut answer)).await.expect("the server closes");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Requests of which two readers could see two different ends, each with something in its tail.
fn ambiguous() -> Vec<(&'static str, String)> {
    let form = body();
    let chunked = format!("{:x}\r\n{form}\r\n0\r\n\r\n", form.len());
    let whole = chunked.len() + SMUGGLED.len();
    let request = |headers: &str, body: &str| {
        format!("POST {TOKEN} HTTP/1.1\r\nhost: a\r\n{FORM}{headers}\r\n{body}{SMUGGLED}")
    };
    let length = form.len();
    vec![
        (
            "length_then_chunked",
            request(
                &format!("content-length: {whole}\r\ntransfer-encoding: chunked\r\n"),
                &chunked,
            ),
        ),
        (
            "chunked_then_length",
            request(
                &format!("transfer-encoding: chunked\r\ncontent-length: {whole}\r\n"),
                &chunked,
            ),
        ),
        (
            "short_length_and_chunked",
            request("content-length: 4\r\ntransfer-encoding: chunked\r\n", &chunked),
        ),
        (
            "two_lengths",
            request(&format!("content-length: {length}\r\ncontent-length: {whole}\r\n"), &form),
        ),
        ("list_of_lengths", request(&format!("content-length: {length}, {whole}\r\n"), &form)),
        ("signed_length", request(&format!("content-length: +{length}\r\n"), &form)),
        ("hexadecimal_length", request(&format!("content-length: 0x{length:x}\r\n"), &form)),
        ("negative_length", request("content-length: -1\r\n", &form)),
        ("length_past_64_bits", request("content-length: 18446744073709551616\r\n", &form)),
        ("unknown_coding", request("transfer-encoding: xchunked\r\n", &chunked)),
        ("chunked_is_not_last", request("transfer-encoding: chunked, identity\r\n", &chunked)),
        ("space_before_the_colon", request("transfer-encoding : chunked\r\n", &chunked)),
        (
            "folded_header",
            request(
                &format!("x: y\r\n transfer-encoding: chunked\r\ncontent-length: {length}\r\n"),
                &form,
            ),
        ),
        (
            "chunk_size_with_a_sign",
            request("transfer-encoding: chunked\r\n", &format!("+{chunked}")),
        ),
        (
            "chunk_size_past_64_bits",
            request("transfer-encoding: chunked\r\n", &format!("ffffffffffffffff0{chunked}")),
        ),
    ]
}

#[tokio::test]
async fn oauth_21_header_smuggling_gets_nothing_answered_beside_the_request_itself() {
    let server = Server::start().await;
    for (name, bytes) in ambiguous() {
        let answer = said(&server, bytes.as_bytes()).await;
        assert!(!answer.contains("alive"), "{name}: {answer}");
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{name}: {answer}");
    }
    // The tail of an honest request is a request.
    let form = body();
    let honest = format!(
        "POST {TOKEN} HTTP/1.1\r\nhost: a\r\n{FORM}content-length: {}\r\n\r\n{form}\
         GET /live HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        form.len()
    );
    let answer = said(&server, honest.as_bytes()).await;
    assert!(answer.contains("alive") && answer.matches("HTTP/1.1 ").count() == 2, "{answer}");
}

#[tokio::test]
async fn oauth_21_header_smuggling_by_two_equal_lengths_ends_where_both_say() {
    let server = Server::start().await;
    let form = body();
    let length = form.len();
    let twice = format!(
        "POST {TOKEN} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{FORM}content-length: {length}\r\n\
         content-length: {length}\r\n\r\n{form}{SMUGGLED}"
    );
    let answer = said(&server, twice.as_bytes()).await;
    assert!(!answer.contains("alive") && answer.matches("HTTP/1.1 ").count() == 1, "{answer}");
}

#[tokio::test]
async fn oauth_21_header_smuggling_over_http2_is_a_malformed_request() {
    let server = Server::start().await;
    let form = body();
    let length = form.len().to_string();
    let longer = (form.len() + 1).to_string();
    let usual = [
        (":method", "POST"),
        (":scheme", "https"),
        (":path", TOKEN),
        (":authority", "localhost"),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    for (name, more) in [
        ("a_length_that_is_too_long", [("content-length", longer.as_str())]),
        ("a_length_that_is_too_short", [("content-length", "1")]),
        ("transfer_encoding", [("transfer-encoding", "chunked")]),
        ("connection", [("connection", "close")]),
        ("another_method", [(":method", "GET")]),
        ("an_upper_case_name", [("X-Name", "y")]),
        ("a_line_break", [("x", "y\r\nz: u")]),
    ] {
        let fields = [&usual[..], &more].concat();
        assert!(!is_answered(&server, &fields, &form).await, "{name}");
    }
    assert!(server.door.calls().is_empty(), "{:?}", server.door.calls());
    let fields = [&usual[..], &[("content-length", length.as_str())]].concat();
    assert!(is_answered(&server, &fields, &form).await);
}

/// Whether this request gets an answer, and not the end of its stream or of the connection.
async fn is_answered(server: &Server, fields: &[(&str, &str)], body: &str) -> bool {
    let mut config = client(server.folder.path());
    config.alpn_protocols = vec![b"h2".to_vec()];
    let mut stream = server.connect(config).await.unwrap();
    let mut bytes = preface();
    bytes.extend(Frame::headers(1, 0, fields).bytes());
    bytes.extend(Frame::new(kind::DATA, END_STREAM, 1, body.as_bytes()).bytes());
    stream.write_all(&bytes).await.unwrap();
    let mut read = Vec::new();
    let first = async {
        loop {
            while let Some(frame) = Frame::take(&mut read) {
                match frame.kind {
                    kind::HEADERS if frame.stream == 1 => return true,
                    kind::RST_STREAM | kind::GOAWAY => return false,
                    _ => {}
                }
            }
            let mut piece = [0; 4096];
            match stream.read(&mut piece).await {
                Ok(count) if count > 0 => read.extend_from_slice(&piece[..count]),
                _ => return false,
            }
        }
    };
    timeout(SOON, first).await.expect("an answer or none")
}
