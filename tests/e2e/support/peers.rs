//! Peers that speak mutual TLS by whatever the Workload API pushed last: crates.io `spiffe` with `spiffe-rustls`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use spiffe::X509Source;
use spiffe_rustls::{TlsStatus, authorizer, mtls_client, mtls_server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use x509_parser::prelude::{ParsedExtension, parse_x509_certificate};

use super::wait::within;

/// How long the library may be found between two SVIDs, and how long it is left alone then.
const BETWEEN_AT_MOST: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(5);

/// Two peers of one identity, each with a stream of its own.
pub(crate) struct Peers {
    pub(crate) source: X509Source,
    pub(crate) server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    /// What the library says of the two.
    statuses: [TlsStatus; 2],
}

/// A handshake of peers that follow what is pushed.
pub(crate) struct Handshake {
    /// Whose certificates the two showed: the key identifiers of their authorities, in hexadecimal.
    pub(crate) authorities: [String; 2],
    /// How often it was begun anew, because the library was between two SVIDs and showed none.
    pub(crate) begun_anew: usize,
}

impl Peers {
    pub(crate) async fn new(workload_api: &str, id: &str) -> Self {
        Self::with(workload_api, id).await
    }

    /// Two ends of one Workload API, each of which talks to `other` alone.
    pub(crate) async fn with(workload_api: &str, other: &str) -> Self {
        let open = async || {
            let source = X509Source::builder().endpoint(workload_api);
            within("the X.509 source", source.build()).await.expect("an X.509 source")
        };
        let exact = || authorizer::exact([other]).expect("a SPIFFE ID");
        let server = mtls_server(open().await).authorize(exact());
        let (server, of_server) = server.build_with_status().expect("a server");
        let client = mtls_client(open().await).authorize(exact());
        let (mut client, of_client) = client.build_with_status().expect("a client");
        // Every handshake verifies anew.
        client.resumption = Resumption::disabled();
        let statuses = [of_server, of_client];
        Self { source: open().await, server: Arc::new(server), client: Arc::new(client), statuses }
    }

    /// A server that goes on with the SVID of now, whatever becomes of it.
    pub(crate) fn standing_still(&self) -> Arc<ServerConfig> {
        let svid = self.source.svid().expect("an SVID");
        let chain =
            svid.cert_chain().iter().map(|one| CertificateDer::from(one.as_bytes().to_vec()));
        let key = PrivatePkcs8KeyDer::from(svid.private_key().as_bytes().to_vec());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_no_client_auth()
            .with_single_cert(chain.collect(), PrivateKeyDer::Pkcs8(key))
            .expect("a key of its chain");
        Arc::new(server)
    }

    /// One handshake with a server, and a word through it. Gives the certificates that the two showed: the server's, and the
    /// client's if it was asked for one.
    async fn try_to_shake_hands(&self, server: &Arc<ServerConfig>) -> Result<Vec<Vec<u8>>, String> {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let told = |error: std::io::Error| error.to_string();
        let accepting = TlsAcceptor::from(Arc::clone(server)).accept(far);
        let name = ServerName::try_from("localhost").expect("a name");
        let connecting = TlsConnector::from(Arc::clone(&self.client)).connect(name, near);
        let (mut accepted, mut connected) = match tokio::join!(accepting, connecting) {
            (Ok(accepted), Ok(connected)) => (accepted, connected),
            (accepted, connected) => {
                let [server, client] = [accepted.err(), connected.err()].map(|error| {
                    error.map_or_else(|| "nothing".to_owned(), |error| error.to_string())
                });
                return Err(format!("the server says {server}; the client says {client}"));
            }
        };
        accepted.write_all(b"hello").await.map_err(told)?;
        accepted.shutdown().await.map_err(told)?;
        let mut said = String::new();
        connected.read_to_string(&mut said).await.map_err(told)?;
        assert_eq!(said, "hello");
        let shown =
            [connected.get_ref().1.peer_certificates(), accepted.get_ref().1.peer_certificates()];
        let leaves = shown.into_iter().flatten().filter_map(|chain| chain.first());
        Ok(leaves.map(|leaf| leaf.to_vec()).collect())
    }

    /// One handshake of the peers that follow.
    pub(crate) async fn follow(&self) -> Result<Handshake, String> {
        let (leaves, begun_anew) = self.shake_hands(&self.server).await?;
        let authorities: Vec<String> = leaves.iter().map(|leaf| authority_of(leaf)).collect();
        let authorities = <[String; 2]>::try_from(authorities)
            .map_err(|shown| format!("not both showed a certificate: {shown:?}"))?;
        Ok(Handshake { authorities, begun_anew })
    }

    /// One handshake with a server. From when `spiffe-rustls` gets another SVID until it has taken it up, it shows none and
    /// believes nobody (its `PendingRevision`): what fails in such a moment is begun anew, and nothing else. Gives what the
    /// two showed and how often that was.
    pub(crate) async fn shake_hands(
        &self,
        server: &Arc<ServerConfig>,
    ) -> Result<(Vec<Vec<u8>>, usize), String> {
        self.shake((server, self)).await
    }

    /// The same with the server of others.
    pub(crate) async fn shake_hands_with(
        &self,
        others: &Self,
    ) -> Result<(Vec<Vec<u8>>, usize), String> {
        self.shake((&others.server, others)).await
    }

    async fn shake(
        &self,
        (server, others): (&Arc<ServerConfig>, &Self),
    ) -> Result<(Vec<Vec<u8>>, usize), String> {
        let (began, mut begun_anew) = (Instant::now(), 0);
        loop {
            let before = (self.revisions(), others.revisions());
            let were_between = || self.was_between(before.0) || others.was_between(before.1);
            match self.try_to_shake_hands(server).await {
                Err(_) if began.elapsed() < BETWEEN_AT_MOST && were_between() => {
                    begun_anew += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                shaken => return shaken.map(|leaves| (leaves, begun_anew)),
            }
        }
    }

    /// Of each end, the SVID that it got last and the one that it has taken up.
    fn revisions(&self) -> [(u64, u64); 2] {
        self.statuses.each_ref().map(|status| {
            let now = status.current();
            (now.source_revision, now.applied_revision)
        })
    }

    /// Whether one of the two was between two SVIDs at any moment since `before`.
    fn was_between(&self, before: [(u64, u64); 2]) -> bool {
        let now = self.revisions();
        let pending = |(source, applied): &(u64, u64)| source != applied;
        now != before || now.iter().chain(&before).any(pending)
    }
}

/// The key identifier of the authority that signed a certificate, in hexadecimal.
fn authority_of(leaf: &[u8]) -> String {
    let (_rest, leaf) = parse_x509_certificate(leaf).expect("a certificate");
    let identifiers =
        leaf.iter_extensions().filter_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(value) => value.key_identifier.as_ref(),
            _ => None,
        });
    let found: Vec<String> = identifiers.map(|identifier| hex::encode(identifier.0)).collect();
    assert_eq!(found.len(), 1, "a leaf names its authority");
    found[0].clone()
}
