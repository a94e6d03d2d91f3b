use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::io::AsyncReadExt as _;
use zeroize::Zeroizing;

use super::kubelet::KubeletTls;
use crate::source::SourceError;

/// Certificates, keys and tokens are shorter.
const MAX_FILE: u64 = 1024 * 1024;

/// The settings of one connection, from files as they are now, and the name that the kubelet must
/// prove.
pub(super) async fn client(
    tls: &KubeletTls,
) -> Result<(Arc<ClientConfig>, ServerName<'static>), SourceError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(SourceError::Settings)?;
    let verifier: Arc<dyn ServerCertVerifier> = match &tls.ca_file {
        Some(path) => verifier(path, &provider).await?,
        None => Arc::new(Unverified(provider)),
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = match &tls.client_certificate {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let chain = certificates(chain).await?;
            let key = private_key(key).await?;
            builder.with_client_auth_cert(chain, key).map_err(SourceError::Settings)?
        }
    };
    config.resumption = Resumption::disabled();
    let name = ServerName::try_from(tls.server_name.clone()).map_err(|_not_a_name| {
        SourceError::Settings(rustls::Error::General("the server name is none".to_owned()))
    })?;
    Ok((Arc::new(config), name))
}

async fn verifier(
    path: &Path,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, SourceError> {
    let content = || SourceError::Content { path: path.to_owned(), what: "usable certificate" };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path).await? {
        roots.add(certificate).map_err(|_unusable| content())?;
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|_no_roots| content())
}

async fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, SourceError> {
    let content = || SourceError::Content { path: path.to_owned(), what: "PEM certificate" };
    let pem = read(path).await?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(content)
}

async fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, SourceError> {
    let pem = Zeroizing::new(read(path).await?);
    PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|_no_key| SourceError::Content { path: path.to_owned(), what: "PEM private key" })
}

/// A whole file, up to a limit.
pub(super) async fn read(path: &Path) -> Result<Vec<u8>, SourceError> {
    let failed = |source| SourceError::File { path: path.to_owned(), source };
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let mut bytes = Vec::with_capacity(8 * 1024);
    file.take(MAX_FILE).read_to_end(&mut bytes).await.map_err(failed)?;
    Ok(bytes)
}

/// Believes whoever holds the private key of whatever certificate is shown. Only where the
/// configuration says `skip_kubelet_verification`.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
