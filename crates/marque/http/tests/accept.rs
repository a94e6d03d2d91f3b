use std::{sync::Arc, time::Duration};

use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, body::Bytes};
use hyper_util::rt::{TokioExecutor, TokioIo};
use marque_testkit::{
    ScratchTrustDomain,
    http2::{END_STREAM, Frame, kind, preface},
};
use metrics_exporter_prometheus::PrometheusBuilder;
use rustls::{
    ClientConfig, HandshakeKind, ProtocolVersion, SignatureScheme,
    client::{ResolvesClientCert, Resumption},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use rustls_pki_types::PrivateKeyDer;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::client::TlsStream;

use super::{Answer, HttpLimits, Server, builder, client, door::FakeDoor, post};

const FORM: &str = "content-type: application/x-www-form-urlencoded\r\n";
/// Long enough for anything that happens at all.
pub(super) const SOON: Duration = Duration::from_secs(20);

fn token_request() -> String {
    let details = "%5B%7B%22type%22%3A%22marque_intent%22%2C%22intent_id%22%3A%22int_00000000000000000000000001%22%7D%5D";
    let body = format!(
        "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&client_assertion=x&subject_token=x\
         &client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-spiffe\
         &subject_token_type=urn:ietf:params:oauth:token-type:jwt&authorization_details={details}"
    );
    post("/oauth2/token", FORM, &body)
}

fn quick() -> HttpLimits {
    let short = Duration::from_millis(200);
    HttpLimits {
        handshake: short,
        request_head: short,
        request: short,
        drain: short,
        ..HttpLimits::default()
    }
}

/// Short, and long enough for a client that does what it should, on a busy machine too.
fn patient() -> HttpLimits {
    let short = Duration::from_secs(2);
    HttpLimits { request_head: short, request: short, drain: short, ..HttpLimits::default() }
}

fn slow() -> FakeDoor {
    FakeDoor { slow: true, ..FakeDoor::default() }
}

pub(super) async fn ends(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ended = timeout(SOON, stream.read_to_end(&mut bytes))
        .await
        .expect("the server ends the connection");
    bytes
}

#[tokio::test]
async fn both_tls_versions_are_spoken_and_http2_is_preferred() {
    let server = Server::start().await;
    for (version, number) in
        [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)]
    {
        let mut config = builder(server.folder.path(), &[version]).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
        let stream = server.connect(config).await.unwrap();
        let session = stream.get_ref().1;
        assert_eq!(
            (session.protocol_version(), session.alpn_protocol()),
            (Some(number), Some(&b"h2"[..]))
        );
    }
}

