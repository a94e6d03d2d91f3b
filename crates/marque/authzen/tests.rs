use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use marque_registry::TrustDomainDocument;
use serde_json::json;

use super::*;

const DOCUMENT: &str = include_str!("../../../trust-domains/prod.example.org/trust-domain.toml");

/// A real HTTP server that answers every request with these bytes, and tells what it was asked.
fn server(answer: impl Fn(&mut TcpStream) + Send + 'static) -> (ExternalPoint, Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (told, asked) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let Some(body) = request(&stream) else { continue };
            if told.send(body).is_err() {
                return;
            }
            answer(&mut stream);
        }
    });
    let url = format!("http://{address}/access/v1/evaluation");
    (point(&url), asked)
}

fn point(url: &str) -> ExternalPoint {
    let text = format!(
        "{DOCUMENT}\n[[decision_points]]\nname = \"central\"\nurl = \"{url}\"\ntimeout = \"1s\"\n"
    );
    let document = TrustDomainDocument::parse(Path::new("trust-domain.toml"), &text).unwrap();
    ExternalPoint::open(&document.decision_points()[0], Path::new("/")).unwrap()
}

/// The JSON body of one request.
fn request(stream: &TcpStream) -> Option<Value> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}

fn says(status: &'static str, body: &str) -> impl Fn(&mut TcpStream) + Send + use<> {
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    move |stream| {
        stream.write_all(answer.as_bytes()).ok();
    }
}

async fn evaluate(point: &ExternalPoint) -> Result<Option<Veto>, NoAnswer> {
    point.evaluate(&json!({"action": {"name": "request"}})).await
}

#[tokio::test]
async fn a_decision_point_is_asked_the_question_and_yes_changes_nothing() {
    let (point, asked) = server(says("200 OK", r#"{"decision": true}"#));
    assert_eq!(evaluate(&point).await.unwrap(), None);
    assert_eq!(asked.recv().unwrap(), json!({"action": {"name": "request"}}));
}

#[tokio::test]
async fn no_is_a_veto_with_its_code_and_its_reason() {
    let (point, _asked) = server(says("200 OK", r#"{"decision": false}"#));
    let veto = evaluate(&point).await.unwrap().unwrap();
    assert_eq!(veto.code, DenialCode::AgentNotAllowed);
    assert_eq!(veto.rules, ["authzen:central"]);
    let more = r#"{"decision": false, "context": {"code": "data_class_denied", "reason_admin": {"en": "no\u001b[31m payroll"}}}"#;
    let (point, _asked) = server(says("200 OK", more));
    let veto = evaluate(&point).await.unwrap().unwrap();
    assert_eq!((veto.code, veto.reason.as_str()), (DenialCode::DataClassDenied, "no[31m payroll"));
}

#[tokio::test]
async fn whatever_is_no_evaluation_response_is_no_answer() {
    for (status, body) in [
        ("500 Internal Server Error", r#"{"decision": true}"#),
        ("403 Forbidden", r#"{"decision": true}"#),
        ("302 Found", r#"{"decision": true}"#),
        ("200 OK", ""),
        ("200 OK", "true"),
        ("200 OK", r#"{"decision": "true"}"#),
        ("200 OK", r#"{"allow": true}"#),
        ("200 OK", "<html>maintenance</html>"),
    ] {
        let (point, _asked) = server(says(status, body));
        assert!(evaluate(&point).await.is_err(), "{status}: {body}");
    }
    let long = format!(r#"{{"decision": true, "context": "{}"}}"#, "x".repeat(70_000));
    let (point, _asked) = server(says("200 OK", &long));
    assert!(matches!(evaluate(&point).await, Err(NoAnswer::Answer(_))));
}

#[tokio::test]
async fn who_does_not_answer_in_time_or_is_not_there_gives_no_answer() {
    // Holds the connection until the client gives up.
    let (slow, _asked) = server(|stream| {
        stream.read_to_end(&mut Vec::new()).ok();
    });
    assert!(evaluate(&slow).await.is_err());
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/access/v1/evaluation", gone.local_addr().unwrap());
    drop(gone);
    assert!(matches!(evaluate(&point(&url)).await, Err(NoAnswer::Call(_))));
}
