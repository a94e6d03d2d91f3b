//! Reading exactly one certificate.

use spki::AlgorithmIdentifierRef;
use spki::der::asn1::{AnyRef, BitStringRef};
use spki::der::{Decode as _, Reader as _, SliceReader};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Reads exactly one DER certificate (RFC 5280 section 4.1), without checking what it says.
///
/// What its signature does not cover has to be DER to the byte: the parser of the whole passes over some tags there. Whoever
/// compares digests (`x5t#S256` of RFC 8705) should know that an ECDSA signature has a second form all the same, `(r, n - s)`:
/// a digest is good to bind to, and no good for a list of what is refused.
#[must_use]
pub fn read_certificate(der: &[u8]) -> Option<X509Certificate<'_>> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) if is_enveloped(der) => Some(certificate),
        _ => None,
    }
}

/// Whether the sequence around the signed part, the algorithm and the signature are in DER.
fn is_enveloped(der: &[u8]) -> bool {
    let read = |der| {
        let mut reader = SliceReader::new(der)?;
        reader.sequence(|parts| {
            AnyRef::decode(parts)?;
            AlgorithmIdentifierRef::decode(parts)?;
            BitStringRef::decode(parts)
        })?;
        reader.finish(())
    };
    read(der).is_ok()
}
