//! Descriptors: none is kept, none is taken from a client, and the watch of a process's exit costs one for each connection.

use std::io::{IoSlice, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use marque_testkit::http2::{Frame, RawClient, call, call_fields, kind, preface};
use rustix::cmsg_space;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::daemon;
use crate::support::daemon::{Daemon, PRODUCTION};
use crate::support::programs::this_program;
use crate::support::wait::{until, within};

const FETCH_X509: &str = "/SpiffeWorkloadAPI/FetchX509SVID";
const HEADER: (&str, &str) = ("workload.spiffe.io", "true");
/// How many clients come and go at once.
const THREADS: usize = 4;

/// A daemon that gives this very process an identity, and its socket.
async fn daemon_for_us() -> (Daemon, PathBuf) {
    let (daemon, _trusted) = daemon().await;
    let id = daemon.place(PRODUCTION).id("/service/e2e");
    daemon.operator(PRODUCTION).register(&id, "service", &this_program()).await;
    let socket = daemon.place(PRODUCTION).workload_api_socket.clone();
    (daemon, socket)
}

/// Waits until the daemon has as many descriptors open as it had before.
async fn back_to(daemon: &Daemon, before: usize) {
    until("the daemon to close what it opened", async || {
        (daemon.descriptors() <= before).then_some(())
    })
    .await;
}

async fn blocking<T: Send + 'static>(play: impl FnOnce() -> T + Send + 'static) -> T {
    within("the client", tokio::task::spawn_blocking(play)).await.expect("the client's end")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_streams_of_a_connection_share_one_watch_of_its_process() {
    let (daemon, socket) = daemon_for_us().await;
    let open = |mut client: RawClient, streams: std::ops::Range<u32>| {
        blocking(move || {
            for stream in streams.map(|number| 2 * number + 1) {
                client.send(&call(stream, FETCH_X509, &[HEADER], &[]));
                assert!(client.gets_a_message(stream));
            }
            client
        })
    };
    let mut client = RawClient::connect(&socket);
    client.send(&preface());
    let client = open(client, 0..1).await;
    let with_one = daemon.descriptors();
    let _client = open(client, 1..100).await;
    assert_eq!(daemon.descriptors(), with_one);
}

#[tokio::test(flavor = "multi_thread")]
async fn descriptors_that_a_client_sends_are_never_taken() {
    let (daemon, socket) = daemon_for_us().await;
    // What the daemon opens once, it has opened now.
    until("an identity", async || {
        let socket = socket.clone();
        blocking(move || plain(&socket)).await.then_some(())
    })
    .await;
    let before = daemon.descriptors();
    let (mut reading, writing) = std::io::pipe().expect("a pipe");
    let (most, closed) = blocking(move || {
        let mut client = RawClient::connect(&socket);
        let descriptors = [writing.as_fd(); 100];
        assert!(send_with(&mut client, &preface(), &descriptors));
        let ended = client.goaway();
        (ended, writing)
    })
    .await;
    assert_eq!(most, None, "the connection ends without a word");
    drop(closed);
    // The end of the pipe comes when nobody can write to it any more, the daemon included.
    let read = blocking(move || reading.read(&mut [0; 1]).expect("the pipe's end"));
    assert_eq!(read.await, 0);
    back_to(&daemon, before).await;
}

fn send_with(client: &mut RawClient, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> bool {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(100))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
    sendmsg(client.stream(), &[IoSlice::new(bytes)], &mut control, SendFlags::empty()).is_ok()
}

/// Asks for an identity and gets it.
fn plain(socket: &Path) -> bool {
    let mut client = RawClient::connect(socket);
    client.send(&[preface(), call(1, FETCH_X509, &[HEADER], &[])].concat());
    client.gets_a_message(1)
}

/// One client that comes and goes, in one of several ways.
fn round(socket: &Path, number: usize) {
    let mut client = RawClient::connect(socket);
    let request = call(1, FETCH_X509, &[HEADER], &[]);
    match number % 8 {
        // Gone before it said anything, in the middle of a word, and with a request that nobody waits for.
        0 => {}
        1 => assert!(client.send(preface().get(..10).expect("ten bytes"))),
        2 => assert!(client.send(&[preface(), request].concat())),
        // Refused: without the header, and with what is no HTTP/2.
        3 => {
            client.send(&[preface(), call(1, FETCH_X509, &[], &[])].concat());
            assert!(!client.gets_a_message(1));
        }
        4 => {
            client.send(&[b'x'; 100]);
            client.goaway();
        }
        // Reset while it is attested.
        5 => {
            let headers = Frame::headers(1, 0, &[&call_fields(FETCH_X509)[..], &[HEADER]].concat());
            let reset = Frame::new(kind::RST_STREAM, 0, 1, &[0, 0, 0, 8]);
            client.send(&[preface(), headers.bytes(), reset.bytes()].concat());
            let ping = Frame::new(kind::PING, 0, 0, b"answered");
            client.send(&ping.bytes());
            while client.next_frame().is_some_and(|frame| frame.payload != b"answered") {}
        }
        // Served: and closed by the client while the stream is open.
        _ => {
            client.send(&[preface(), request].concat());
            assert!(client.gets_a_message(1));
        }
    }
}

/// `MARQUE_DESCRIPTOR_ROUNDS`, else as many as take a few seconds.
#[expect(clippy::disallowed_methods, reason = "how many rounds comes from the environment")]
fn rounds() -> usize {
    let asked = std::env::var("MARQUE_DESCRIPTOR_ROUNDS").ok();
    asked.map_or(10_000, |text| text.parse().expect("MARQUE_DESCRIPTOR_ROUNDS is a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_descriptor_stays_open_however_clients_come_and_go() {
    let (daemon, socket) = daemon_for_us().await;
    assert!(
        blocking({
            let socket = socket.clone();
            move || plain(&socket)
        })
        .await
    );
    let before = daemon.descriptors();
    let clients = (0..THREADS).map(|thread| {
        let socket = socket.clone();
        blocking(move || {
            (thread..rounds()).step_by(THREADS).for_each(|number| round(&socket, number));
        })
    });
    futures::future::join_all(clients).await;
    back_to(&daemon, before).await;
    assert!(blocking(move || plain(&socket)).await, "the daemon still serves");
}
