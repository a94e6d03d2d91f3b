//! Whether this agent may ask at all right now: quarantine, cooldowns, refusals that were given just before, other ways to
//! a target that was refused, and caps. The store looks again in the transaction that keeps the intent.

use jiff::Timestamp;
use marque_intent::pace::{Asked, PaceSettings, Turn};
use marque_intent::{
    Circumstances, Denial, DenialCode, DenialId, Evidence, History, IntentId, IntentRequest,
    IntentStore as _, IntentStoreError, Playbook, RefusedRequest, Requester, resolve,
};
use marque_registry::{DenialSettings, DuplicateRule};
use marque_spiffe::SpiffeId;

use super::{DeskError, IntentDesk};

impl IntentDesk {
    /// Refuses a request that comes too soon or too often, without asking policy or a person. Gives what came before it.
    pub(super) async fn pace(&self, asked: &Asked, now: Timestamp) -> Result<History, Denial> {
        let unavailable = |error: IntentStoreError| {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "what came before a request cannot be read");
            Denial::new(DenialCode::AuditUnavailable, "what came before cannot be read")
        };
        let preview = self.store.pace(asked.clone(), now).await.map_err(unavailable)?;
        let settings = &self.pace;
        Turn { asked, rows: &preview.rows, settings, now }.check()?;
        Ok(History::of(asked, &preview.rows, &preview.counts, now))
    }

    /// What is counted of a request. One that does not resolve is refused later on, with the reason.
    pub(super) fn asked(
        &self,
        agent: &SpiffeId,
        playbook: &Playbook,
        request: &IntentRequest,
        now: Timestamp,
    ) -> Asked {
        let unresolved = || Asked::by(agent, Some(request));
        let Ok(intent_id) = IntentId::generate(&*self.random, now) else { return unresolved() };
        let circumstances = Circumstances {
            intent_id,
            policy_set_digest: *self.policy.set_digest(),
            evidence: Evidence::default(),
            now,
        };
        let owner = self.owner_of(agent);
        let requester = Requester { agent: agent.clone(), attestation: None, owner };
        resolve(playbook, request, &requester, circumstances)
            .and_then(|grant| Asked::of(grant.terms(), request.justification()))
            .unwrap_or_else(|_refused_later| unresolved())
    }

    /// Records the refusal of a request, and gives the desk's answer: [`DeskError::Denied`], or
    /// [`DeskError::Unavailable`] when it cannot be recorded.
    pub(super) async fn refuse_asked(
        &self,
        asked: Asked,
        request: Option<&IntentRequest>,
        denial: Denial,
    ) -> DeskError {
        let now = self.clock.now();
        let id = match DenialId::generate(&*self.random, now) {
            Ok(id) => id,
            Err(error) => {
                return DeskError::Unavailable(IntentStoreError::Unavailable(Box::new(error)));
            }
        };
        let refused = RefusedRequest { id, asked, request: request.cloned(), denial, now };
        let playbook = request.and_then(|request| self.playbooks.find(request.playbook()));
        match self.store.record_denial(refused).await {
            Ok(denial) => {
                counted(&denial, playbook.map(|playbook| &**playbook));
                DeskError::Denied { denial, intent: None }
            }
            Err(error) => DeskError::Unavailable(error),
        }
    }
}

/// Counts a refusal (M 125). A playbook that there is none of has no label: agents name what they like.
pub(super) fn counted(denial: &Denial, playbook: Option<&Playbook>) {
    metrics::counter!(
        "marque_denials_total",
        "code" => denial.code().as_str(),
        "class" => denial.class().as_str(),
        "playbook" => playbook.map_or_else(|| "-".to_owned(), |playbook| playbook.id().to_string()),
    )
    .increment(1);
}

/// The numbers of the trust domain's document.
pub(in crate::issuer) fn settings(document: &DenialSettings) -> PaceSettings {
    let budget = |(class, budget): (&String, &u32)| {
        marque_intent::DenialClass::ALL
            .into_iter()
            .find(|one| one.as_str() == class)
            .map(|class| (class, *budget))
    };
    PaceSettings {
        recent: document.recent(),
        window: document.window(),
        budgets: document.budgets().iter().filter_map(budget).collect(),
        cooldowns: document.cooldowns(),
        path_window: document.path_window(),
        other_paths: document.other_paths(),
        per_minute: document.requests_per_minute(),
        per_task: document.requests_per_task(),
        open_per_playbook: document.open_per_playbook(),
        duplicates: document.duplicate_grants() == DuplicateRule::Allow,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_without_the_section_has_the_numbers_of_the_specification() {
        assert_eq!(settings(&DenialSettings::default()), PaceSettings::default());
    }

    #[test]
    fn every_class_that_a_document_may_name_is_one() {
        let classes: Vec<&str> =
            marque_intent::DenialClass::ALL.iter().map(|class| class.as_str()).collect();
        assert_eq!(marque_registry::DENIAL_CLASSES.as_slice(), classes);
    }
}
