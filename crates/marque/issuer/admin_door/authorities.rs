//! The keys of the signing authorities, as operators reach them.

use futures::future::BoxFuture;
use marque_authority::{AuthorityView, CertificateRequest};

use super::super::{Issuer, Lasting};
use crate::grpc::admin::{AdminError, AuthorityChange, AuthorityDoor, Operator};

impl AuthorityDoor for Issuer {
    fn authorities(&self) -> Vec<AuthorityView> {
        self.authority_list()
    }

    fn change_authority(
        &self,
        change: AuthorityChange,
        operator: Operator,
    ) -> BoxFuture<'_, Result<String, AdminError>> {
        Box::pin(async move { Lasting::change_authority(self, change, &operator).await })
    }

    fn request_certificate(&self) -> BoxFuture<'_, Result<CertificateRequest, AdminError>> {
        Box::pin(Lasting::request_certificate(self))
    }
}
