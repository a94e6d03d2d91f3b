//! A supervisor: a workload that starts other processes and fetches their SVIDs over the SPIFFE Broker API, with the
//! crates.io `spiffe` and `spiffe-rustls` for its own identity and TLS, and messages written by hand.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use prost::Message;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, SignatureScheme};
use rustls_pki_types::ServerName;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use spiffe::X509Source;
use spiffe_rustls::{authorizer, mtls_client};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio_rustls::TlsConnector;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt as _;

use super::place::Place;
use super::wait::within;

/// What a supervisor is told to do.
#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum Order {
    /// Start a program that waits for the end of its standard input; its process id.
    Start { program: String },
    /// End it.
    End,
    /// Open a stream of a process's X.509-SVIDs: the SPIFFE IDs of the first message.
    X509 { dial: Dial, pid: i32 },
    /// The SPIFFE IDs of the stream's next message.
    Next,
    /// Fetch JWT-SVIDs of a process: their SPIFFE IDs.
    Jwt { dial: Dial, pid: i32, audience: String, spiffe_id: String },
}

/// How to reach a Broker API.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Dial {
    pub(crate) socket: String,
    /// The SPIFFE ID that the server has to show.
    pub(crate) server: String,
    /// The Workload API whose bundle verifies the server.
    pub(crate) trust: String,
    /// The Workload API that gives the own certificate; no certificate is shown where it is absent.
    pub(crate) identity: Option<String>,
    /// Whether the security header is there.
    pub(crate) header: bool,
}

impl Dial {
    /// How a proper broker of this trust domain does it.
    pub(crate) fn proper(place: &Place) -> Self {
        let socket = place.broker_api_socket.as_ref().expect("a trust domain with brokers");
        Self {
            socket: socket.display().to_string(),
            server: place.id("/marque/broker"),
            trust: place.workload_api(),
            identity: Some(place.workload_api()),
            header: true,
        }
    }
}

/// The process that plays a supervisor.
#[derive(Default)]
pub(crate) struct Supervisor {
    child: Option<Child>,
    stream: Option<Streaming<X509Response>>,
}

impl Supervisor {
    pub(crate) async fn carry_out(&mut self, order: Order) -> Result<Value, String> {
        match order {
            Order::Start { program } => {
                let mut command = Command::new(Path::new(&program));
                command.args(super::agent::PLAY).stdin(Stdio::piped()).stdout(Stdio::null());
                let child = command.kill_on_drop(true).spawn().map_err(told)?;
                let pid = child.id().ok_or("it is gone already")?;
                self.child = Some(child);
                Ok(json!({ "pid": pid }))
            }
            Order::End => {
                let mut child = self.child.take().ok_or("nothing was started")?;
                child.kill().await.map_err(told)?;
                Ok(Value::Null)
            }
            Order::X509 { dial, pid } => {
                let mut client = connect(&dial).await?;
                let request = dial.request(SubscribeRequest { reference: Some(process(pid)) });
                client.ready().await.map_err(told)?;
                let path = PathAndQuery::from_static("/spiffe.broker.API/SubscribeToX509SVID");
                let codec: ProstCodec<SubscribeRequest, X509Response> = ProstCodec::default();
                let opened = client.server_streaming(request, path, codec).await;
                self.stream = Some(opened.map_err(|status| refusal(&status))?.into_inner());
                self.next().await
            }
            Order::Next => self.next().await,
            Order::Jwt { dial, pid, audience, spiffe_id } => {
                let mut client = connect(&dial).await?;
                let reference = Some(process(pid));
                let request =
                    dial.request(JwtRequest { reference, audience: vec![audience], spiffe_id });
                client.ready().await.map_err(told)?;
                let path = PathAndQuery::from_static("/spiffe.broker.API/FetchJWTSVID");
                let codec: ProstCodec<JwtRequest, JwtResponse> = ProstCodec::default();
                let answer = client.unary(request, path, codec).await;
                let answer = answer.map_err(|status| refusal(&status))?.into_inner();
                Ok(answer.svids.iter().map(|svid| svid.spiffe_id.as_str()).collect())
            }
        }
    }

    async fn next(&mut self) -> Result<Value, String> {
        let stream = self.stream.as_mut().ok_or("no stream is open")?;
        let message = within("a message of the broker's stream", stream.message()).await;
        let message = message.map_err(|status| refusal(&status))?.ok_or("the stream ended")?;
        for svid in &message.svids {
            let complete = !svid.x509_svid.is_empty() && !svid.x509_svid_key.is_empty();
            if !complete || svid.bundle.is_empty() {
                return Err(format!("an SVID of {} is not whole", svid.spiffe_id));
            }
        }
        Ok(message.svids.iter().map(|svid| svid.spiffe_id.as_str()).collect())
    }
}

