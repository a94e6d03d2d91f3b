//! No other trust domains.

use std::sync::Arc;

use super::super::super::door::FederationDoor;
use super::FakeDoor;
use crate::federation::Federations;

impl FederationDoor for FakeDoor {
    fn federations(&self) -> Arc<Federations> {
        unreachable!("nobody here asks about federation")
    }

    fn published(&self) -> Vec<crate::discovery::Published> {
        Vec::new()
    }
}
