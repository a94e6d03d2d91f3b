//! The certificates that somebody else signs: a key is made and asked for, and put on record with what comes back.
//!
//! In between nobody waits: a key without a record is taken up again, by the next request and by the import.

use marque_keys::{KeyPurpose, SlotId};

use super::{Round, load_key};
use crate::{
    AuthorityError, AuthorityState, CertificateRequest, OrderRefusal, OrderedBy, SignedAuthority,
    UpstreamCertificates, intermediate,
    order::next_to_prepare,
    probe,
    record::{in_state, of},
    schedule::{Due, Schedule},
};

const PURPOSE: KeyPurpose = KeyPurpose::X509Authority;

impl Round<'_> {
    /// Whether the keys of a purpose have their certificates from somebody else.
    pub(super) fn is_signed_by_others(&self, purpose: KeyPurpose) -> bool {
        purpose == PURPOSE && self.means.config.upstream.is_some()
    }

    /// Asks for the certificate of the first X.509 authority, where there is somebody to ask.
    pub(super) async fn begin_below_upstream(&mut self) -> Result<(), AuthorityError> {
        if self.ask().await?.is_none() {
            let trust_domain = self.means.config.trust_domain.clone();
            return Err(AuthorityError::NotSignedYet { trust_domain });
        }
        Ok(())
    }

    /// Asks for the next certificate if the active one has ended and there is somebody to ask: at a start there is nothing else to
    /// sign with. One that is merely due is asked for later, with the daemon serving.
    pub(crate) async fn ask_if_due(&mut self) -> Result<(), AuthorityError> {
        let schedule = Schedule(self.means.config);
        let active = in_state(&self.records, PURPOSE, AuthorityState::Active);
        if active.is_some_and(|active| schedule.ends_at(active) > self.now) {
            return Ok(());
        }
        if schedule.due(&self.records, PURPOSE, self.now) == Some(Due::Prepare)
            && self.is_signed_by_others(PURPOSE)
        {
            self.ask().await?;
        }
        Ok(())
    }

    /// `None` where people carry the request.
    async fn ask(&mut self) -> Result<Option<SlotId>, AuthorityError> {
        let rule = self.means.config.upstream.as_ref();
        let Some(upstream) = rule.and_then(|rule| rule.authority.as_ref()) else { return Ok(None) };
        let request = self.request()?.map_err(AuthorityError::Refused)?;
        let signed = upstream.sign(&request).await;
        let signed = signed
            .map_err(|source| AuthorityError::Upstream { slot: request.slot.clone(), source })?;
        match self.import(&signed, OrderedBy::default()).await? {
            Ok(slot) => Ok(Some(slot)),
            // Another process was faster: the records are its.
            Err(_overtaken) if of(&self.records, PURPOSE).any(|kept| kept.slot == request.slot) => {
                Ok(Some(request.slot))
            }
            Err(refusal) => Err(AuthorityError::Refused(refusal)),
        }
    }

    /// Makes the key that comes next, unless it is there, and asks for its certificate.
    pub(crate) fn request(
        &self,
    ) -> Result<Result<CertificateRequest, OrderRefusal>, AuthorityError> {
        let slot = match self.next_signed() {
            Ok(slot) => slot,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let key = match load_key(self.means.keys, &slot)? {
            Some(key) => key,
            None => self.take_up_or_make(&slot)?.0,
        };
        intermediate::request(self.means.config, &key).map(Ok)
    }

    /// Puts the key of a request on record with what came back for it.
    pub(crate) async fn import(
        &mut self,
        signed: &SignedAuthority,
        ordered: OrderedBy,
    ) -> Result<Result<SlotId, OrderRefusal>, AuthorityError> {
        let slot = match self.next_signed() {
            Ok(slot) => slot,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let Some(key) = load_key(self.means.keys, &slot)? else {
            return Ok(Err(OrderRefusal::NothingRequested { slot }));
        };
        let super::Means { config, random, .. } = self.means;
        let certificates = probe::try_signed(signed, config, &key, random, self.now)?;
        let own = &certificates.own;
        let is_first = of(&self.records, PURPOSE).next().is_none();
        let state = if is_first { AuthorityState::Active } else { AuthorityState::Prepared };
        let mut record = self.record(slot.clone(), state, &key, Some(own.validity.not_after));
        record.certificate_der = Some(own.certificate.to_vec());
        let above = certificates.carried.iter().skip(1).map(|der| der.to_vec());
        let roots = certificates.anchors.iter().map(|der| der.to_vec());
        record.upstream =
            Some(UpstreamCertificates { above: above.collect(), roots: roots.collect() });
        let kept = self.keep(record, false, ordered).await?;
        Ok(kept.map(|()| slot))
    }

    /// The key whose certificate is signed next.
    fn next_signed(&self) -> Result<SlotId, OrderRefusal> {
        if self.means.config.upstream.is_none() {
            return Err(OrderRefusal::NoUpstream);
        }
        match of(&self.records, PURPOSE).next() {
            None => Ok(SlotId::first(PURPOSE)),
            Some(_) => next_to_prepare(&self.records, PURPOSE),
        }
    }
}
