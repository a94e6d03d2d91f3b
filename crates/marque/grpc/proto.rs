//! The generated messages, clients and servers, and the `Debug` of those which hold a secret.

#[expect(
    unreachable_pub,
    unnameable_types,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::disallowed_methods,
    reason = "generated code"
)]
mod generated {
    pub mod workload {
        tonic::include_proto!("_");
    }

    pub mod admin {
        tonic::include_proto!("marque.admin.v1");
    }

    pub mod broker {
        tonic::include_proto!("spiffe.broker");
    }

    /// SPIRE's server API; its packages refer to each other by their place.
    pub mod spire {
        pub mod api {
            pub mod types {
                tonic::include_proto!("spire.api.types");
            }

            pub mod server {
                pub mod svid {
                    pub mod v1 {
                        tonic::include_proto!("spire.api.server.svid.v1");
                    }
                }

                pub mod bundle {
                    pub mod v1 {
                        tonic::include_proto!("spire.api.server.bundle.v1");
                    }
                }
            }
        }
    }
}

use std::fmt;

pub(super) use generated::spire::api::server::{
    bundle::v1 as spire_bundle, svid::v1 as spire_svid,
};
pub(super) use generated::spire::api::types as spire_types;
pub(super) use generated::{admin, broker, workload};

impl fmt::Debug for workload::X509svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { spiffe_id, x509_svid: _, x509_svid_key: _, bundle: _, hint } = self;
        f.debug_struct("X509SVID")
            .field("spiffe_id", spiffe_id)
            .field("hint", hint)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for workload::Jwtsvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { spiffe_id, svid: _, hint } = self;
        f.debug_struct("JWTSVID")
            .field("spiffe_id", spiffe_id)
            .field("hint", hint)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for broker::X509svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { spiffe_id, x509_svid: _, x509_svid_key: _, bundle: _, hint } = self;
        f.debug_struct("X509SVID")
            .field("spiffe_id", spiffe_id)
            .field("hint", hint)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for broker::Jwtsvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { spiffe_id, svid: _, hint } = self;
        f.debug_struct("JWTSVID")
            .field("spiffe_id", spiffe_id)
            .field("hint", hint)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for workload::Witsvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { spiffe_id, wit_svid: _, wit_svid_key: _, hint } = self;
        f.debug_struct("WITSVID")
            .field("spiffe_id", spiffe_id)
            .field("hint", hint)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for workload::ValidateJwtsvidRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { audience, svid: _ } = self;
        f.debug_struct("ValidateJWTSVIDRequest").field("audience", audience).finish_non_exhaustive()
    }
}
