//! Bare tonic: messages of the same size, prepared beforehand, for whoever connects. No attestation, no state but one
//! counter of changes.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tonic::body::Body;
use tonic::codegen::http;
use tonic::server::NamedService;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

use super::child::{commands, say};
use super::ours::{Scratch, own_id};
use super::protocol::{
    Empty, FETCH_JWT_SVID, FETCH_X509_SVID, JwtSvid, JwtSvidRequest, JwtSvidResponse, SERVICE,
    X509Svid, X509SvidResponse,
};

pub(crate) const PART: &str = "bare";

/// Serves until the standard input ends. A line there is a change: every open stream gets a message.
pub(crate) async fn serve(socket: &Path) {
    let listener = UnixListener::bind(socket).expect("the socket");
    let (changes, _) = watch::channel(());
    let bare = Bare(Arc::new(Prepared::new(&Scratch::new(), changes)));
    let incoming = futures::stream::unfold(listener, |listener| async move {
        Some((listener.accept().await.map(|(stream, _)| stream), listener))
    });
    let server =
        tonic::transport::Server::builder().add_service(bare.clone()).serve_with_incoming(incoming);
    tokio::spawn(server);
    say("ready");
    let mut commands = commands();
    while commands.next_line().await.expect("a line").is_some() {
        bare.0.changes.send_replace(());
    }
}

#[derive(Debug, Clone)]
struct Bare(Arc<Prepared>);

#[derive(Debug)]
struct Prepared {
    jwt: JwtSvidResponse,
    x509: X509SvidResponse,
    changes: watch::Sender<()>,
}

impl Prepared {
    fn new(scratch: &Scratch, changes: watch::Sender<()>) -> Self {
        let (spiffe_id, hint) = (own_id().to_string(), String::new());
        let svid = scratch.domain.x509_svid(&own_id());
        let x509 = X509Svid {
            spiffe_id: spiffe_id.clone(),
            x509_svid: svid.chain.iter().flat_map(|der| der.to_vec()).collect(),
            x509_svid_key: svid.private_key,
            bundle: scratch.domain.bundle().x509_der(),
            hint: hint.clone(),
        };
        let token = scratch.jwt_svid(&own_id(), &["https://api.example.org"]);
        let jwt = JwtSvid { spiffe_id, svid: token.expose_token().to_owned(), hint };
        Self {
            jwt: JwtSvidResponse { svids: vec![jwt] },
            x509: X509SvidResponse { svids: vec![x509], ..X509SvidResponse::default() },
            changes,
        }
    }

    fn stream(self: Arc<Self>) -> BoxStream<'static, Result<X509SvidResponse, Status>> {
        let mut changes = self.changes.subscribe();
        changes.mark_changed();
        Box::pin(futures::stream::unfold((self, changes), |(bare, mut changes)| async move {
            changes.changed().await.ok()?;
            Some((Ok(bare.x509.clone()), (bare, changes)))
        }))
    }
}

impl NamedService for Bare {
    const NAME: &'static str = SERVICE;
}

impl Service<http::Request<Body>> for Bare {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let bare = Arc::clone(&self.0);
        Box::pin(async move {
            Ok(match request.uri().path() {
                FETCH_JWT_SVID => {
                    let codec: ProstCodec<JwtSvidResponse, JwtSvidRequest> = ProstCodec::default();
                    let answer = service_fn(move |_: Request<JwtSvidRequest>| {
                        let jwt = bare.jwt.clone();
                        async move { Ok::<_, Status>(Response::new(jwt)) }
                    });
                    tonic::server::Grpc::new(codec).unary(answer, request).await
                }
                FETCH_X509_SVID => {
                    let codec: ProstCodec<X509SvidResponse, Empty> = ProstCodec::default();
                    let answer = service_fn(move |_: Request<Empty>| {
                        let stream = Arc::clone(&bare).stream();
                        async move { Ok::<_, Status>(Response::new(stream)) }
                    });
                    tonic::server::Grpc::new(codec).server_streaming(answer, request).await
                }
                path => panic!("no such method: {path}"),
            })
        })
    }
}