impl Dial {
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if self.header {
            request.metadata_mut().insert("broker.spiffe.io", "true".parse().expect("a value"));
        }
        request
    }

    async fn config(&self) -> Result<ClientConfig, String> {
        let mut config = client_config(&self.trust, &self.server).await?;
        config.client_auth_cert_resolver = match &self.identity {
            Some(identity) if *identity == self.trust => return Ok(config),
            Some(identity) => {
                client_config(identity, &self.server).await?.client_auth_cert_resolver
            }
            None => Arc::new(NoCertificate),
        };
        Ok(config)
    }
}

async fn client_config(workload_api: &str, server: &str) -> Result<ClientConfig, String> {
    let source = X509Source::builder().endpoint(workload_api).build().await.map_err(told)?;
    mtls_client(source)
        .authorize(authorizer::exact([server]).map_err(told)?)
        .with_alpn_protocols([b"h2"])
        .build()
        .map_err(told)
}

async fn connect(dial: &Dial) -> Result<Grpc<Channel>, String> {
    let (config, socket) = (Arc::new(dial.config().await?), dial.socket.clone());
    let connector = tower::service_fn(move |_: Uri| {
        let (config, socket) = (Arc::clone(&config), socket.clone());
        async move {
            let stream = UnixStream::connect(socket).await?;
            let name = ServerName::try_from("localhost").map_err(std::io::Error::other)?;
            TlsConnector::from(config).connect(name, stream).await.map(TokioIo::new)
        }
    });
    let channel = Endpoint::from_static("http://localhost").connect_with_connector(connector).await;
    Ok(Grpc::new(channel.map_err(told)?))
}

/// `Code REASON`, or what went wrong below gRPC.
fn refusal(status: &Status) -> String {
    let reason = status.get_details_error_info().map(|info| {
        assert_eq!(info.domain, "spiffe.io");
        info.reason
    });
    format!("{:?} {} {status:?}", status.code(), reason.unwrap_or_default())
}

fn told(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}

fn process(pid: i32) -> WorkloadReference {
    let pid = PidReference { pid };
    let type_url = "type.googleapis.com/spiffe.broker.WorkloadPIDReference".to_owned();
    let reference = prost_types::Any { type_url, value: pid.encode_to_vec() };
    WorkloadReference { reference: Some(reference) }
}

#[derive(Debug)]
struct NoCertificate;

impl ResolvesClientCert for NoCertificate {
    fn resolve(
        &self,
        _issuers: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[derive(Clone, PartialEq, Message)]
struct WorkloadReference {
    #[prost(message, optional, tag = "1")]
    reference: Option<prost_types::Any>,
}

#[derive(Clone, PartialEq, Message)]
struct PidReference {
    #[prost(int32, tag = "1")]
    pid: i32,
}

#[derive(Clone, PartialEq, Message)]
struct SubscribeRequest {
    #[prost(message, optional, tag = "1")]
    reference: Option<WorkloadReference>,
}

#[derive(Clone, PartialEq, Message)]
struct X509Response {
    #[prost(message, repeated, tag = "1")]
    svids: Vec<X509Svid>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    crl: Vec<Vec<u8>>,
    #[prost(map = "string, bytes", tag = "3")]
    federated_bundles: HashMap<String, Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct X509Svid {
    #[prost(string, tag = "1")]
    spiffe_id: String,
    #[prost(bytes = "vec", tag = "2")]
    x509_svid: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    x509_svid_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    bundle: Vec<u8>,
    #[prost(string, tag = "5")]
    hint: String,
}

#[derive(Clone, PartialEq, Message)]
struct JwtRequest {
    #[prost(message, optional, tag = "1")]
    reference: Option<WorkloadReference>,
    #[prost(string, repeated, tag = "2")]
    audience: Vec<String>,
    #[prost(string, tag = "3")]
    spiffe_id: String,
}

#[derive(Clone, PartialEq, Message)]
struct JwtResponse {
    #[prost(message, repeated, tag = "1")]
    svids: Vec<JwtSvid>,
}

#[derive(Clone, PartialEq, Message)]
struct JwtSvid {
    #[prost(string, tag = "1")]
    spiffe_id: String,
    #[prost(string, tag = "2")]
    svid: String,
    #[prost(string, tag = "3")]
    hint: String,
}
