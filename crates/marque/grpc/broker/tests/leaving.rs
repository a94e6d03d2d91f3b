//! What becomes of brokers who have come to the socket when it is given up: all of them are answered.

use std::os::unix::net::UnixStream as StdStream;
use std::sync::{Arc, Mutex};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tonic::Code;
use tonic::transport::Endpoint;

use super::super::super::proto::broker::api_client::ApiClient;
use super::client::{ExactServer, Headers, Raw, config, jwt, next, over, proper, x509};
use super::{Limits, PATIENCE, SUPERVISOR, Scene, child, pid, pid_of, told};

impl Scene {
    fn config(&self) -> Arc<rustls::ClientConfig> {
        let identity = Some(self.identity(SUPERVISOR));
        config(ExactServer::of(self), identity, &[&rustls::version::TLS13])
    }
}

/// A client on a connection that is there, and on no other.
async fn client<S>(stream: TlsStream<S>) -> Raw
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = Mutex::new(Some(stream));
    let connector = tower::service_fn(move |_| {
        let stream = stream.lock().unwrap().take();
        async move { stream.map(TokioIo::new).ok_or_else(|| std::io::Error::other("another one")) }
    });
    let endpoint = Endpoint::from_static("http://broker.invalid");
    let channel = endpoint.connect_with_connector(connector).await.unwrap();
    ApiClient::with_interceptor(channel, proper as Headers)
}

#[tokio::test]
async fn whoever_has_come_to_a_socket_that_goes_is_answered_once() {
    let mut scene = Scene::new();
    scene.limits.change(Limits { drain: PATIENCE, ..Limits::default() });
    let id = scene.register_child("/agent/child");
    let workload = child();
    let of = pid(pid_of(&workload));
    // One that has sent nothing, one whose handshake the server has answered, one with a stream.
    let silent = over(UnixStream::connect(&scene.socket).await.unwrap(), scene.config());
    let silent = silent.await.unwrap();
    let (near, mut far) = tokio::io::duplex(64 * 1024);
    let shaking = tokio::spawn(over(near, scene.config()));
    let mut stream = UnixStream::connect(&scene.socket).await.unwrap();
    let mut hello = [0; 4096];
    let length = far.read(&mut hello).await.unwrap();
    stream.write_all(&hello[..length]).await.unwrap();
    stream.readable().await.unwrap();
    let mut watching = scene.supervisor().await;
    let (_first, mut watched) = x509(&mut watching, of.clone()).await.unwrap();
    // Nobody runs between these: it is in the kernel's queue.
    let queued = StdStream::connect(&scene.socket).unwrap();
    scene.ending.leave();

    let end = next(&mut watched).await.unwrap_err();
    assert_eq!(told(&end).0, Code::Unavailable);
    tokio::spawn(async move { tokio::io::copy_bidirectional(&mut far, &mut stream).await });
    let shaken = timeout(PATIENCE, shaking).await.unwrap().unwrap().unwrap();
    queued.set_nonblocking(true).unwrap();
    let queued = over(UnixStream::from_std(queued).unwrap(), scene.config()).await.unwrap();
    for mut client in [client(silent).await, client(shaken).await, client(queued).await] {
        let given = jwt(&mut client, of.clone(), &[super::AUDIENCE], "").await.unwrap();
        assert_eq!(given[0].spiffe_id, id.to_string());
    }
    drop(watching);
    timeout(PATIENCE, &mut scene.serving).await.expect("it is over").unwrap().unwrap();
    StdStream::connect(&scene.socket).expect_err("nobody listens");
}
