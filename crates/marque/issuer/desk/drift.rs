//! Policy drift (M 72): what is open is held against the playbooks and policies of now, when they are loaded.
//!
//! A grant that would not be given any more is revoked; a request of which the enforced part changed goes back to its first
//! approver, or is denied. Deliberately absent: changing what an approved grant permits.

use std::borrow::Cow;

use marque_intent::{
    ChangeError, Circumstances, Denial, DenialClass, DenialCode, EndReason, Grant, GrantError,
    GrantTerms, Intent, IntentChange, IntentRequest, IntentStore as _, IntentStoreError,
    Justification, OpenIntents as _, Reason, Requester, RiskAssessment, Ruling, State, resolve,
};
use marque_policy::{Act, Question, observed};
use serde_json::{Map, Value};

use super::IntentDesk;

/// How many intents are looked at before the next are read.
const AT_ONCE: usize = 500;

/// What became of the intents that were looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::issuer) struct Drift {
    /// Revoked, or denied where nobody had approved them yet.
    pub(in crate::issuer) ended: usize,
    /// Back at their first approver.
    pub(in crate::issuer) begun_anew: usize,
}

impl IntentDesk {
    /// Looks at every intent that has not ended and was given under another playbook or policy than those of now.
    ///
    /// # Errors
    /// When the store cannot be read or written; what was not looked at is looked at the next time.
    pub(in crate::issuer) async fn review_open(&self) -> Result<Drift, IntentStoreError> {
        let (mut drift, mut after) = (Drift::default(), None);
        loop {
            let page = self.store.unended(after, AT_ONCE).await?;
            for intent in &page.intents {
                let Some(change) = self.drifted(intent).await else { continue };
                match &change {
                    IntentChange::Repin { .. } => drift.begun_anew += 1,
                    _ => drift.ended += 1,
                }
                self.apply_drift(intent, change).await?;
            }
            // A page may be short because some of it ended meanwhile: only an empty one is the last.
            match page.last {
                None => return Ok(drift),
                last => after = last,
            }
        }
    }

    async fn apply_drift(
        &self,
        intent: &Intent,
        change: IntentChange,
    ) -> Result<(), IntentStoreError> {
        match self.store.change(intent.id().clone(), change, self.clock.now()).await {
            Ok(_) | Err(ChangeError::NotFound | ChangeError::Refused(_)) => Ok(()),
            Err(ChangeError::Store(error)) => Err(error),
        }
    }

    /// What the playbooks and policies of now do to an open intent.
    async fn drifted(&self, intent: &Intent) -> Option<IntentChange> {
        let grant = intent.grant();
        let playbook = self.playbooks.find(&grant.playbook.id);
        let unexcepted = grant.conditions.provisions.exception.is_none();
        let same_playbook = unexcepted
            && playbook.is_some_and(|playbook| *playbook.digest() == grant.playbook.digest);
        if same_playbook && grant.policy_set_digest == *self.policy.set_digest() {
            return None;
        }
        match self.would_be_now(grant, intent.justification()).await {
            // Nothing is taken for good because nobody could decide: each use asks again, and gives nothing meanwhile.
            Err(denial) if denial.class() == DenialClass::System => None,
            Err(denial) => Some(taken(&denial)),
            Ok((_, Ruling::Deny { code, .. })) => {
                Some(taken(&Denial::new(code, "policy denies it now")))
            }
            // What was asked for below another grant was cut to that one: there is nothing to begin anew with.
            Ok((now, ruling)) if intent.state() == State::Pending && grant.parent.is_none() => {
                repinned(grant, now, ruling)
            }
            Ok((now, ruling)) => {
                let undecided = intent.state() == State::Pending;
                let unasked = intent.approvals().is_empty() && !undecided;
                let wants_a_person = undecided || matches!(ruling, Ruling::AskApproval { .. });
                if unasked && wants_a_person {
                    let detail = "policy wants an approver now, and nobody approved it";
                    return Some(taken(&Denial::new(DenialCode::ApprovalRequired, detail)));
                }
                intent.fits_in(&now, wants_a_person).err().as_ref().map(taken)
            }
        }
    }

