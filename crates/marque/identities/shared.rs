//! The one gate that SVIDs pass on their way out, whichever API they leave by.

use std::sync::Arc;

use jiff::Timestamp;
use marque_audit::{LogError, LogStore};
use marque_registry::{IdentitySettings, Registry};
use marque_spiffe::{Clock, SelectorSet, SpiffeId};
use marque_workload::{HolderFacts, IdentityUser, SharedUse, Sharing, Stay};

use super::presence::Presence;
use super::report::{self, SharedIdentity};
use super::{loggable, record};

/// The shared identities of one trust domain: noticed, recorded, refused where its document says so.
#[derive(Debug)]
pub struct SharedIdentities {
    sharing: Arc<Sharing>,
    registry: Arc<Registry>,
    log: Arc<dyn LogStore>,
    /// Who lives, where a grant hangs on it.
    presence: Option<Arc<Presence>>,
}

/// Somebody else holds every identity that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused;

impl SharedIdentities {
    /// Nobody has used anything yet.
    pub fn new(registry: Arc<Registry>, log: Arc<dyn LogStore>, clock: Arc<dyn Clock>) -> Self {
        let document = registry.document();
        let settings = document.identities();
        let sharing = Sharing::new(settings.sharing(), settings.sharing_window(), clock);
        Self { sharing: Arc::new(sharing), registry, log, presence: None }
    }

    /// Tells `presence` of every process that is handed an identity.
    #[must_use]
    pub(crate) fn watched_by(self, presence: Arc<Presence>) -> Self {
        Self { presence: Some(presence), ..self }
    }

    /// Goes on by these settings, with all that is known of who uses what.
    pub(crate) fn go_by(&self, settings: &IdentitySettings) {
        self.sharing.set_terms(settings.sharing(), settings.sharing_window());
    }

    /// Leaves of the SVIDs that are about to leave those that the user may have, and puts on record what has to be.
    ///
    /// # Errors
    /// When there is none that it may have.
    pub(crate) async fn admit<T>(
        &self,
        svids: &mut Vec<T>,
        spiffe_id: impl Fn(&T) -> &SpiffeId,
        user: &IdentityUser,
        selectors: &SelectorSet,
    ) -> Result<(), Refused> {
        let ids: Vec<SpiffeId> = svids.iter().map(|svid| spiffe_id(svid).clone()).collect();
        let refused = self.observe(&ids, user, selectors).await;
        svids.retain(|svid| !refused.contains(spiffe_id(svid)));
        if svids.is_empty() { Err(Refused) } else { Ok(()) }
    }

    /// Says that `user` is about to be handed these identities; gives those that it must not be.
    pub(crate) async fn observe(
        &self,
        ids: &[SpiffeId],
        user: &IdentityUser,
        selectors: &SelectorSet,
    ) -> Vec<SpiffeId> {
        let observed = self.sharing.observe(ids, user);
        for shared in &observed.records {
            self.put_on_record(shared, user, selectors).await;
        }
        if let (Some(presence), Some(process)) = (&self.presence, user.process) {
            let given: Vec<SpiffeId> =
                ids.iter().filter(|id| !observed.refused.contains(id)).cloned().collect();
            presence.handed(&given, process);
        }
        observed.refused
    }

    /// Says that `user`, who was just handed these identities, uses them until the answer is dropped.
    pub(crate) fn stay(&self, ids: &[SpiffeId], user: &IdentityUser) -> Stay {
        self.sharing.stay(ids, user)
    }

    /// Who keeps `user` from the identity, and until when at least.
    pub(crate) fn held_against(
        &self,
        spiffe_id: &SpiffeId,
        user: &IdentityUser,
    ) -> Option<(HolderFacts, Option<Timestamp>)> {
        self.sharing.held_against(spiffe_id, user)
    }

    /// Every identity that was shared since then: what the log says of it, and who holds it now.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) async fn report(&self, since: Timestamp) -> Result<Vec<SharedIdentity>, LogError> {
        report::of(&*self.log, since, self.sharing.shared()).await
    }

    async fn put_on_record(
        &self,
        shared: &SharedUse,
        user: &IdentityUser,
        selectors: &SelectorSet,
    ) {
        let SharedUse { spiffe_id, earlier, newcomer, refused, at: _ } = shared;
        tracing::warn!(
            %spiffe_id,
            earlier = %earlier.fingerprint,
            earlier_pids = ?earlier.pids,
            newcomer = %newcomer.fingerprint,
            newcomer_pids = ?newcomer.pids,
            refused,
            "one identity is used by two programs; see `marque report shared-identities`"
        );
        let rule = (self.sharing.rule(), self.sharing.window());
        let loggable = loggable(&self.registry.document(), selectors);
        let recorded = match record::event(shared, rule, (&user.fingerprint, &loggable)) {
            Ok(event) => self.log.append(event).await.map(|_seq| ()),
            Err(error) => Err(LogError::Refused(Box::new(error))),
        };
        if let Err(error) = recorded {
            // Nothing is decided by the record: who is refused stays refused. It is tried again with the next use.
            self.sharing.not_recorded(shared);
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, %spiffe_id, "a shared identity could not be recorded");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use marque_attest::{Fingerprint, ProcessInstance};
    use marque_registry::{Entry, TrustDomainDocument};
    use marque_testkit::{FixedClock, MemoryLog};
    use serde_json::{Value, json};

    use super::*;

    const DOCUMENT: &str = include_str!("../../registry/folder/tests/trust-domain.toml");

    fn document(sections: &str) -> Arc<TrustDomainDocument> {
        let text = format!("{DOCUMENT}\n{sections}");
        Arc::new(TrustDomainDocument::parse(Path::new("t"), &text).unwrap())
    }

    /// Has two programs use the identity, the second as user 2.
    async fn share(sharing: &SharedIdentities, spiffe_id: &str) {
        for number in [1_u8, 2] {
            let selectors: SelectorSet =
                [format!("unix:uid:{number}").parse().unwrap()].into_iter().collect();
            let user = IdentityUser {
                fingerprint: Fingerprint::of(&selectors),
                process: Some(ProcessInstance::named(i32::from(number), 1)),
                uid: Some(u32::from(number)),
            };
            let ids: [SpiffeId; 1] = [spiffe_id.parse().unwrap()];
            assert!(sharing.observe(&ids, &user, &selectors).await.is_empty());
        }
    }

    #[tokio::test]
    async fn what_may_be_in_the_log_is_what_the_document_of_now_says() {
        let allows = document("[attestation]\nlog_selectors = [\"unix:uid\"]");
        let registry = Arc::new(Registry::new(allows, Vec::new()).unwrap());
        let log = Arc::new(MemoryLog::of("example.org"));
        let clock = Arc::new(FixedClock::default());
        let sharing = SharedIdentities::new(Arc::clone(&registry), Arc::clone(&log) as _, clock);
        share(&sharing, "spiffe://example.org/agent/a").await;
        registry.replace_folder::<Entry>(document(""), (Vec::new(), Vec::new())).unwrap();
        share(&sharing, "spiffe://example.org/agent/b").await;
        let events = log.events();
        let selectors = |at: usize| &events[at].detail["newcomer"]["selectors"];
        assert_eq!(events.len(), 2);
        assert_eq!((selectors(0), selectors(1)), (&json!(["unix:uid:2"]), &Value::Null));
    }
}