#[tokio::test]
async fn http2_is_served() {
    let server = Server::start().await;
    let mut config = client(server.folder.path());
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = server.connect(config).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get("https://localhost/live").body(Empty::<Bytes>::new()).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "alive\n");
    drop(sender);
    connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn no_session_is_ever_resumed() {
    let server = Server::start().await;
    for version in [&TLS12, &TLS13] {
        let mut config = builder(server.folder.path(), &[version]).with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(8);
        for _ in 0..2 {
            let mut stream = server.connect(config.clone()).await.unwrap();
            stream
                .write_all(b"GET /live HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
                .await
                .unwrap();
            ends(&mut stream).await;
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
        }
    }
}

#[tokio::test]
async fn the_certificate_that_a_client_shows_reaches_the_door() {
    let server = Server::start().await;
    let domain = ScratchTrustDomain::new("prod.example.org");
    let svid = domain.x509_svid(&domain.id("/agent/rotator"));
    let key = PrivateKeyDer::Pkcs8(svid.private_key.clone().into());
    for version in [&TLS12, &TLS13] {
        let config = builder(server.folder.path(), &[version])
            .with_client_auth_cert(svid.chain.clone(), key.clone_key())
            .unwrap();
        let mut stream = server.connect(config).await.unwrap();
        stream.write_all(token_request().as_bytes()).await.unwrap();
        assert_eq!(Answer::read(stream).await.status, 200);
        let leaf = hex::encode(marque_jose::sha256(&svid.chain[0]));
        assert_eq!(server.door.calls().last().unwrap(), &format!("token by {leaf}"));
    }
}

/// A client that shows a certificate whose key it does not hold.
#[derive(Debug)]
struct Thief(Arc<CertifiedKey>);

impl ResolvesClientCert for Thief {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_certificate_without_its_key_or_that_is_none_ends_the_handshake() {
    let server = Server::start().await;
    let domain = ScratchTrustDomain::new("prod.example.org");
    let stolen = domain.x509_svid(&domain.id("/agent/victim")).chain;
    let own = domain.x509_svid(&domain.id("/agent/thief")).private_key;
    for version in [&TLS12, &TLS13] {
        for chain in [stolen.clone(), vec![b"not a certificate".to_vec().into()]] {
            let key = PrivateKeyDer::Pkcs8(own.clone().into());
            let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
            let thief = Arc::new(Thief(Arc::new(CertifiedKey::new(chain, key))));
            let config: ClientConfig =
                builder(server.folder.path(), &[version]).with_client_cert_resolver(thief);
            // In TLS 1.3 the client only learns of it with the first bytes that it reads.
            if let Ok(mut stream) = server.connect(config).await {
                let _sent = stream.write_all(token_request().as_bytes()).await;
                assert!(ends(&mut stream).await.is_empty());
            }
        }
    }
    assert!(server.door.calls().is_empty());
}

#[tokio::test]
async fn plain_http_is_not_answered() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /live HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert!(!ends(&mut stream).await.starts_with(b"HTTP"));
}

#[tokio::test]
async fn a_silent_client_is_not_waited_for() {
    let server = Server::with(FakeDoor::default(), quick()).await;
    // Before the handshake, before the first request in either protocol, in the middle of a head, and between requests.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    ends(&mut stream).await;
    for (protocol, sent) in [
        ("h2", &b""[..]),
        ("http/1.1", b""),
        ("http/1.1", b"GET /live HTTP/1.1\r\nhost:"),
        ("http/1.1", b"GET /live HTTP/1.1\r\nhost: a\r\n\r\n"),
    ] {
        let mut config = client(server.folder.path());
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let mut stream = server.connect(config).await.unwrap();
        stream.write_all(sent).await.unwrap();
        ends(&mut stream).await;
    }
}

/// An HTTP/2 connection that has sent these settings and requests, one on each stream.
pub(super) async fn http2(
    server: &Server,
    settings: &[u8],
    paths: &[&str],
) -> TlsStream<TcpStream> {
    let mut config = client(server.folder.path());
    config.alpn_protocols = vec![b"h2".to_vec()];
    let mut stream = server.connect(config).await.unwrap();
    let mut bytes = preface();
    bytes.extend(Frame::new(kind::SETTINGS, 0, 0, settings).bytes());
    for (number, path) in (0..).zip(paths) {
        bytes.extend(asks(2 * number + 1, "GET", path));
    }
    stream.write_all(&bytes).await.unwrap();
    stream
}

pub(super) fn asks(stream: u32, method: &str, path: &str) -> Vec<u8> {
    let fields =
        [(":method", method), (":scheme", "https"), (":authority", "localhost"), (":path", path)];
    Frame::headers(stream, END_STREAM, &fields).bytes()
}

#[tokio::test]
async fn an_http2_connection_without_requests_ends_though_it_was_used_and_its_pings_are_answered() {
    let server = Server::with(FakeDoor::default(), patient()).await;
    let (mut reader, mut writer) =
        tokio::io::split(http2(&server, &[], &["/live", "/ready"]).await);
    let pinging = tokio::spawn(async move {
        let ping = Frame::new(kind::PING, 0, 0, &[7; 8]).bytes();
        while writer.write_all(&ping).await.is_ok() && writer.flush().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let said = ends(&mut reader).await;
    pinging.abort();
    assert!(String::from_utf8_lossy(&said).contains("alive"), "it was answered first");
}

#[tokio::test]
async fn an_answer_that_nobody_takes_ends_its_connection_whatever_else_is_asked() {
    let server = Server::with(FakeDoor::default(), patient()).await;
    // SETTINGS_INITIAL_WINDOW_SIZE: how much of a body may be sent.
    for window in [0, 1] {
        let stream = http2(&server, &[0, 4, 0, 0, 0, window], &["/openapi.json"]).await;
        let (mut reader, mut writer) = tokio::io::split(stream);
        let asking = tokio::spawn(async move {
            for number in 1.. {
                // Answers without a body are taken at once.
                let more = asks(2 * number + 1, "HEAD", "/live");
                if writer.write_all(&more).await.is_err() || writer.flush().await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let mut said = ends(&mut reader).await;
        asking.abort();
        let frames: Vec<Frame> = std::iter::from_fn(|| Frame::take(&mut said)).collect();
        let of = |stream: u32, sort: u8| {
            frames.iter().filter(move |frame| (frame.stream, frame.kind) == (stream, sort))
        };
        assert_eq!(of(1, kind::HEADERS).count(), 1, "it was answered first");
        assert!(of(3, kind::HEADERS).count() == 1, "and so were the others");
        let taken: usize = of(1, kind::DATA).map(|frame| frame.payload.len()).sum();
        assert_eq!(taken, usize::from(window));
    }
}

#[tokio::test]
async fn a_body_that_never_comes_is_408() {
    let server = Server::with(FakeDoor::default(), quick()).await;
    let mut stream = server.connect(client(server.folder.path())).await.unwrap();
    let head =
        format!("POST /oauth2/token HTTP/1.1\r\nhost: a\r\n{FORM}content-length: 100\r\n\r\ngrant");
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = Answer::parse(&ends(&mut stream).await);
    assert_eq!((answer.status, answer.header("cache-control")), (408, Some("no-store")));
}

#[tokio::test]
async fn a_connection_past_the_limit_waits_until_another_ends() {
    let limits = HttpLimits { connections: 1, ..HttpLimits::default() };
    let server = Server::with(FakeDoor::default(), limits).await;
    let first = server.connect(client(server.folder.path())).await.unwrap();
    let mut second = Box::pin(server.connect(client(server.folder.path())));
    assert!(timeout(Duration::from_millis(200), second.as_mut()).await.is_err());
    drop(first);
    timeout(SOON, second).await.expect("the place is free").unwrap();
}

#[tokio::test]
async fn a_connection_past_the_limit_of_its_address_is_closed_and_counted() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let counted = recorder.handle();
    // The accept loop runs on this thread, as everything in this test does.
    let _recorder = metrics::set_default_local_recorder(&recorder);
    let limits = HttpLimits { connections_per_address: 1, ..HttpLimits::default() };
    let server = Server::with(FakeDoor::default(), limits).await;
    let first = server.connect(client(server.folder.path())).await.unwrap();
    let mut second = TcpStream::connect(server.address).await.unwrap();
    assert!(ends(&mut second).await.is_empty());
    let name = "marque_limit_refusals_total{limit=\"https_connections_per_address\"} 1";
    assert!(counted.render().contains(name), "{}", counted.render());
    drop(first);
    // The place is free once the server has seen the end of the first.
    let again = async {
        while server.connect(client(server.folder.path())).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, again).await.expect("the place is free");
}

#[tokio::test]
async fn too_many_or_too_large_headers_are_refused() {
    let server = Server::start().await;
    let HttpLimits { header_fields, header_bytes, .. } = HttpLimits::default();
    let many: String = (0..=header_fields).map(|n| format!("x{n}: y\r\n")).collect();
    assert_eq!(server.get("/live", &many).await.status, 431);
    // The limit is of what is buffered before the head is complete, hence a good deal more than it.
    let large = format!("x: {}\r\n", "y".repeat(2 * header_bytes as usize));
    assert_eq!(server.get("/live", &large).await.status, 431);
    assert_eq!(server.get("/live", "x: y\r\n").await.status, 200);
}

#[tokio::test]
async fn a_request_in_flight_is_answered_during_the_drain_and_nobody_new_is_let_in() {
    let mut server = Server::with(slow(), HttpLimits::default()).await;
    let mut stream = server.connect(client(server.folder.path())).await.unwrap();
    stream.write_all(token_request().as_bytes()).await.unwrap();
    server.door.arrived.notified().await;
    server.stop();
    // Once the listener is gone, so is the way in.
    let refused = async { while TcpStream::connect(server.address).await.is_ok() {} };
    timeout(SOON, refused).await.expect("the listener closes");
    server.door.released.notify_one();
    assert_eq!(Answer::read(stream).await.status, 200);
    timeout(SOON, &mut server.running).await.expect("the drain ends").unwrap();
}

#[tokio::test]
async fn an_open_connection_does_not_hold_up_the_shutdown() {
    let mut server = Server::with(FakeDoor::default(), HttpLimits::default()).await;
    let mut idle = server.connect(client(server.folder.path())).await.unwrap();
    idle.write_all(b"GET /live HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut first_byte = [0];
    idle.read_exact(&mut first_byte).await.unwrap();
    server.stop();
    timeout(SOON, &mut server.running).await.expect("the drain ends").unwrap();
}

#[tokio::test]
async fn a_request_that_outlives_the_drain_is_cut_off() {
    let limits = HttpLimits { drain: Duration::from_millis(100), ..HttpLimits::default() };
    let mut server = Server::with(slow(), limits).await;
    let mut stream = server.connect(client(server.folder.path())).await.unwrap();
    stream.write_all(token_request().as_bytes()).await.unwrap();
    server.door.arrived.notified().await;
    server.stop();
    timeout(SOON, &mut server.running).await.expect("the drain ends").unwrap();
    assert!(ends(&mut stream).await.is_empty());
}

#[tokio::test]
async fn a_listener_that_is_replaced_takes_nobody_in_and_answers_whatever_was_asked() {
    // Longer than the drain of a shutdown has patience for; and somebody comes all the time.
    let short = Duration::from_millis(200);
    let limits = HttpLimits {
        drain: Duration::from_millis(1),
        leave: short,
        quiet: short,
        ..HttpLimits::default()
    };
    let mut server = Server::with(slow(), limits).await;
    let mut stream = server.connect(client(server.folder.path())).await.unwrap();
    stream.write_all(token_request().as_bytes()).await.unwrap();
    server.door.arrived.notified().await;
    server.replaced.cancel();
    let refused = async { while TcpStream::connect(server.address).await.is_ok() {} };
    timeout(SOON, refused).await.expect("the listener closes");
    let meanwhile = timeout(Duration::from_millis(50), &mut server.running).await;
    meanwhile.expect_err("a request is open, far beyond the patience of a shutdown");
    server.door.released.notify_one();
    assert_eq!(Answer::read(stream).await.status, 200);
    timeout(SOON, &mut server.running).await.expect("it is over").unwrap();
}

#[tokio::test]
async fn a_listener_that_is_replaced_does_not_hold_up_the_shutdown() {
    let limits = HttpLimits { drain: Duration::from_millis(100), ..HttpLimits::default() };
    let mut server = Server::with(slow(), limits).await;
    let mut stream = server.connect(client(server.folder.path())).await.unwrap();
    stream.write_all(token_request().as_bytes()).await.unwrap();
    server.door.arrived.notified().await;
    server.replaced.cancel();
    server.stop();
    timeout(SOON, &mut server.running).await.expect("the drain ends").unwrap();
}

#[tokio::test]
async fn a_connection_ends_at_its_age() {
    let limits = HttpLimits { connection_age: Duration::from_millis(100), ..HttpLimits::default() };
    let server = Server::with(FakeDoor::default(), limits).await;
    let mut stream = server.connect(client(server.folder.path())).await.unwrap();
    ends(&mut stream).await;
}