    /// The grant that the same request would give now, and what policy says of it.
    async fn would_be_now(
        &self,
        grant: &Grant,
        justification: Option<&Justification>,
    ) -> Result<(Grant, Ruling), Denial> {
        let request = request_of(grant, justification)?;
        let playbook = self.playbook(&request)?.in_phase(request.phase())?;
        let excepted = grant.conditions.provisions.exception.is_some().then(|| {
            self.playbooks.exception_for(&grant.agent, playbook, &request, self.clock.now())
        });
        let playbook = match excepted.flatten() {
            Some(exception) => Cow::Owned(playbook.under(exception)),
            None => Cow::Borrowed(playbook),
        };
        let playbook = playbook.as_ref();
        let (mut evidence, then) = (grant.evidence.clone(), grant.not_before);
        playbook.demands().check(&evidence.standing, &request, then)?;
        let has_ticket = grant.ticket.is_some();
        evidence.risk = playbook.assess_risk(&evidence, has_ticket, self.environment, then);
        let requester = Requester {
            agent: grant.agent.clone(),
            attestation: grant.attestation,
            owner: self.owner_of(&grant.agent),
        };
        let circumstances = Circumstances {
            intent_id: grant.intent_id.clone(),
            policy_set_digest: *self.policy.set_digest(),
            evidence,
            now: then,
        };
        let terms = GrantTerms::from(resolve(playbook, &request, &requester, circumstances)?);
        // What came with the first request and is not the playbook's to say.
        let terms = GrantTerms { parent: grant.parent.clone(), ..terms };
        let now = Grant::seal(terms).map_err(|error: GrantError| unresolved(&error))?;
        let at = self.clock.now();
        let question = Question {
            grant: &now,
            playbook,
            evidence: &now.evidence,
            environment: self.environment,
            act: Act::Request,
            now: at,
        };
        let verdict = self.slow.ruled(&*self.policy, &question).await;
        let verdict = verdict.map_err(|error| unresolved(&error))?;
        let verdict = observed(verdict, &*self.policy, &question, self.may_observe(at));
        let ruling = verdict.map_err(|error| unresolved(&error))?.ruling;
        Ok((now, ruling))
    }
}

fn unresolved(error: &(dyn std::error::Error + 'static)) -> Denial {
    tracing::error!(error, "an open intent could not be held against the rules of now");
    Denial::new(DenialCode::PolicyError, "no decision could be made")
}

/// What the agent asked for: all of it is in the grant.
fn request_of(
    grant: &Grant,
    justification: Option<&Justification>,
) -> Result<IntentRequest, Denial> {
    let mut members = Map::new();
    let mut say = |name: &str, value: Option<String>| {
        members.extend(value.map(|value| (name.to_owned(), Value::String(value))));
    };
    say("playbook", Some(grant.playbook.id.to_string()));
    say("ticket", grant.ticket.as_ref().map(ToString::to_string));
    say("session", grant.session.as_ref().map(ToString::to_string));
    say("task", grant.task.as_ref().map(ToString::to_string));
    say("category", grant.evidence.category.as_ref().map(ToString::to_string));
    say("phase", grant.conditions.provisions.phase.as_ref().map(ToString::to_string));
    say("justification", justification.map(|said| said.as_str().to_owned()));
    let confidence = grant.evidence.confidence.map(|stated| u64::from(stated).into());
    members.extend(confidence.map(|stated: Value| ("confidence".to_owned(), stated)));
    members.insert("parameters".to_owned(), Value::Object(grant.parameters.clone()));
    IntentRequest::parse(Value::Object(members).to_string().as_bytes())
}

/// A request whose enforced part is the same goes on as it is; any other begins anew.
fn repinned(grant: &Grant, now: Grant, ruling: Ruling) -> Option<IntentChange> {
    if enforced(grant) == enforced(&now) {
        return None;
    }
    if now.approval.is_none() {
        let detail = "the playbook has no approval level any more";
        return Some(taken(&Denial::new(DenialCode::QuorumUnreachable, detail)));
    }
    Some(IntentChange::Repin { grant: Box::new(now), ruling })
}

/// The terms without what only says where they come from.
fn enforced(grant: &Grant) -> GrantTerms {
    let mut terms = grant.terms().clone();
    terms.playbook.version = 0;
    terms.playbook.digest = marque_intent::Digest::of(b"");
    terms.playbook.title.clear();
    terms.playbook.owner.clear();
    terms.policy_set_digest = terms.playbook.digest;
    terms.risk = 0;
    terms.evidence.risk = RiskAssessment::default();
    terms
}

fn taken(denial: &Denial) -> IntentChange {
    IntentChange::End {
        why: EndReason::PolicyDrift,
        code: denial.code(),
        by: "issuer".to_owned(),
        // Our own words, and short; what does not fit is left out.
        reason: Reason::new(&format!("{}: {}", denial.code().as_str(), denial.detail())).ok(),
    }
}
