//! For tests: processes in made-up cgroups, and servers that speak real HTTP over real sockets.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::container::CgroupSource;
use crate::{AttestError, ProcessPin};

/// A process that waits to be looked at.
pub(crate) struct Waiting(Child);

/// What processes' cgroup files say; others have none but the root.
#[derive(Debug, Default)]
pub(crate) struct FakeCgroups(Mutex<HashMap<i32, String>>);

/// What a server answers.
pub(crate) enum Reply {
    Json(u16, String),
    /// A body without end, a little at a time.
    Dribble,
    /// Nothing.
    Silence,
}

type Answer = dyn Fn(&Asked) -> Reply + Send + Sync;

/// A question that a server was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
    /// How many were asked before.
    pub(crate) nth: usize,
}

/// A server that is gone when this is.
pub(crate) struct FakeServer {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    answer: Box<Answer>,
    asked: Mutex<Vec<Asked>>,
}

impl Waiting {
    pub(crate) fn start() -> Self {
        Self(Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap())
    }

    pub(crate) fn pid(&self) -> i32 {
        self.0.id().try_into().unwrap()
    }

    pub(crate) fn pin(&self) -> ProcessPin {
        ProcessPin::open(self.pid()).unwrap()
    }

    pub(crate) fn end(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl FakeCgroups {
    pub(crate) fn put(&self, process: &Waiting, path: &str) {
        self.0.lock().unwrap().insert(process.pid(), format!("0::{path}\n"));
    }

    pub(crate) fn write(&self, process: &Waiting, file: &str) {
        self.0.lock().unwrap().insert(process.pid(), file.to_owned());
    }
}

impl CgroupSource for FakeCgroups {
    fn read(&self, process: &ProcessPin) -> Result<Vec<u8>, AttestError> {
        let known = self.0.lock().unwrap();
        let file = known.get(&process.pid()).map_or("0::/\n", String::as_str);
        Ok(file.as_bytes().to_vec())
    }
}

impl FakeServer {
    pub(crate) fn on_unix(
        listener: UnixListener,
        answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start(answer, async move |shared: Arc<Shared>| {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&shared).serve(stream));
            }
        })
    }

    pub(crate) fn on_tcp(
        listener: TcpListener,
        tls: Option<TlsAcceptor>,
        answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start(answer, async move |shared: Arc<Shared>| {
            while let Ok((stream, _)) = listener.accept().await {
                let (shared, tls) = (Arc::clone(&shared), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => shared.serve(stream).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => shared.serve(stream).await,
                            Err(_refused) => {}
                        },
                    }
                });
            }
        })
    }

    fn start<F>(
        answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
        run: impl FnOnce(Arc<Shared>) -> F,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let shared = Arc::new(Shared { answer: Box::new(answer), asked: Mutex::new(Vec::new()) });
        let task = tokio::spawn(run(Arc::clone(&shared)));
        Self { shared, task }
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    async fn serve<S>(self: Arc<Self>, stream: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let service = service_fn(|request| std::future::ready(self.reply(&request)));
        let server = hyper::server::conn::http1::Builder::new();
        server.serve_connection(TokioIo::new(stream), service).await.ok();
    }

    fn reply(
        &self,
        request: &Request<Incoming>,
    ) -> Result<Response<BoxBody<Bytes, Infallible>>, fmt::Error> {
        let header = request.headers().get("authorization");
        let asked = {
            let mut all = self.asked.lock().unwrap();
            let nth = all.len();
            all.push(Asked {
                path: request.uri().path().to_owned(),
                authorization: header.map(|value| value.to_str().unwrap().to_owned()),
                nth,
            });
            all.last().unwrap().clone()
        };
        let dribble = || {
            futures::stream::repeat_with(|| {
                Ok(hyper::body::Frame::data(Bytes::from_static(&[b' '; 1024])))
            })
        };
        let (status, body) = match (self.answer)(&asked) {
            Reply::Json(status, body) => (status, Full::new(Bytes::from(body)).boxed()),
            Reply::Dribble => (200, StreamBody::new(dribble()).boxed()),
            Reply::Silence => (200, StreamBody::new(futures::stream::pending()).boxed()),
        };
        let mut answer = Response::new(body);
        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
        answer.headers_mut().insert(CONTENT_TYPE, "application/json".parse().unwrap());
        Ok(answer)
    }
}
