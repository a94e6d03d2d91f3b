//! What is in use when the folder changes, ready to go by other settings: keys, listeners, entries.

use anyhow::Context as _;
use marque_authority::Reconfiguration;
use marque_registry::Finding;

use super::super::doors::Opening;
use super::super::registrar::FolderChange;
use super::{DOCUMENT, Failed, ReloadCode};
use crate::issuer::Issuer;
use crate::issuer::served::Served;

/// What a generation takes when it is put in force. All of it was tried; dropped, it changes nothing.
pub(super) struct Ready<'a> {
    pub(super) change: FolderChange<'a>,
    pub(super) authorities: Reconfiguration<'a>,
    pub(super) opening: Opening,
}

impl Served {
    /// Has everything ready that is in use and goes by other settings from then on: listeners are bound, keys are there.
    pub(super) async fn ready<'a>(
        &'a self,
        before: &Issuer,
        next: &Issuer,
        change: FolderChange<'a>,
    ) -> Result<Ready<'a>, Failed> {
        let lasting = self.lasting();
        let opening = self.doors.bind(lasting, &before.document, &next.document).await;
        let opening = opening.map_err(|error| unfit(before, &error))?;
        let authorities = lasting.ready_authorities(next).await;
        let authorities = authorities.context("prepare the signing authorities")?;
        Ok(Ready { change, authorities, opening })
    }
}

/// The folder is right by itself, and cannot be served here and now.
pub(super) fn unfit(before: &Issuer, error: &anyhow::Error) -> Failed {
    let message = format!("cannot be put in force: {error:#}");
    let found = Finding::about(&before.path.join(DOCUMENT), message);
    Failed::because(ReloadCode::FolderInvalid, vec![found])
}
