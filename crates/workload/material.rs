use std::fmt;

use jiff::Timestamp;
use marque_jose::{CompactToken, PrivateJwk};
use marque_spiffe::{Bundle, SpiffeId, UnverifiedJwtSvid, UnverifiedWitSvid, UnverifiedX509Svid};
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

/// A private key in PKCS#8 DER, unencrypted. Zeroes itself and does not print.
#[derive(Clone)]
pub struct PrivateKey(Zeroizing<Vec<u8>>);

/// An X.509-SVID with its private key.
#[derive(Debug, Clone)]
pub struct X509SvidMaterial {
    /// Whose it is.
    pub spiffe_id: SpiffeId,
    /// Leaf first, root excluded.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's key.
    pub private_key: PrivateKey,
    /// When it begins to be valid.
    pub not_before: Timestamp,
    /// When it ends to be valid.
    pub not_after: Timestamp,
}

/// A JWT-SVID.
#[derive(Debug, Clone)]
pub struct JwtSvidMaterial {
    /// Whose it is.
    pub spiffe_id: SpiffeId,
    /// The token.
    pub token: CompactToken,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it ends to be valid.
    pub expires_at: Timestamp,
}

/// A WIT-SVID with the private key that it is bound to.
#[derive(Debug, Clone)]
pub struct WitSvidMaterial {
    /// Whose it is.
    pub spiffe_id: SpiffeId,
    /// The token.
    pub token: CompactToken,
    /// The holder's key.
    pub private_key: PrivateJwk,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it ends to be valid.
    pub expires_at: Timestamp,
}

/// What the cache must know of whatever it keeps.
pub(crate) trait Material {
    fn spiffe_id(&self) -> &SpiffeId;

    /// The first instant at which it is no longer valid.
    fn ends_at(&self) -> Timestamp;

    /// Whether an authority in this bundle still stands behind it.
    fn is_backed_by(&self, bundle: &Bundle, now: Timestamp) -> bool;
}

impl PrivateKey {
    /// Keeps a key that is PKCS#8 DER already; nothing about it is checked.
    pub fn from_pkcs8_der(der: Zeroizing<Vec<u8>>) -> Self {
        Self(der)
    }

    /// The key itself, for the wire.
    pub fn expose_der(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

impl Material for X509SvidMaterial {
    fn spiffe_id(&self) -> &SpiffeId {
        &self.spiffe_id
    }

    fn ends_at(&self) -> Timestamp {
        self.not_after
    }

    fn is_backed_by(&self, bundle: &Bundle, now: Timestamp) -> bool {
        UnverifiedX509Svid::parse_chain(self.chain.clone())
            .and_then(|svid| svid.verify(bundle, now))
            .is_ok()
    }
}

impl Material for JwtSvidMaterial {
    fn spiffe_id(&self) -> &SpiffeId {
        &self.spiffe_id
    }

    fn ends_at(&self) -> Timestamp {
        self.expires_at
    }

    fn is_backed_by(&self, bundle: &Bundle, _now: Timestamp) -> bool {
        // Key ids name their slot and are not used again, so the id is enough.
        UnverifiedJwtSvid::parse(self.token.expose_token())
            .is_ok_and(|svid| bundle.jwt_authorities().contains_key(svid.key_id()))
    }
}

impl Material for WitSvidMaterial {
    fn spiffe_id(&self) -> &SpiffeId {
        &self.spiffe_id
    }

    fn ends_at(&self) -> Timestamp {
        self.expires_at
    }

    fn is_backed_by(&self, bundle: &Bundle, _now: Timestamp) -> bool {
        // As for JWT-SVIDs: the id of a key is never another key's.
        UnverifiedWitSvid::parse(self.token.expose_token())
            .is_ok_and(|svid| bundle.wit_authorities().contains_key(svid.key_id()))
    }
}
