//! The middle of a request: the grant that it would give, and the ruling on it; and the same question again when somebody
//! approves and when a token is about to be issued (M 79).

use std::collections::BTreeSet;

use jiff::Timestamp;
use marque_audit::{Event, EventKind, LogStore as _};
use marque_exchange::AuthenticatedClient;
use marque_intent::{
    AgentStanding, Approver, CapsInForce, Circumstances, Delegator, Denial, DenialCode, Digest,
    Evidence, GroupName, Intent, IntentFilter, IntentId, IntentRequest, IntentStore as _, Playbook,
    Posture, Requester, RiskName, Ruling, Verdict, delegated, resolve,
};
use marque_policy::{Act, Question, Veto, observed};
use marque_spiffe::{Environment, SpiffeId};
use tracing::Instrument as _;

use super::IntentDesk;
use super::behalf::with_a_person;
use crate::telemetry::timer::Timer;

/// The domain tag of the digest of what an agent attests as.
const ATTESTATION_TAG: &str = "marque/attestation/v1";

impl IntentDesk {
    /// Resolves a request and has policy rule on it.
    pub(super) async fn decide(
        &self,
        client: &AuthenticatedClient,
        playbook: &Playbook,
        (request, parent): (&IntentRequest, Option<&Intent>),
        mut evidence: Evidence,
        now: Timestamp,
    ) -> Result<(Intent, Vec<Event>), Denial> {
        let asked = request.for_agent();
        let holder = asked.map_or_else(|| client.id(), |asked| &asked.agent);
        // Of another agent nobody knows here how fresh its attestation is.
        let attested_at = if asked.is_none() { client.svid_issued_at() } else { None };
        evidence.standing = self.standing_of(holder, attested_at);
        let attestation = attestation(&evidence.standing)?;
        // Who may not ask at all is told so first, by `resolve`.
        if playbook.is_for(holder) {
            playbook.demands().check(&evidence.standing, request, now)?;
        }
        evidence.posture = self.posture_of(holder, playbook).await?;
        evidence.confidence = request.confidence();
        self.weigh(holder, playbook, attestation, &mut evidence).await?;
        let has_ticket = request.ticket().is_some();
        evidence.risk = playbook.assess_risk(&evidence, has_ticket, self.environment, now);
        let circumstances = Circumstances {
            intent_id: IntentId::generate(&*self.random, now)
                .map_err(|error| no_decision(playbook, &error))?,
            policy_set_digest: *self.policy.set_digest(),
            evidence,
            now,
        };
        let owner = self.owner_of(holder);
        let requester = Requester { agent: holder.clone(), attestation, owner };
        let mut grant = resolve(playbook, request, &requester, circumstances)?;
        if let (Some(asked), Some(parent)) = (asked, parent) {
            grant = delegated(grant, parent, &asked.narrow)?;
        }
        if grant.evidence.posture == Posture::Critical {
            let detail = "nothing new begins while the posture is critical";
            return Err(Denial::new(DenialCode::PostureChanged, detail));
        }
        let question = Question {
            grant: &grant,
            playbook,
            evidence: &grant.evidence,
            environment: self.environment,
            act: Act::Request,
            now,
        };
        let mut verdict = self.ask(&question).await?;
        if let Some(parent) = parent {
            verdict.ruling = with_a_person(verdict.ruling, parent);
        }
        self.must_be_approvable(&grant, &verdict.ruling)?;
        let (intent, events) = Intent::open(grant, request.justification().cloned(), verdict, now);
        let caps = CapsInForce { trust_domain: self.caps, playbook: *playbook.caps() };
        Ok((intent.with_appeal(request.appeal().cloned()).with_caps(caps), events))
    }

    /// Whether policy lets this person approve this intent now.
    ///
    /// # Errors
    /// The refusal; `policy_error` or `policy_unavailable` where nobody could say.
    pub async fn may_be_approved(
        &self,
        intent: &Intent,
        approver: &Approver,
        groups: &BTreeSet<GroupName>,
        mfa: Option<bool>,
    ) -> Result<(), Denial> {
        // A playbook that is gone is decided on as one that nobody may approve any more.
        let playbook = self.current(intent)?;
        let approvals = count(intent);
        let act = Act::Approve { approver, groups, approvals, mfa };
        let evidence = self.evidence_now(intent, playbook, (None, None), self.clock.now()).await?;
        self.enforce(intent, playbook, &evidence, act).await
    }

