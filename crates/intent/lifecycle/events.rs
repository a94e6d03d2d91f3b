//! What the log is told about an intent.

use jiff::Timestamp;
use marque_audit::trail::PARENT_INTENT;
use marque_audit::{Event, EventKind, PlaybookPin, PolicyPin};
use marque_spiffe::SpiffeId;
use serde_json::json;

use super::{Intent, State};
use crate::denial::Denial;
use crate::digest::Digest;
use crate::provisions::{PromptKept, Provisions};
use crate::request::IntentRequest;
use crate::ruling::Ruling;

/// The member of an event's detail that marks a break-glass grant.
pub(super) const BREAK_GLASS: &str = "break_glass";

/// The event of a refusal of which no intent came: nobody could tell what it would have permitted.
#[must_use]
pub fn refused_request(
    agent: &SpiffeId,
    request: Option<&IntentRequest>,
    denial: &Denial,
    now: Timestamp,
) -> Event {
    let mut event = Event::new(EventKind::IntentDenied, now)
        .with_agent(agent.clone())
        .with_denial(denial.code().as_str(), denial.class().as_str())
        .with_detail("reason", denial.detail());
    if let Some(request) = request {
        event = event.with_detail("playbook", request.playbook().as_str());
        if let Some(ticket) = request.ticket() {
            event = event.with_ticket(ticket.as_str());
        }
    }
    match denial.policy_set() {
        Some(set) => {
            event.with_policy(PolicyPin { digest: set.to_string(), rules: denial.rules().to_vec() })
        }
        None => event,
    }
}

impl Intent {
    /// What was asked for, and how it was translated (M 30, M 46).
    pub(super) fn requested_event(&self, now: Timestamp) -> Event {
        let grant = &self.grant;
        let mut event = self
            .event(EventKind::IntentRequested, now)
            .with_audience(grant.audiences.iter().cloned())
            .with_detail("parameters", grant.parameters.clone())
            .with_detail("resources", grant.resources.clone())
            .with_detail("scope", grant.scope())
            .with_detail("risk", grant.risk)
            .with_detail("title", grant.playbook.title.clone())
            .with_detail("owner", grant.playbook.owner.clone())
            .with_detail("data_classes", grant.playbook.data_classes.clone());
        event = self.with_decision(event);
        if let Ok(details) = serde_json::to_value(&grant.authorization_details) {
            event = event.with_detail("authorization_details", details);
        }
        event = self.with_binding(event);
        let Provisions { phase: _, exception, logging, sponsor: _, post_check } =
            &grant.conditions.provisions;
        if let Some(exception) = exception {
            event = event.with_detail("exception", exception.to_string());
        }
        if let Some(url) = post_check {
            event = event.with_detail("post_check_url", url.as_str());
        }
        if let Some(parent) = &grant.parent {
            event = event.with_detail(PARENT_INTENT, parent.id.as_str());
        }
        match (logging.prompt, &self.justification) {
            (PromptKept::Hash, Some(said)) => {
                let digest = Digest::of(said.as_str().as_bytes());
                event.with_detail("justification_digest", digest.to_string())
            }
            (PromptKept::Hash | PromptKept::Sealed | PromptKept::None, _) => event,
        }
    }

    /// What the grant is bound to: the attested process, the purpose, who answers for it, session, task and phase.
    fn with_binding(&self, event: Event) -> Event {
        let grant = &self.grant;
        let provisions = &grant.conditions.provisions;
        let told = [
            ("attestation", grant.attestation.as_ref().map(ToString::to_string)),
            ("purpose", grant.playbook.purpose.clone()),
            ("phase", provisions.phase.as_ref().map(|phase| phase.as_str().to_owned())),
            ("sponsor", provisions.sponsor.clone()),
            ("session", grant.session.as_ref().map(|label| label.as_str().to_owned())),
            ("task", grant.task.as_ref().map(|label| label.as_str().to_owned())),
        ];
        let told = told.into_iter().filter_map(|(name, value)| Some((name, value?)));
        told.fold(event, |event, (name, value)| event.with_detail(name, value))
    }

    /// The event of a privilege that is handed out: by itself it says what it reaches, who approved it, who answers for it
    /// and what it is bound to (M 115).
    pub(super) fn with_privilege(&self, event: Event) -> Event {
        let event = self
            .with_binding(event)
            .with_detail("resources", self.grant.resources.clone())
            .with_detail("owner", self.grant.playbook.owner.clone())
            .with_detail("data_classes", self.grant.playbook.data_classes.clone());
        let approvers: Vec<String> =
            self.approvals.iter().map(|approval| approval.approver().to_string()).collect();
        event.with_detail("approvers", approvers)
    }

