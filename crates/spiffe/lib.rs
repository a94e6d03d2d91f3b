//! SPIFFE words: trust domains, IDs, selectors, bundle documents and SVIDs.
//!
//! The shared vocabulary of every room. Names are parsed once and never folded or normalised. An SVID that was only
//! parsed and one that was verified are two types, and an SVID is verified by the bundle of its own trust domain alone.
//! Deliberately absent: keys at rest, minting, sockets, files, and a clock of its own (the [`Clock`] is handed in).

mod bundle;
mod certificate_digest;
mod client_spiffe_id;
mod clock;
mod dns_name;
mod endpoint_url;
mod environment;
mod hint;
mod jwt;
mod pattern;
mod random;
mod repository;
mod revocation;
mod selector;
mod spiffe_id;
mod trust_domain;
mod wit;
mod x509;

pub use bundle::{
    Bundle, BundleBuilder, BundleError, BundleMap, BundleMapError, BundleSource, SequenceError,
};
pub use certificate_digest::{CertificateDigest, CertificateDigestError};
pub use client_spiffe_id::{ClientSpiffeId, ClientSpiffeIdError};
pub use clock::{Clock, MonotonicTime};
pub use dns_name::{DnsName, DnsNameError};
pub use endpoint_url::{BundleEndpointUrl, BundleEndpointUrlError};
pub use environment::{Environment, UnknownEnvironment};
pub use hint::{Hint, HintError};
pub use jwt::{JwtSvid, JwtSvidError, UnverifiedJwtSvid};
pub use pattern::{SpiffeIdPattern, SpiffeIdPatternError};
pub use random::{Random, RandomError, dated_id};
pub use repository::{Repository, RepositoryError};
pub use revocation::{RevocationList, RevocationListError};
pub use selector::{Selector, SelectorError, SelectorSet};
pub use spiffe_id::{SpiffeId, SpiffeIdError};
pub use trust_domain::{TrustDomain, TrustDomainError};
pub use wit::{UnverifiedWitSvid, WitSvid, WitSvidError};
pub use x509::{UnverifiedX509Svid, X509Svid, X509SvidError, read_certificate};

/// Serde, `TryFrom` and `Display` of a type that is one checked string with `as_str` and `FromStr`.
macro_rules! checked_string {
    ($type:ident, $error:ident) => {
        impl TryFrom<&str> for $type {
            type Error = $error;

            fn try_from(text: &str) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl TryFrom<String> for $type {
            type Error = $error;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.as_str().to_owned()
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({:?})", stringify!($type), self.as_str())
            }
        }
    };
}
use checked_string;
