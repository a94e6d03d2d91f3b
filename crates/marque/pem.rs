//! PEM (RFC 7468): what is written for files and for Envoy.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

/// How many base64 characters stand on a line (RFC 7468 2).
const LINE: usize = 64;

/// Certificates, one after the other.
pub(crate) fn pem_certificates(certificates: &[CertificateDer<'static>]) -> String {
    certificates.iter().map(|certificate| pem("CERTIFICATE", certificate).to_string()).collect()
}

/// One structure under its label. Wipes itself: it may be a key.
pub(crate) fn pem(label: &str, der: &[u8]) -> Zeroizing<String> {
    let body = Zeroizing::new(BASE64_STANDARD.encode(der));
    let mut text = Zeroizing::new(String::with_capacity(body.len() * 2 + 64));
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    for (index, character) in body.chars().enumerate() {
        if index > 0 && index % LINE == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push_str("\n-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::PrivatePkcs8KeyDer;
    use rustls_pki_types::pem::PemObject as _;

    use super::*;

    #[test]
    fn what_is_written_reads_back_and_keeps_its_lines_short() {
        let chain = [CertificateDer::from(vec![1; 100]), CertificateDer::from(vec![2; 48])];
        let text = pem_certificates(&chain);
        let read: Vec<_> =
            CertificateDer::pem_slice_iter(text.as_bytes()).map(Result::unwrap).collect();
        assert_eq!(read, chain);
        assert!(text.lines().all(|line| line.len() <= LINE), "{text}");
        let key = pem("PRIVATE KEY", &[7; 90]);
        let read = PrivatePkcs8KeyDer::from_pem_slice(key.as_bytes()).unwrap();
        assert_eq!(read.secret_pkcs8_der(), [7; 90]);
    }
}
