//! How a bundle endpoint proves who it is: the TLS settings of both profiles (FE-3, FE-7).
//!
//! No session is ever resumed: a resumed one would skip the certificate, and with it a bundle that changed meanwhile. The
//! daemon's own clock decides what has expired. No client certificate is ever shown (FE-6).
//!
//! A server with SPIRE's API proves itself as an endpoint of `https_spiffe` does, and is shown the own X.509-SVID.

use std::sync::Arc;

use marque_spiffe::{BundleSource, Clock, SpiffeId, UnverifiedX509Svid, X509SvidError};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WantsClientCert};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, OtherError,
    RootCertStore, SignatureScheme, WantsVerifier,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::tls::refused_svid;

/// `https_web`: a certificate for the host of the URL below one of these authorities (RFC 6125).
pub(crate) fn web(
    roots: RootCertStore,
    clock: Arc<dyn Clock>,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let (_, builder) = builder(clock)?;
    Ok(finished(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// `https_spiffe`: an X.509-SVID of exactly this SPIFFE ID, by the bundle of that moment.
pub(super) fn spiffe(
    endpoint: SpiffeId,
    bundles: Arc<dyn BundleSource>,
    clock: Arc<dyn Clock>,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    Ok(finished(exact(endpoint, bundles, clock)?.with_no_client_auth()))
}

/// Mutual TLS with the own X.509-SVID for gRPC: the server is exactly this SPIFFE ID, by `bundles`.
pub(crate) fn spiffe_mutual(
    server: SpiffeId,
    bundles: Arc<dyn BundleSource>,
    (chain, key): (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>),
    clock: Arc<dyn Clock>,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let builder = exact(server, bundles, clock)?;
    let mut config = builder.with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn exact(
    endpoint: SpiffeId,
    bundles: Arc<dyn BundleSource>,
    clock: Arc<dyn Clock>,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, rustls::Error> {
    let (provider, builder) = builder(Arc::clone(&clock))?;
    let algorithms = provider.signature_verification_algorithms;
    let verifier = ExactSvid { endpoint, bundles, clock, algorithms };
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)))
}

fn builder(
    clock: Arc<dyn Clock>,
) -> Result<(Arc<CryptoProvider>, ConfigBuilder<ClientConfig, WantsVerifier>), rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let time = Arc::new(ClockOfTls(clock));
    let builder = ClientConfig::builder_with_details(Arc::clone(&provider), time)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
    Ok((provider, builder))
}

fn finished(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

#[derive(Debug)]
struct ClockOfTls(Arc<dyn Clock>);

impl TimeProvider for ClockOfTls {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.now().as_second()).ok()?;
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)))
    }
}

/// Believes whoever holds the key of an X.509-SVID of one SPIFFE ID.
#[derive(Debug)]
struct ExactSvid {
    endpoint: SpiffeId,
    bundles: Arc<dyn BundleSource>,
    clock: Arc<dyn Clock>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// The SVID is somebody else's.
#[derive(Debug, thiserror::Error)]
#[error("the endpoint is `{0}`, not who was expected")]
struct SomebodyElse(SpiffeId);

impl ExactSvid {
    fn verify(&self, chain: Vec<CertificateDer<'static>>) -> Result<(), rustls::Error> {
        let svid = UnverifiedX509Svid::parse_chain(chain).map_err(refused_svid)?;
        let trust_domain = self.endpoint.trust_domain();
        let bundle = self.bundles.bundle(trust_domain);
        let bundle = bundle
            .ok_or_else(|| refused_svid(X509SvidError::OtherTrustDomain(trust_domain.clone())))?;
        let svid = svid.verify(&bundle, self.clock.now()).map_err(refused_svid)?;
        if svid.id() != &self.endpoint {
            let other = OtherError(Arc::new(SomebodyElse(svid.id().clone())));
            return Err(CertificateError::Other(other).into());
        }
        Ok(())
    }
}

impl ServerCertVerifier for ExactSvid {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        // The URL's host says nothing about who is there; the SPIFFE ID does.
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = std::iter::once(end_entity).chain(intermediates);
        self.verify(chain.map(|certificate| certificate.clone().into_owned()).collect())?;
        Ok(ServerCertVerified::assertion())
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
