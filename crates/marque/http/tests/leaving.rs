//! What becomes of those who have come to a listener when another one takes its place: all of them are answered.

use std::{io, sync::Arc, time::Duration};

use marque_testkit::http2::{Frame, kind};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::sync::CancellationToken;

use super::accept::{SOON, asks, ends, http2};
use super::{Answer, HttpLimits, HttpServer, Server, client, door::FakeDoor, router};
use crate::tls::DevCertificates;

const ALIVE: &[u8] = b"GET /live HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// A listener that goes when nobody has come for a moment, whoever it has may take a while.
fn leaving() -> HttpLimits {
    HttpLimits {
        handshake: SOON,
        leave: SOON,
        quiet: Duration::from_millis(50),
        ..HttpLimits::default()
    }
}

fn connector(server: &Server) -> (TlsConnector, ServerName<'static>) {
    let config = Arc::new(client(server.folder.path()));
    (TlsConnector::from(config), ServerName::try_from("localhost").unwrap())
}

/// A handshake that the server has answered, and whose client does not know of that yet.
struct AmidHandshake {
    client: JoinHandle<io::Result<TlsStream<DuplexStream>>>,
    far: DuplexStream,
    stream: TcpStream,
}

impl AmidHandshake {
    async fn begin(server: &Server) -> Self {
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        let (connector, name) = connector(server);
        let client = tokio::spawn(connector.connect(name, near));
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let mut hello = [0; 4096];
        let length = far.read(&mut hello).await.unwrap();
        stream.write_all(&hello[..length]).await.unwrap();
        stream.readable().await.unwrap();
        Self { client, far, stream }
    }

    async fn finish(self) -> TlsStream<DuplexStream> {
        let Self { client, mut far, mut stream } = self;
        tokio::spawn(async move { tokio::io::copy_bidirectional(&mut far, &mut stream).await });
        timeout(SOON, client).await.expect("its end").unwrap().expect("a handshake")
    }
}

/// Asks, and is told that this was the last answer.
async fn is_the_last_to_be_answered(
    mut stream: TlsStream<impl AsyncRead + AsyncWrite + Unpin>,
    request: &[u8],
) {
    stream.write_all(request).await.unwrap();
    let answer = Answer::parse(&ends(&mut stream).await);
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
}

#[tokio::test]
async fn whoever_has_come_when_a_listener_is_replaced_is_answered() {
    // As many places as the first four take: the last one is in the kernel's queue.
    let limits = HttpLimits { connections: 4, ..leaving() };
    let mut server = Server::with(FakeDoor::default(), limits).await;
    let amid_handshake = AmidHandshake::begin(&server).await;
    let silent = server.connect(client(server.folder.path())).await.unwrap();
    let mut used = server.connect(client(server.folder.path())).await.unwrap();
    used.write_all(ALIVE).await.unwrap();
    used.read_exact(&mut [0; 12]).await.unwrap();
    let mut half = server.connect(client(server.folder.path())).await.unwrap();
    let (first, rest) = ALIVE.split_at(20);
    half.write_all(first).await.unwrap();
    let queued = TcpStream::connect(server.address).await.unwrap();
    server.replaced.cancel();
    let pending = timeout(Duration::from_millis(200), &mut server.running).await;
    pending.expect_err("it waits for all of them");
    let shaken = amid_handshake.finish().await;
    is_the_last_to_be_answered(shaken, ALIVE).await;
    is_the_last_to_be_answered(silent, ALIVE).await;
    is_the_last_to_be_answered(half, rest).await;
    let (connector, name) = connector(&server);
    let queued = timeout(SOON, connector.connect(name, queued)).await.unwrap().unwrap();
    is_the_last_to_be_answered(queued, ALIVE).await;
    used.write_all(ALIVE).await.unwrap();
    let answers = String::from_utf8(ends(&mut used).await).unwrap();
    let (_first, last) = answers.split_once("HTTP/1.1 200").expect("a second answer");
    assert!(last.contains("connection: close"), "{answers}");
    timeout(SOON, &mut server.running).await.expect("it is over").unwrap();
    TcpStream::connect(server.address).await.expect_err("nobody listens");
}

#[tokio::test]
async fn who_asks_for_nothing_is_waited_for_so_long_and_no_longer() {
    let limits = HttpLimits { leave: Duration::from_millis(300), ..leaving() };
    let mut server = Server::with(FakeDoor::default(), limits).await;
    let mut silent = server.connect(client(server.folder.path())).await.unwrap();
    server.replaced.cancel();
    assert!(ends(&mut silent).await.is_empty());
    timeout(SOON, &mut server.running).await.expect("it is over").unwrap();
}

/// Reads on to a frame of this kind; the kinds of all until then.
async fn until_frame(stream: &mut TlsStream<TcpStream>, wanted: u8) -> Vec<u8> {
    let (mut bytes, mut kinds) = (Vec::new(), Vec::new());
    loop {
        while let Some(frame) = Frame::take(&mut bytes) {
            kinds.push(frame.kind);
            if frame.kind == wanted {
                return kinds;
            }
        }
        let read = timeout(SOON, stream.read_buf(&mut bytes)).await.expect("a frame").unwrap();
        assert_ne!(read, 0, "the end after {kinds:?}");
    }
}

