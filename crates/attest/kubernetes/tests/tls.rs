//! The kubelet's secure port, with scratch authorities.

use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::KubeletTls;

/// The name in the kubelet's certificate.
const NODE: &str = "node-1.example.org";

/// An authority of a cluster.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
struct Leaf {
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn leaf(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Leaf { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

/// The stage with a secure port, and files beside it.
struct Secure {
    stage: Stage,
    folder: TempDir,
    authority: Authority,
}

impl Secure {
    async fn new() -> Self {
        let (mut stage, folder) = (Stage::new().await, TempDir::new().unwrap());
        let authority = Authority::new();
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        stage.kubelet.tls = Some(KubeletTls {
            ca_file: Some(folder.path().join("ca.pem")),
            server_name: NODE.to_owned(),
            token_file: None,
            client_certificate: None,
        });
        Self { stage, folder, authority }
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn tls(&mut self) -> &mut KubeletTls {
        self.stage.kubelet.tls.as_mut().unwrap()
    }

    /// A certificate of the cluster's authority for the kubelet.
    fn leaf(&self) -> Leaf {
        self.authority.leaf(NODE, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// Serves with a certificate; with `clients`, to clients of the cluster's authority alone.
    fn serve(
        &mut self,
        leaf: Leaf,
        clients: bool,
        answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> FakeServer {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if clients {
            let mut roots = RootCertStore::empty();
            roots.add(self.authority.0.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let Leaf { certificate, key } = leaf;
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let config = builder.with_single_cert(chain, key).unwrap();
        let tls = TlsAcceptor::from(Arc::new(config));
        FakeServer::on_tcp(self.stage.listener.take().unwrap(), Some(tls), answer)
    }
}

fn with_token(token: &'static str) -> impl Fn(&Asked) -> Reply + Send + Sync + 'static {
    move |asked| match &asked.authorization {
        Some(header) if *header == format!("Bearer {token}") => listed(asked),
        _other => Reply::Json(401, "Unauthorized".to_owned()),
    }
}

#[tokio::test]
async fn a_kubelet_of_the_clusters_authority_is_believed_and_gets_the_token() {
    let mut secure = Secure::new().await;
    secure.tls().token_file = Some(secure.file("token", "first\n"));
    let server = secure.serve(secure.leaf(), false, with_token("first"));
    assert_eq!(secure.stage.attest().await.unwrap().len(), 20);
    assert_eq!(server.asked()[0].authorization.as_deref(), Some("Bearer first"));
}

#[tokio::test]
async fn a_token_that_expired_is_refused_until_its_file_has_another() {
    let mut secure = Secure::new().await;
    secure.tls().token_file = Some(secure.file("token", "first"));
    let _server = secure.serve(secure.leaf(), false, with_token("second"));
    let attestor = secure.stage.attestor();
    let pin = secure.stage.agent.pin();
    let refused = cause(attestor.selectors(&pin).await);
    assert!(matches!(*refused, SourceError::Status { status: 401 }), "{refused}");
    secure.file("token", "second");
    assert_eq!(attestor.selectors(&pin).await.unwrap().len(), 20);
}

#[tokio::test]
async fn a_kubelet_of_another_authority_is_refused_and_gets_no_token() {
    let mut secure = Secure::new().await;
    secure.tls().token_file = Some(secure.file("token", "first"));
    let other = Authority::new().leaf(NODE, ExtendedKeyUsagePurpose::ServerAuth);
    let server = secure.serve(other, false, listed);
    assert!(matches!(*cause(secure.stage.attest().await), SourceError::Tls { .. }));
    assert_eq!(server.asked(), []);
}

#[tokio::test]
async fn a_kubelet_with_another_name_is_refused() {
    let mut secure = Secure::new().await;
    let server = secure.serve(secure.leaf(), false, listed);
    for name in ["node-2.example.org", "127.0.0.1"] {
        secure.tls().server_name = name.to_owned();
        assert!(matches!(*cause(secure.stage.attest().await), SourceError::Tls { .. }), "{name}");
    }
    secure.tls().server_name = NODE.to_owned();
    assert_eq!(secure.stage.attest().await.unwrap().len(), 20);
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_certificate_that_is_for_clients_makes_no_kubelet() {
    let mut secure = Secure::new().await;
    let leaf = secure.authority.leaf(NODE, ExtendedKeyUsagePurpose::ClientAuth);
    let _server = secure.serve(leaf, false, listed);
    assert!(matches!(*cause(secure.stage.attest().await), SourceError::Tls { .. }));
}

#[tokio::test]
async fn without_an_authority_whoever_answers_is_believed() {
    let mut secure = Secure::new().await;
    secure.tls().ca_file = None;
    let other = Authority::new().leaf("other.example.org", ExtendedKeyUsagePurpose::ServerAuth);
    let _server = secure.serve(other, false, listed);
    assert_eq!(secure.stage.attest().await.unwrap().len(), 20);
}

#[tokio::test]
async fn a_kubelet_that_asks_for_a_client_certificate_gets_it() {
    let mut secure = Secure::new().await;
    let _server = secure.serve(secure.leaf(), true, listed);
    // In TLS 1.3 a client learns only afterwards that its certificate was asked for in earnest.
    let without = cause(secure.stage.attest().await);
    assert!(matches!(*without, SourceError::Exchange(_) | SourceError::Tls { .. }), "{without}");
    let Leaf { certificate, key } =
        secure.authority.leaf("marque.example.org", ExtendedKeyUsagePurpose::ClientAuth);
    let files = (secure.file("client.pem", &certificate), secure.file("client.key", &key));
    secure.tls().client_certificate = Some(files);
    assert_eq!(secure.stage.attest().await.unwrap().len(), 20);
}

#[tokio::test]
async fn files_that_are_missing_or_empty_are_named() {
    let mut secure = Secure::new().await;
    let server = secure.serve(secure.leaf(), false, listed);
    let missing = secure.folder.path().join("missing");
    let empty = secure.file("empty", "\n");
    let odd = secure.file("odd", "first\nsecond");
    let pem = secure.folder.path().join("ca.pem");
    let original = secure.tls().clone();
    let mut tried = Vec::new();
    for (path, what) in [(&missing, "cannot read"), (&empty, "holds no")] {
        tried.push((KubeletTls { ca_file: Some(path.clone()), ..original.clone() }, path, what));
        tried.push((KubeletTls { token_file: Some(path.clone()), ..original.clone() }, path, what));
        let chain = Some((path.clone(), pem.clone()));
        tried.push((KubeletTls { client_certificate: chain, ..original.clone() }, path, what));
        let key = Some((pem.clone(), path.clone()));
        tried.push((KubeletTls { client_certificate: key, ..original.clone() }, path, what));
    }
    let token = KubeletTls { token_file: Some(odd.clone()), ..original.clone() };
    tried.push((token, &odd, "holds no token"));
    for (tls, path, what) in tried {
        *secure.tls() = tls;
        let told = cause(secure.stage.attest().await).to_string();
        assert!(told.contains(what) && told.contains(&path.display().to_string()), "{told}");
        assert!(!told.contains("second"), "{told}");
    }
    assert_eq!(server.asked(), []);
}

#[tokio::test]
async fn a_kubelet_that_does_not_shake_hands_is_waited_for_until_the_deadline() {
    let mut secure = Secure::new().await;
    secure.stage.kubelet.timeout = Duration::from_millis(50);
    assert!(matches!(*cause(secure.stage.attest().await), SourceError::Deadline { .. }));
}
