//! Clients through the door of the token service, by the method that they use.

mod challenge;
mod held;
mod known;
mod methods;
mod vectors;
mod wit_svid;
mod x509_svid;

use rustls_pki_types::CertificateDer;

use crate::{OneHeader, PeerCertificate, Presented};

fn once(value: &str) -> OneHeader {
    OneHeader::of([Some(value)].into_iter())
}

/// What came over a connection whose client showed this chain.
fn over(chain: &[CertificateDer<'static>]) -> Presented {
    Presented { peer: PeerCertificate::from_chain(chain), ..Presented::default() }
}