#[tokio::test]
async fn with_http2_the_goodbye_comes_after_the_first_request_or_at_once() {
    // Nobody waits for the end of the grace.
    let limits = HttpLimits { leave: Duration::from_secs(3600), ..leaving() };
    let server = Server::with(FakeDoor::default(), limits).await;
    let mut used = http2(&server, &[], &["/live"]).await;
    until_frame(&mut used, kind::DATA).await;
    let mut new = http2(&server, &[], &[]).await;
    until_frame(&mut new, kind::SETTINGS).await;
    server.replaced.cancel();
    until_frame(&mut used, kind::GOAWAY).await;
    new.write_all(&asks(1, "GET", "/live")).await.unwrap();
    let told = until_frame(&mut new, kind::DATA).await;
    assert!(told.contains(&kind::HEADERS), "{told:?}");
}

/// Has a listener be left, and another server serve it: what ends that one, and its end.
async fn is_left_and_taken_up(
    server: &Server,
    limits: HttpLimits,
) -> (CancellationToken, JoinHandle<()>) {
    server.replaced.cancel();
    let listener = server.listener.take_up().await.expect("it is open");
    let tls = DevCertificates::make_or_load(server.folder.path(), super::wall_clock()).unwrap();
    let next = HttpServer::on(listener, tls.server_config(), limits);
    let routes = next.routers(router(Arc::clone(&server.door) as _));
    let stop = CancellationToken::new();
    let next = tokio::spawn(next.run(routes, stop.clone().cancelled_owned()));
    (stop, next)
}

#[tokio::test]
async fn an_address_that_is_wanted_again_is_served_on_with_whoever_waits_there() {
    let limits = HttpLimits { connections: 1, ..leaving() };
    let mut server = Server::with(FakeDoor::default(), limits.clone()).await;
    let held = server.connect(client(server.folder.path())).await.unwrap();
    let queued = TcpStream::connect(server.address).await.unwrap();
    let (stop, next) = is_left_and_taken_up(&server, limits).await;
    let (connector, name) = connector(&server);
    let mut queued = Box::pin(connector.connect(name, queued));
    let early = timeout(Duration::from_millis(200), queued.as_mut()).await;
    assert!(early.is_err(), "the one place is that of a connection of before");
    is_the_last_to_be_answered(held, ALIVE).await;
    timeout(SOON, &mut server.running).await.expect("it is over").unwrap();
    // Nobody is there but the next server.
    let mut queued = timeout(SOON, queued).await.unwrap().unwrap();
    queued.write_all(ALIVE).await.unwrap();
    queued.read_exact(&mut [0; 12]).await.unwrap();
    drop(queued);
    assert_eq!(server.get("/live", "").await.status, 200);
    stop.cancel();
    timeout(SOON, next).await.expect("it is over").unwrap();
}

#[tokio::test]
async fn who_came_before_an_address_was_wanted_again_counts_by_the_limits_of_the_next_server() {
    let limits = HttpLimits { connections_per_address: 1, ..leaving() };
    let server = Server::with(FakeDoor::default(), limits.clone()).await;
    let held = server.connect(client(server.folder.path())).await.unwrap();
    let two = HttpLimits { connections_per_address: 2, ..limits };
    let (_stop, _next) = is_left_and_taken_up(&server, two).await;
    let come = async || server.connect(client(server.folder.path())).await;
    let come_soon = async || {
        loop {
            match come().await {
                Ok(stream) => return stream,
                Err(_hung_up) => tokio::task::yield_now().await,
            }
        }
    };
    // The limit of the next server holds once that has begun.
    let _second = timeout(SOON, come_soon()).await.expect("a second place");
    come().await.expect_err("the first of them is open still");
    is_the_last_to_be_answered(held, ALIVE).await;
    // And its place is free once the server has seen its end.
    timeout(SOON, come_soon()).await.expect("the place is free");
}

#[tokio::test]
async fn an_address_that_is_wanted_again_and_given_back_is_closed_and_free() {
    let mut server = Server::with(FakeDoor::default(), leaving()).await;
    server.replaced.cancel();
    let wanted = server.listener.take_up().await.expect("it is open");
    let pending = timeout(Duration::from_millis(500), &mut server.running).await;
    pending.expect_err("somebody may serve it");
    assert_eq!(server.get("/live", "").await.status, 200, "whoever comes is served meanwhile");
    drop(wanted);
    timeout(SOON, &mut server.running).await.expect("it is over").unwrap();
    assert!(server.listener.take_up().await.is_none() && server.listener.is_closed());
    let tls = DevCertificates::make_or_load(server.folder.path(), super::wall_clock()).unwrap();
    HttpServer::bind(server.address, tls.server_config(), leaving()).await.expect("it is free");
}
