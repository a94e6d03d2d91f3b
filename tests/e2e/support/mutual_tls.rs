//! Mutual TLS as an agent does it, with the crates.io `spiffe-rustls`: each side shows its X.509-SVID and accepts one
//! SPIFFE ID alone.

use std::net::Ipv4Addr;
use std::sync::Arc;

use rustls_pki_types::ServerName;
use spiffe::X509Source;
use spiffe_rustls::{authorizer, mtls_client, mtls_server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::{TlsAcceptor, TlsConnector};

const GREETING: &[u8] = b"over mutual TLS";

/// A server that greets one client; its port, and how its handshake went.
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) outcome: JoinHandle<Result<(), String>>,
}

/// Serves one connection to the client with the SPIFFE ID `peer`.
pub(crate) async fn serve_one(workload_api: &str, peer: &str) -> Result<Server, String> {
    let source = source(workload_api).await?;
    let config = mtls_server(source)
        .authorize(authorizer::exact([peer]).map_err(told)?)
        .build()
        .map_err(told)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(told)?;
    let port = listener.local_addr().map_err(told)?.port();
    let outcome = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.map_err(told)?;
        let mut tls = TlsAcceptor::from(Arc::new(config)).accept(stream).await.map_err(told)?;
        tls.write_all(GREETING).await.map_err(told)?;
        tls.shutdown().await.map_err(told)
    });
    Ok(Server { port, outcome })
}

/// Connects to the server with the SPIFFE ID `peer`; what it said.
pub(crate) async fn connect(workload_api: &str, port: u16, peer: &str) -> Result<String, String> {
    let source = source(workload_api).await?;
    let config = mtls_client(source)
        .authorize(authorizer::exact([peer]).map_err(told)?)
        .build()
        .map_err(told)?;
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.map_err(told)?;
    let name = ServerName::try_from("localhost").map_err(told)?;
    let mut tls = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(told)?;
    let mut said = String::new();
    tls.read_to_string(&mut said).await.map_err(told)?;
    Ok(said)
}

async fn source(workload_api: &str) -> Result<X509Source, String> {
    X509Source::builder().endpoint(workload_api).build().await.map_err(told)
}

fn told(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}