    /// Whether a token may be issued for an approved intent now.
    pub(super) async fn may_be_used(
        &self,
        client: &AuthenticatedClient,
        intent: &Intent,
        delegator: Option<&Delegator>,
    ) -> Result<(), Denial> {
        let now = self.clock.now();
        let playbook = self.current(intent)?;
        // Of another agent, to whom it was handed on, nobody knows here how fresh its own attestation was.
        let own = client.id() == intent.agent();
        if !own || delegator.is_some() {
            self.acts_for_others(client.id())?;
        }
        let attested_at = client.svid_issued_at().filter(|_| own);
        let evidence = self.evidence_now(intent, playbook, (attested_at, delegator), now).await?;
        if own {
            playbook.demands().check_agent(&evidence.standing, now)?;
        }
        let before = intent.grant().evidence.posture;
        let raised = evidence.posture > before && evidence.posture >= Posture::High;
        if raised || evidence.posture == Posture::Critical {
            let detail =
                format!("the posture is {} and was {before} at the request", evidence.posture);
            return Err(Denial::new(DenialCode::PostureChanged, detail));
        }
        let act = Act::Use {
            delegator,
            approvals: count(intent),
            uses_left: intent.uses_left(),
            by_policy: matches!(intent.ruling(), Ruling::Approve { .. }),
        };
        self.enforce(intent, playbook, &evidence, act).await
    }

    /// The playbook as it is now.
    fn current(&self, intent: &Intent) -> Result<&Playbook, Denial> {
        let pinned = &intent.grant().playbook;
        let found = self.playbooks.find(&pinned.id).filter(|now| now.status().is_requestable());
        found.map(AsRef::as_ref).ok_or_else(|| {
            let detail = format!("the playbook `{}` is not in use any more", pinned.id);
            Denial::new(DenialCode::UnknownPlaybook, detail)
        })
    }

    /// What was found out at the request, with what may have changed since.
    async fn evidence_now(
        &self,
        intent: &Intent,
        playbook: &Playbook,
        (attested_at, delegator): (Option<Timestamp>, Option<&Delegator>),
        now: Timestamp,
    ) -> Result<Evidence, Denial> {
        let grant = intent.grant();
        let mut evidence = grant.evidence.clone();
        let attested_at = attested_at.or(evidence.standing.attested_at);
        evidence.standing = self.standing_of(&grant.agent, attested_at);
        evidence.posture = self.posture_of(&grant.agent, playbook).await?;
        // Neither an approval nor a use counts for a ticket that will not do any more.
        (evidence.ticket, evidence.window) = self.change.evidence_now(grant).await?;
        if let Some(person) = delegator {
            let own = Some(intent.id().clone());
            evidence.history.open_for_delegator =
                self.open_for(vec![person.principal.clone()], own, now).await?;
        }
        let has_ticket = grant.ticket.is_some();
        evidence.risk = playbook.assess_risk(&evidence, has_ticket, self.environment, now);
        Ok(evidence)
    }

    /// Asks again, and refuses what is refused now.
    async fn enforce(
        &self,
        intent: &Intent,
        playbook: &Playbook,
        evidence: &Evidence,
        act: Act<'_>,
    ) -> Result<(), Denial> {
        let grant = intent.grant();
        let (environment, now) = (self.environment, self.clock.now());
        let question = Question { grant, playbook, evidence, environment, act, now };
        let Verdict { ruling, reasons, shadow } = self.ask(&question).await?;
        if let Some(Ruling::Deny { code, rules }) = shadow {
            self.record_observed(intent, act.name(), code, rules).await?;
        }
        match ruling {
            Ruling::Approve { .. } | Ruling::AskApproval { .. } => Ok(()),
            Ruling::Deny { code, rules } => {
                let detail = match reasons.is_empty() {
                    true => format!("refused by policy at `{}`", act.name()),
                    false => reasons.join("; "),
                };
                Err(Denial::new(code, detail).by_policy(*self.policy.set_digest(), rules))
            }
        }
    }

    /// All decision points together: the further ones may only refuse, and what cannot be asked is no yes.
    async fn ask(&self, question: &Question<'_>) -> Result<Verdict, Denial> {
        let _timer = Timer::of("decision");
        self.ask_all(question).instrument(tracing::info_span!("decision")).await
    }

