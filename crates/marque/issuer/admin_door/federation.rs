//! What others verify by and what is verified of others, as operators reach it.

use std::sync::Arc;

use marque_exchange::Endpoint;

use super::super::Issuer;
use crate::discovery::{self, Published};
use crate::federation::Federations;
use crate::grpc::admin::FederationDoor;

impl FederationDoor for Issuer {
    fn federations(&self) -> Arc<Federations> {
        Arc::clone(&self.federations)
    }

    fn published(&self) -> Vec<Published> {
        let bundle = self.authority.own_bundle();
        let tokens = Published {
            of: "tokens".to_owned(),
            issuer: self.issuer_url.to_string(),
            sequence: bundle.sequence(),
            configuration: self.tokens.openid_configuration(),
            keys_path: Endpoint::Jwks.path().to_owned(),
            keys: self.tokens.jwks(),
        };
        let svids = self.svid_issuer.as_ref().map(|issuer| Published {
            of: "svids".to_owned(),
            issuer: issuer.to_string(),
            sequence: bundle.sequence(),
            configuration: discovery::configuration(issuer, &bundle),
            keys_path: discovery::KEYS_PATH.to_owned(),
            keys: discovery::keys(&bundle),
        });
        svids.into_iter().chain([tokens]).collect()
    }
}
