//! TLS for the HTTP edge: the server's settings, and the throw-away certificates of a laptop.
//!
//! [`DevCertificates::make_or_load`] keeps a certificate authority's certificate, a server certificate for `localhost`
//! and its key in one folder. The authority's private key is never written: it signs one certificate and is gone, so
//! that trusting the authority trusts nothing else. Deliberately absent: certificates of a fleet's issuer, which an
//! operator brings, and anything to do with SVIDs.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use marque_spiffe::X509SvidError;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::{
    CertificateError, DistinguishedName, OtherError, RootCertStore, ServerConfig, SignatureScheme,
    client::{
        WebPkiServerVerifier, danger::HandshakeSignatureValid, danger::ServerCertVerifier as _,
    },
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    },
    server::{
        NoServerSessionStorage, ParsedCertificate,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _};
use zeroize::Zeroizing;

/// How long a development certificate is valid.
const DEV_LIFETIME: Duration = Duration::from_secs(60 * 60 * 24 * 90);
/// How long before its end a development certificate is made anew.
const DEV_RENEWAL: Duration = Duration::from_secs(60 * 60 * 24 * 7);
/// How far a development certificate reaches back, for clocks that run behind.
const DEV_BACKDATE: Duration = Duration::from_secs(60 * 60);

const CA_FILE: &str = "ca.pem";
const CERTIFICATE_FILE: &str = "server.pem";
const KEY_FILE: &str = "server.key";
const LOCK_FILE: &str = ".lock";