    async fn ask_all(&self, question: &Question<'_>) -> Result<Verdict, Denial> {
        let failed =
            |error: &(dyn std::error::Error + 'static)| no_decision(question.playbook, error);
        let mut verdict =
            self.slow.ruled(&*self.policy, question).await.map_err(|error| failed(&error))?;
        if !matches!(verdict.ruling, Ruling::Deny { .. }) {
            verdict = Veto::applied(self.further.ask(question).await?, verdict);
        }
        let may_observe = self.may_observe(question.now);
        observed(verdict, &*self.policy, question, may_observe).map_err(|error| failed(&error))
    }

    /// Whether playbooks may be only observed now: always outside of production, in production for as long as the trust
    /// domain's document says.
    pub(super) fn may_observe(&self, now: Timestamp) -> bool {
        match self.environment {
            Environment::NonProduction => true,
            Environment::Production => {
                self.registry.document().decisions().observe_until().is_some_and(|end| now < end)
            }
        }
    }

    async fn record_observed(
        &self,
        intent: &Intent,
        act: &str,
        code: DenialCode,
        rules: Vec<String>,
    ) -> Result<(), Denial> {
        let event = Event::new(EventKind::PolicyObserved, self.clock.now())
            .with_agent(intent.agent().clone())
            .with_intent(intent.id().as_str())
            .with_detail("act", act)
            .with_detail("would_deny", code.as_str())
            .with_detail("would_deny_rules", rules);
        let recorded = self.store.append(event).await;
        recorded.map(drop).map_err(|error| {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "what would have been refused could not be recorded");
            Denial::new(DenialCode::AuditUnavailable, "the decision could not be recorded")
        })
    }

    /// What is known of an agent by its registration entry and the credential that it showed.
    fn standing_of(&self, agent: &SpiffeId, attested_at: Option<Timestamp>) -> AgentStanding {
        let registered = self.registry.snapshot();
        match registered.entry_by_spiffe_id(agent) {
            Some(entry) => AgentStanding {
                owner: entry.owner().to_owned(),
                selectors: entry.selectors().clone(),
                repository: entry.repository().cloned(),
                attested_at,
            },
            None => AgentStanding { attested_at, ..AgentStanding::default() },
        }
    }

    async fn posture_of(&self, agent: &SpiffeId, playbook: &Playbook) -> Result<Posture, Denial> {
        let now = self.clock.now();
        let state = self.postures.now(now).await.map_err(|error| no_decision(playbook, &error))?;
        Ok(state.of(agent, playbook.id(), now))
    }

    /// What the playbook weighs and nobody has looked at yet.
    async fn weigh(
        &self,
        agent: &SpiffeId,
        playbook: &Playbook,
        attestation: Option<Digest>,
        evidence: &mut Evidence,
    ) -> Result<(), Denial> {
        let rules = playbook.risk_rules();
        let failed = |error: marque_intent::IntentStoreError| no_decision(playbook, &error);
        if rules.weighs(RiskName::NewAgentBuild) {
            let filter = IntentFilter { agent: Some(agent.clone()), ..IntentFilter::default() };
            let earlier = self.store.list(filter).await.map_err(failed)?;
            let same = |intent: &Intent| {
                intent.approved_at().is_some() && intent.grant().attestation == attestation
            };
            evidence.new_build = !earlier.iter().any(same);
        }
        Ok(())
    }
}

fn count(intent: &Intent) -> u32 {
    u32::try_from(intent.approvals().len()).unwrap_or(u32::MAX)
}

/// The digest of what an agent attests as: another build has other selectors.
fn attestation(standing: &AgentStanding) -> Result<Option<Digest>, Denial> {
    if standing.selectors.is_empty() {
        return Ok(None);
    }
    let digest = Digest::of_document(ATTESTATION_TAG, &standing.selectors);
    digest.map(Some).map_err(|error| Denial::new(DenialCode::PolicyError, error.to_string()))
}

fn no_decision(playbook: &Playbook, error: &(dyn std::error::Error + 'static)) -> Denial {
    tracing::error!(error, playbook = %playbook.id(), "no decision");
    Denial::new(DenialCode::PolicyError, "no decision could be made")
}
