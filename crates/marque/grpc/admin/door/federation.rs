//! What others verify by and what is verified of others, as operators reach it.

use std::sync::Arc;

use crate::discovery::Published;
use crate::federation::Federations;

/// Other trust domains, and what is published for them and for clouds.
pub trait FederationDoor {
    /// The relationships with other trust domains.
    fn federations(&self) -> Arc<Federations>;

    /// What clouds fetch to verify tokens, by issuer.
    fn published(&self) -> Vec<Published>;
}
