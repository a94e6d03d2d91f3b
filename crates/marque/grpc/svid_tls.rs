//! Mutual TLS with X.509-SVIDs, as the SPIFFE Broker Endpoint wants it even on a Unix socket (BR-1), and as SPIRE's servers
//! speak it.
//!
//! TLS 1.3 alone, and no session is ever resumed: a resumed one would skip the certificate of its client. A client's
//! certificate is an X.509-SVID of the own trust domain, verified against the bundle of that moment, or there is no
//! connection. Absent on purpose: who may do what (`broker/standing.rs`, `downstream.rs`), and minting the server's
//! certificate (`issuer/`).

use std::sync::{Arc, PoisonError, RwLock};

use marque_spiffe::{Bundle, Clock, UnverifiedX509Svid, X509Svid, X509SvidError};
use marque_workload::{IssuerState, X509SvidMaterial};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use tokio::sync::watch;

use crate::tls::refused_svid;

/// The certificate that the endpoint shows, replaced without a word to the connections that are there.
#[derive(Debug)]
pub struct ServerCertificate {
    provider: Arc<CryptoProvider>,
    current: RwLock<Option<Arc<CertifiedKey>>>,
}

impl Default for ServerCertificate {
    fn default() -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Self { provider, current: RwLock::new(None) }
    }
}

impl ServerCertificate {
    /// Shows this SVID from now on.
    ///
    /// # Errors
    /// When the key is not the certificate's or is of a kind that TLS does not have; the one before stays.
    pub fn show(&self, svid: &X509SvidMaterial) -> Result<(), rustls::Error> {
        let key = PrivatePkcs8KeyDer::from(svid.private_key.expose_der().to_vec());
        let key = PrivateKeyDer::Pkcs8(key);
        let certified = CertifiedKey::from_der(svid.chain.clone(), key, &self.provider)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(certified));
        Ok(())
    }

    /// Shows nothing any more: handshakes fail.
    pub fn withdraw(&self) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
impl ServerCertificate {
    /// The leaf that is shown.
    pub(crate) fn shown(&self) -> Option<CertificateDer<'static>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().and_then(|key| key.cert.first().cloned())
    }
}

impl ResolvesServerCert for ServerCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Verifies X.509-SVIDs by the own trust domain's bundle of the moment.
#[derive(Clone)]
pub(super) struct Verifier {
    pub(super) state: watch::Receiver<Arc<IssuerState>>,
    pub(super) clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // An issuer's state names selectors, and those are not for logs.
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

impl Verifier {
    pub(super) fn bundle(&self) -> Arc<Bundle> {
        Arc::clone(self.state.borrow().bundles.own())
    }

    /// The SVID with the bundle that verified it.
    pub(super) fn verify(
        &self,
        chain: Vec<CertificateDer<'static>>,
    ) -> Result<(X509Svid, Arc<Bundle>), X509SvidError> {
        let bundle = self.bundle();
        let svid = UnverifiedX509Svid::parse_chain(chain)?.verify(&bundle, self.clock.now())?;
        Ok((svid, bundle))
    }
}

/// The TLS settings of the endpoint.
pub(super) fn server_config(
    certificate: Arc<ServerCertificate>,
    verifier: Verifier,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::clone(&certificate.provider);
    let verifier =
        OwnTrustDomain { verifier, algorithms: provider.signature_verification_algorithms };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Lets in whoever holds the key of an X.509-SVID of the own trust domain.
#[derive(Debug)]
struct OwnTrustDomain {
    verifier: Verifier,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for OwnTrustDomain {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        // The daemon's own clock decides, as it does everywhere else.
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let chain = std::iter::once(end_entity).chain(intermediates);
        let chain = chain.map(|certificate| certificate.clone().into_owned()).collect();
        self.verifier.verify(chain).map_err(refused_svid)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
