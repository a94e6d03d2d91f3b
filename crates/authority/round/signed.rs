//! The certificates that somebody else signs: a key is made and asked for, and put on record with what comes back.
//!
//! In between nobody waits: a key without a record is taken up again, by the next request and by the import.

use std::time::Duration;

use marque_keys::{KeyPurpose, SlotId};
use marque_spiffe::CertificateDigest;
use rustls_pki_types::CertificateDer;

use super::{Round, load_key};
use crate::{
    AuthorityError, AuthorityRecord, AuthorityState, AuthorityStep, CertificateRequest,
    OrderRefusal, OrderedBy, SignedAuthority, SignedAuthorityError, UpstreamCertificates,
    followed::{active, followed, stands_on},
    intermediate,
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
        match self.import(&signed, upstream.source(), OrderedBy::default()).await? {
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

    /// Puts the key of a request on record with what came back for it. `source` is the upstream whose bundle has the roots,
    /// where it tells one.
    pub(crate) async fn import(
        &mut self,
        signed: &SignedAuthority,
        source: Option<&str>,
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
        record.upstream = Some(UpstreamCertificates {
            above: above.collect(),
            roots: roots.collect(),
            source: source.map(ToOwned::to_owned),
        });
        self.is_not_given_up(&record)?;
        let kept = self.keep(record, false, ordered).await?;
        Ok(kept.map(|()| slot))
    }

    /// A certificate may be older than what is known of the upstream's roots.
    fn is_not_given_up(&self, record: &AuthorityRecord) -> Result<(), AuthorityError> {
        let Some(followed) = followed(&self.records).filter(|one| one.speaks_for(record)) else {
            return Ok(());
        };
        let refused = |root: &[u8]| {
            let root = CertificateDigest::of(&CertificateDer::from(root));
            let source = SignedAuthorityError::GivenUp(root);
            Err(AuthorityError::SignedAuthority { slot: record.slot.clone(), source })
        };
        if let Some(root) = followed.root_of(record) {
            return if root.tainted { refused(&root.certificate_der) } else { Ok(()) };
        }
        let roots = record.upstream.iter().flat_map(|upstream| &upstream.roots);
        let stood_on = |root: &&Vec<u8>| {
            let same = of(&self.records, PURPOSE).filter(|other| followed.speaks_for(other));
            stands_on(record, root) && same.into_iter().any(|other| stands_on(other, root))
        };
        roots.into_iter().find(stood_on).map_or(Ok(()), |root| refused(root))
    }

    /// As [`Round::leave_lost_root`], at a start: what goes wrong is told, and tried again with the daemon serving.
    pub(crate) async fn leaves_lost_root(&mut self) -> bool {
        self.leave_lost_root().await.unwrap_or_else(|error| {
            let error = &error as &dyn std::error::Error;
            let trust_domain = &self.means.config.trust_domain;
            tracing::error!(error, %trust_domain, "the root that the X.509 authority stands on has left, and it has no other one");
            false
        })
    }

    /// Has the authority that signs stand on another root where the upstream took its root out of the bundle: nothing that it
    /// signed would be believed.
    pub(crate) async fn leave_lost_root(&mut self) -> Result<bool, AuthorityError> {
        let lost = followed(&self.records).zip(active(&self.records));
        if !lost.is_some_and(|(followed, active)| followed.has_no_root_of(active)) {
            return Ok(false);
        }
        let prepared = in_state(&self.records, PURPOSE, AuthorityState::Prepared).cloned();
        let good = |prepared: &AuthorityRecord| {
            followed(&self.records).is_some_and(|followed| !followed.gives_up(prepared))
        };
        let slot = match prepared {
            Some(prepared) if good(&prepared) => Some(prepared.slot),
            Some(AuthorityRecord { slot, .. }) => {
                let retired = self.order(AuthorityStep::Retire { slot }, moving()).await?;
                retired.map_err(AuthorityError::Refused)?;
                self.next_elsewhere().await?
            }
            None => self.next_elsewhere().await?,
        };
        let Some(slot) = slot else { return Ok(false) };
        let step = AuthorityStep::Activate { slot, published_for: Duration::ZERO };
        self.order(step, moving()).await?.map_err(AuthorityError::Refused)?;
        Ok(true)
    }

    /// The next key: below the upstream of now, or a root of its own where there is none any more.
    async fn next_elsewhere(&mut self) -> Result<Option<SlotId>, AuthorityError> {
        if self.is_signed_by_others(PURPOSE) {
            return self.ask().await;
        }
        let prepared = self.prepare(PURPOSE, moving()).await?;
        prepared.map(Some).map_err(AuthorityError::Refused)
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

/// Why the clock takes steps before their time.
pub(crate) fn moving() -> OrderedBy {
    let reason = "the upstream gives up the root that the authority stands on";
    OrderedBy { by: None, reason: Some(reason.to_owned()) }
}
