//! X.509 authorities whose certificates somebody else signs, on a running daemon.

use std::sync::Arc;

use jiff::Timestamp;
use marque_keys::{KeyPurpose, SlotId};
use marque_spiffe::Clock;

use super::Authority;
use crate::{
    AuthorityError, CertificateRequest, OrderRefusal, OrderedBy, SignedAuthority,
    UpstreamAuthority,
    certificate::whole_second,
    round::Round,
    schedule::{Due, Schedule},
};

impl Authority {
    /// Whether the next certificate of the X.509 authority is due and somebody else signs it: [`Authority::keep_up`] asks
    /// nobody, so that what else is due does not wait for an answer.
    pub fn wants_certificate(&self, now: Timestamp) -> bool {
        let snapshot = self.snapshot.load();
        let (records, config) = (&snapshot.records, &snapshot.config);
        config.upstream.is_some()
            && Schedule(config).due(records, KeyPurpose::X509Authority, now) == Some(Due::Prepare)
    }

    /// Whom to ask for certificates; `None` where each key signs its own, or people carry the request.
    pub fn upstream(&self) -> Option<Arc<dyn UpstreamAuthority>> {
        self.config().upstream.as_ref()?.authority.clone()
    }

    /// Makes the next key of the X.509 authority, unless it is there, and asks for its certificate. Nothing is published.
    ///
    /// # Errors
    /// [`AuthorityError::Refused`]; otherwise as [`Authority::keep_up`].
    pub async fn request(&self, now: Timestamp) -> Result<CertificateRequest, AuthorityError> {
        let _turn = self.turn.lock().await;
        let config = self.config();
        let round = Round::begin(self.means(&config), whole_second(now)?).await?;
        round.request()?.map_err(AuthorityError::Refused)
    }

    /// Publishes the key of the last request with its certificate, for activation later. Gives its name.
    ///
    /// # Errors
    /// [`AuthorityError::SignedAuthority`] says what is wrong with the certificate; otherwise as [`Authority::request`].
    pub async fn import(
        &self,
        signed: &SignedAuthority,
        ordered: OrderedBy,
        now: Timestamp,
    ) -> Result<SlotId, AuthorityError> {
        self.import_from(None, signed, ordered, now).await
    }

    async fn import_from(
        &self,
        source: Option<&str>,
        signed: &SignedAuthority,
        ordered: OrderedBy,
        now: Timestamp,
    ) -> Result<SlotId, AuthorityError> {
        let _turn = self.turn.lock().await;
        let config = self.config();
        let mut round = Round::begin(self.means(&config), whole_second(now)?).await?;
        let ruled = round.import(signed, source, ordered).await?;
        self.take_up(&round)?;
        ruled.map_err(AuthorityError::Refused)
    }

    /// Has the next certificate signed by whoever is asked, and publishes its key. Nobody's turn is held meanwhile: a key in
    /// wrong hands can be tainted at once, however long the answer takes.
    ///
    /// # Errors
    /// [`AuthorityError::Upstream`], or [`OrderRefusal::SignedByHand`] where there is nobody to ask; otherwise as
    /// [`Authority::import`].
    pub async fn prepare_below_upstream(
        &self,
        ordered: OrderedBy,
        clock: &dyn Clock,
    ) -> Result<SlotId, AuthorityError> {
        let purpose = KeyPurpose::X509Authority;
        let upstream = self.upstream();
        let upstream =
            upstream.ok_or(AuthorityError::Refused(OrderRefusal::SignedByHand { purpose }))?;
        let request = self.request(clock.now()).await?;
        let signed = upstream
            .sign(&request)
            .await
            .map_err(|source| AuthorityError::Upstream { slot: request.slot.clone(), source })?;
        self.import_from(upstream.source(), &signed, ordered, clock.now()).await
    }
}