    /// What the decision was made of, as far as anything beside the playbook was looked at.
    fn with_decision(&self, mut event: Event) -> Event {
        let evidence = &self.grant.evidence;
        if !evidence.risk.is_empty() {
            event = event.with_detail("risk_sum", evidence.risk.to_string());
        }
        let repository = evidence.standing.repository.as_ref().map(ToString::to_string);
        let posture = (!evidence.posture.is_normal()).then(|| evidence.posture.to_string());
        let category = evidence.category.as_ref().map(ToString::to_string);
        let told = [
            ("repository", repository),
            ("posture", posture),
            ("category", category),
            ("object", evidence.object.clone()),
        ];
        for (name, value) in told {
            if let Some(value) = value {
                event = event.with_detail(name, value);
            }
        }
        if let Some(confidence) = evidence.confidence {
            event = event.with_detail("confidence", u64::from(confidence));
        }
        if !self.reasons.is_empty() {
            event = event.with_detail("reasons", self.reasons.clone());
        }
        if let Some(Ruling::Deny { code, rules }) = &self.shadow {
            event = event
                .with_detail("would_deny", code.as_str())
                .with_detail("would_deny_rules", rules.clone());
        }
        event
    }

    /// The state that the intent has come to.
    pub(super) fn state_event(&self, now: Timestamp) -> Event {
        let kind = match self.state {
            State::Pending => EventKind::IntentPending,
            // Nothing but a redeemed use consumes, and that event says how many are left.
            State::Active | State::Consumed => EventKind::TokenIssued,
            State::Approved => EventKind::IntentApproved,
            State::Denied => EventKind::IntentDenied,
            State::Cancelled => EventKind::IntentCancelled,
            State::Expired => EventKind::IntentExpired,
            State::Completed => EventKind::IntentCompleted,
            State::ClosedUnreported => EventKind::IntentClosedUnreported,
            State::Revoked => EventKind::IntentRevoked,
        };
        let mut event = self.event(kind, now).with_uses_left(self.uses_left);
        if matches!(self.state, State::Pending | State::Approved | State::Denied) {
            let set = self.grant.policy_set_digest.to_string();
            event =
                event.with_policy(PolicyPin { digest: set, rules: self.ruling.rules().to_vec() });
        }
        let end = match self.state {
            // The end of everything that may come of it: whoever checks the log holds each token against this.
            State::Approved => Some(self.grant.not_after),
            _ => self.expires_at(),
        };
        if let Some(end) = end {
            event = event.with_expires_at(end);
        }
        if let Some(denial) = &self.denial {
            event = event
                .with_denial(denial.code().as_str(), denial.class().as_str())
                .with_detail("reason", denial.detail());
        }
        if let Some(actor) = &self.ended_by {
            event = event.with_actor(actor.clone());
        }
        if let Some(reason) = &self.reason {
            event = event.with_detail("reason", reason.as_str());
        }
        if let Some(why) = self.ended_for {
            event = event.with_detail("ended_for", why.as_str());
        }
        let withdrawn = matches!(self.state, State::Cancelled | State::Expired | State::Revoked);
        if withdrawn && self.approved_at.is_none() {
            // Nothing was granted, so nothing is taken away.
            event = event.with_detail("approved", false);
        }
        event = self.with_outcome(event);
        if let Some(report) = &self.report {
            // The agent's own words stay out of a log that nothing is ever erased from.
            let digest = crate::digest::Digest::of(report.as_str().as_bytes());
            event = event.with_detail("report_digest", digest.to_string());
        }
        if self.state == State::Approved {
            let audiences = self.grant.audiences.iter().cloned();
            event = self.with_privilege(event.with_audience(audiences));
        }
        event
    }

    /// An event about this intent, with everything that pins it.
    pub(super) fn event(&self, kind: EventKind, now: Timestamp) -> Event {
        let grant = &self.grant;
        let event = Event::new(kind, now)
            .with_agent(grant.agent.clone())
            .with_intent(grant.intent_id.as_str())
            .with_playbook(PlaybookPin {
                id: grant.playbook.id.to_string(),
                version: grant.playbook.version,
                digest: grant.playbook.digest.to_string(),
            })
            .with_grant_digest(grant.digest().to_string())
            .of_tenant(grant.tenant.as_str());
        let event = match &grant.evidence.ticket {
            Some(ticket) => event.with_ticket_state(ticket.state.as_str()),
            None => event,
        };
        let event = match &grant.emergency {
            Some(emergency) => event.with_detail(
                BREAK_GLASS,
                json!({
                    "alert": emergency.alert.to_string(),
                    "post_review_within_s": emergency.post_review_within.as_secs(),
                    "alert_above": emergency.alert_above,
                }),
            ),
            None => event,
        };
        match &grant.ticket {
            Some(ticket) => event.with_ticket(ticket.as_str()),
            None => event,
        }
    }
}
