//! No keys.

use futures::future::BoxFuture;
use marque_authority::{AuthorityView, CertificateRequest};

use super::super::super::AuthorityChange;
use super::super::super::door::{AdminError, AuthorityDoor, Operator};
use super::FakeDoor;

impl AuthorityDoor for FakeDoor {
    fn authorities(&self) -> Vec<AuthorityView> {
        Vec::new()
    }

    fn change_authority(
        &self,
        _change: AuthorityChange,
        _operator: Operator,
    ) -> BoxFuture<'_, Result<String, AdminError>> {
        Box::pin(async { Err(AdminError::NotFound { what: "key", id: String::new() }) })
    }

    fn request_certificate(&self) -> BoxFuture<'_, Result<CertificateRequest, AdminError>> {
        Box::pin(async { Err(AdminError::NotFound { what: "key", id: String::new() }) })
    }
}
