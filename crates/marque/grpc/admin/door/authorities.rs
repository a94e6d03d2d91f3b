//! The keys of the signing authorities, as operators reach them.

use futures::future::BoxFuture;
use marque_authority::{AuthorityView, CertificateRequest};

use super::super::authorities::AuthorityChange;
use super::{AdminError, Operator};

/// The keys of the signing authorities.
pub trait AuthorityDoor {
    /// The keys of the signing authorities.
    fn authorities(&self) -> Vec<AuthorityView>;

    /// Takes a step in the life of a key. Gives the name of the key.
    fn change_authority(
        &self,
        change: AuthorityChange,
        operator: Operator,
    ) -> BoxFuture<'_, Result<String, AdminError>>;

    /// Makes the next key of the X.509 authority, unless it is there, and asks for its certificate.
    fn request_certificate(&self) -> BoxFuture<'_, Result<CertificateRequest, AdminError>>;
}
