//! A connection is its process's: with real processes, one of which hands its connection to another.

use std::io::{BufRead, BufReader, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;
use std::process::Stdio;

use marque_registry::EntryRole;
use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tonic::Code;

use super::super::super::proto::workload as proto;
use super::super::super::proto::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use super::super::super::serve::Limits;
use super::super::super::stage::{PATIENCE, Stage};
use super::{AUDIENCE, Raw, code, first, jwt_request, proper};

/// Run as a process of its own by the next test: connects, hands the connection over, and exits when it is told to.
#[test]
#[ignore = "a process of `a_connection_that_another_process_made_is_worth_nothing`"]
fn connects_hands_over_and_waits() {
    let parent = StdStream::from(std::io::stdin().as_fd().try_clone_to_owned().unwrap());
    if parent.peer_addr().is_err() {
        return; // Somebody runs ignored tests by hand.
    }
    let mut told = BufReader::new(&parent);
    let mut socket = String::new();
    told.read_line(&mut socket).unwrap();
    let connection = StdStream::connect(socket.trim()).unwrap();
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [connection.as_fd()];
    assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
    sendmsg(&parent, &[IoSlice::new(b"x")], &mut control, SendFlags::empty()).unwrap();
    drop(connection);
    told.read_to_end(&mut Vec::new()).unwrap();
}

/// The connection that another process made, and what ends that process when it is dropped.
async fn connection_of_another_process(
    socket: &Path,
) -> (UnixStream, StdStream, tokio::process::Child) {
    let (mut ours, theirs) = StdStream::pair().unwrap();
    let child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "grpc::workload::tests::pin::connects_hands_over_and_waits", "--ignored"])
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    writeln!(ours, "{}", socket.display()).unwrap();
    let received = tokio::task::spawn_blocking(move || {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0; 1];
        recvmsg(&ours, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::empty())
            .unwrap();
        let descriptor = control
            .drain()
            .find_map(|message| match message {
                RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
                _ => None,
            })
            .unwrap();
        (StdStream::from(descriptor), ours)
    });
    let (connection, ours) = timeout(PATIENCE, received).await.unwrap().unwrap();
    connection.set_nonblocking(true).unwrap();
    (UnixStream::from_std(connection).unwrap(), ours, child)
}

#[tokio::test]
async fn a_connection_that_another_process_made_is_worth_nothing() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let (connection, leash, mut child) = connection_of_another_process(&served.socket).await;
    let mut connection = Some(hyper_util::rt::TokioIo::new(connection));
    let connector = tower::service_fn(move |_| {
        std::future::ready(
            connection.take().ok_or_else(|| std::io::Error::other("only one connection")),
        )
    });
    let channel = tonic::transport::Endpoint::from_static("http://localhost")
        .connect_with_connector(connector)
        .await
        .unwrap();
    let mut client: Raw = SpiffeWorkloadApiClient::with_interceptor(channel, proper);
    // The process that made the connection lives and is entitled; the one that speaks is not that process.
    assert_ne!(code(client.fetch_jwtsvid(jwt_request(&[AUDIENCE], "")).await), Code::Ok);
    assert_ne!(
        first(client.fetch_x509_bundles(proto::X509BundlesRequest {}).await).await,
        Code::Ok
    );
    drop(leash);
    timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
}