/// What went wrong with the server's TLS material.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file or folder could not be read, written, renamed or locked.
    #[error("`{}` could not be used; check that the folder exists and is yours", path.display())]
    File {
        /// What was touched.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A new certificate could not be made.
    #[error("a development certificate could not be made")]
    Make(#[source] rcgen::Error),
    /// A PEM file does not hold what it should.
    #[error("`{}` holds no usable PEM; delete the folder's files to have new ones made", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why it is not usable.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// The certificate and key do not make a server.
    #[error("the server certificate and its key cannot be used together")]
    Config(#[source] rustls::Error),
}

/// The development certificates in their folder, checked.
#[derive(Debug)]
pub struct DevCertificates {
    config: Arc<ServerConfig>,
    ca_path: PathBuf,
}

impl DevCertificates {
    /// Loads the certificates in `folder`, or makes them where they are missing, unusable or about to expire at `now`.
    /// Two processes may do this at once: a lock file makes one wait for the other.
    pub fn make_or_load(folder: &Path, now: Timestamp) -> Result<Self, TlsError> {
        fs::create_dir_all(folder)
            .map_err(|source| TlsError::File { path: folder.to_owned(), source })?;
        // Held until the end of the function; the system frees it when a process dies.
        let _lock = lock(&folder.join(LOCK_FILE))?;
        let config = match load(folder, now) {
            Ok(config) => config,
            Err(error) => {
                tracing::info!(
                    error = &error as &dyn std::error::Error,
                    folder = %folder.display(),
                    "making development certificates"
                );
                make(folder, now)?;
                load(folder, now)?
            }
        };
        Ok(Self { config, ca_path: folder.join(CA_FILE) })
    }

    /// The TLS settings of a server with these certificates.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// The file with the authority's certificate, which clients trust.
    pub fn ca_path(&self) -> &Path {
        &self.ca_path
    }
}

/// The TLS settings of the HTTP edge: TLS 1.2 and 1.3 by ring, HTTP/2 and HTTP/1.1, no session resumption (a resumed
/// session would outlive the SVID that began it), and a client certificate where the client has one.
pub fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        Arc::new(AnyHeldCertificate { algorithms: provider.signature_verification_algorithms });
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(TlsError::Config)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(TlsError::Config)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Accepts any well-formed client certificate whose key the client proves to hold in the handshake. Who issued it is not
/// looked at: SPIFFE certificates are judged against a trust domain's bundle, by code that has one, and never against a
/// list of public authorities.
#[derive(Debug)]
struct AnyHeldCertificate {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyHeldCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        ParsedCertificate::try_from(end_entity)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// An X.509-SVID that was refused, in the words of TLS: the peer gets one of its alerts; which rule was broken is in the log.
pub(crate) fn refused_svid(error: X509SvidError) -> rustls::Error {
    let certificate = match error {
        X509SvidError::Expired { .. } => CertificateError::Expired,
        X509SvidError::NotYetValid { .. } => CertificateError::NotValidYet,
        X509SvidError::OtherTrustDomain(_)
        | X509SvidError::UnknownAuthority(_)
        | X509SvidError::NotIssued(_) => CertificateError::UnknownIssuer,
        other => CertificateError::Other(OtherError(Arc::new(other))),
    };
    rustls::Error::InvalidCertificate(certificate)
}

fn lock(path: &Path) -> Result<File, TlsError> {
    let file_error = |source| TlsError::File { path: path.to_owned(), source };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(file_error)?;
    file.lock().map_err(file_error)?;
    Ok(file)
}

fn load(folder: &Path, now: Timestamp) -> Result<Arc<ServerConfig>, TlsError> {
    let pem = |name: &str| {
        let path = folder.join(name);
        move |source| match source {
            rustls_pki_types::pem::Error::Io(source) => TlsError::File { path, source },
            source => TlsError::Pem { path, source },
        }
    };
    let ca = CertificateDer::from_pem_file(folder.join(CA_FILE)).map_err(pem(CA_FILE))?;
    let leaf = CertificateDer::from_pem_file(folder.join(CERTIFICATE_FILE))
        .map_err(pem(CERTIFICATE_FILE))?;
    let key = PrivateKeyDer::from_pem_file(folder.join(KEY_FILE)).map_err(pem(KEY_FILE))?;
    verify_dev_chain(ca, &leaf, now).map_err(TlsError::Config)?;
    // Refuses a key that is not the certificate's.
    server_config(vec![leaf], key)
}

/// The leaf is the authority's, serves every local name, and lasts a while.
fn verify_dev_chain(
    ca: CertificateDer<'_>,
    leaf: &CertificateDer<'_>,
    now: Timestamp,
) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(ca)?;
    let provider: Arc<CryptoProvider> = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let names = [
        ServerName::try_from("localhost")
            .map_err(|error| rustls::Error::General(error.to_string()))?,
        ServerName::from(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ServerName::from(IpAddr::V6(Ipv6Addr::LOCALHOST)),
    ];
    for at in [now, now + DEV_RENEWAL] {
        let at = UnixTime::since_unix_epoch(Duration::from_secs(
            u64::try_from(at.as_second()).unwrap_or_default(),
        ));
        for name in &names {
            verifier.verify_server_cert(leaf, &[], name, &[], at)?;
        }
    }
    Ok(())
}

/// Makes a new set under temporary names, then renames each into its place. Whoever is killed between two renames leaves
/// a set that does not fit together, which the next [`load`] finds out.
fn make(folder: &Path, now: Timestamp) -> Result<(), TlsError> {
    let ca_key = KeyPair::generate().map_err(TlsError::Make)?;
    let ca = CertifiedIssuer::self_signed(ca_params(now), ca_key).map_err(TlsError::Make)?;
    let key = KeyPair::generate().map_err(TlsError::Make)?;
    let leaf =
        leaf_params(now).map_err(TlsError::Make)?.signed_by(&key, &ca).map_err(TlsError::Make)?;
    let key_pem = Zeroizing::new(key.serialize_pem());
    replace(folder, KEY_FILE, key_pem.as_bytes(), 0o600)?;
    replace(folder, CERTIFICATE_FILE, leaf.pem().as_bytes(), 0o644)?;
    replace(folder, CA_FILE, ca.pem().as_bytes(), 0o644)
}

fn replace(folder: &Path, name: &str, contents: &[u8], mode: u32) -> Result<(), TlsError> {
    let path = folder.join(name);
    let draft = folder.join(format!(".{name}.new"));
    let file_error = |source| TlsError::File { path: path.clone(), source };
    match fs::remove_file(&draft) {
        // Left by a process that was killed while it held the lock.
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(file_error(error)),
    }
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(mode)
        .open(&draft)
        .map_err(file_error)?;
    file.write_all(contents).map_err(file_error)?;
    file.sync_all().map_err(file_error)?;
    fs::rename(&draft, &path).map_err(file_error)
}

fn ca_params(now: Timestamp) -> CertificateParams {
    let mut params = dated_params(now);
    params
        .distinguished_name
        .push(DnType::CommonName, "Marque development CA (its key is discarded)");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn leaf_params(now: Timestamp) -> Result<CertificateParams, rcgen::Error> {
    let mut params = dated_params(now);
    params.distinguished_name.push(DnType::CommonName, "Marque development server");
    params.subject_alt_names = vec![
        rcgen::SanType::DnsName("localhost".try_into()?),
        rcgen::SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        rcgen::SanType::IpAddress(IpAddr::V6(Ipv6Addr::LOCALHOST)),
    ];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn dated_params(now: Timestamp) -> CertificateParams {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let now = Duration::from_secs(u64::try_from(now.as_second()).unwrap_or_default());
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = epoch + now.saturating_sub(DEV_BACKDATE);
    params.not_after = epoch + now + DEV_LIFETIME;
    params
}

#[cfg(test)]
mod tests;
