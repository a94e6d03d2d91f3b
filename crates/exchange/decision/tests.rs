use std::{collections::BTreeSet, time::Duration};

use marque_intent::{GrantTerms, KillScope, Outcome, Reason, Ruling, State};
use marque_testkit::START;

use super::*;
use crate::fixture::{
    AUDIENCE, Fields, Rig, SECOND_AUDIENCE, anybody, approved, open, order, terms,
};

struct Asked {
    rig: Rig,
    fields: Fields,
    svid_lifetime: Duration,
    subject_lifetime: Duration,
    max_lifetime: Duration,
    kills: KillState,
    now: Timestamp,
}

fn asked() -> Asked {
    shaped(|_| {})
}

fn shaped(shape: impl FnOnce(&mut GrantTerms)) -> Asked {
    let rig = Rig::with(|_| {}, shape);
    let hour = Duration::from_secs(3600);
    Asked {
        fields: rig.fields(),
        rig,
        svid_lifetime: hour,
        subject_lifetime: hour,
        max_lifetime: hour,
        kills: KillState::default(),
        now: START,
    }
}

#[test]
fn what_is_not_delivered_as_a_token_is_never_one() {
    use marque_intent::Delivery;
    for delivery in [Delivery::GatewayOnly, Delivery::Certificate, Delivery::CloudSession] {
        let asked = shaped(|terms| terms.delivery = delivery);
        let refusal = asked.decide().unwrap_err();
        assert_eq!(refusal.denial.code(), DenialCode::ExceedsPlaybookCeiling);
        assert!(refusal.denial.detail().contains(delivery.as_str()), "{:?}", refusal.denial);
    }
}

impl Asked {
    fn decide_on(&self, intent: Option<&Intent>) -> Result<Decision, Refusal> {
        let client = AuthenticatedClient::dangerous_assume(
            self.rig.agent.clone(),
            START + self.svid_lifetime,
        );
        let subject = AuthenticatedClient::dangerous_assume(
            self.rig.agent.clone(),
            START + self.subject_lifetime,
        );
        let mut config = self.rig.service.config.clone();
        config.max_token_lifetime = self.max_lifetime;
        Question {
            asked: &self.fields.exchange().unwrap().asked,
            client: &client,
            delegator: None,
            subject_expires_at: subject.svid_expires_at(),
            intent,
            kills: &self.kills,
            config: &config,
            token_id: &"tok_00000000000000000000000000000001".parse().unwrap(),
            issuing: &crate::issuing::Issuing::Access,
            within: None,
            admitted: Ok(None),
            now: self.now,
        }
        .decide()
    }

    fn decide(&self) -> Result<Decision, Refusal> {
        let intent = self.rig.store.kept().intents[&self.rig.intent].clone();
        self.decide_on(Some(&intent))
    }

    fn lifetime(&self) -> Duration {
        let decision = self.decide().unwrap();
        decision.expires_at.duration_since(decision.issued_at).unsigned_abs()
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.fields = self.fields.add(name, value);
        self
    }
}

#[test]
fn a_request_that_names_nothing_gets_everything_that_was_granted() {
    let decision = asked().decide().unwrap();
    assert_eq!(decision.audiences, [AUDIENCE, SECOND_AUDIENCE]);
    assert_eq!(decision.scope, "secrets.update secrets.read");
}

#[test]
fn oauth_2_12_a_request_may_narrow_audience_and_scope_in_any_order() {
    let decision = asked()
        .with("audience", SECOND_AUDIENCE)
        .with("scope", "secrets.read secrets.update")
        .decide()
        .unwrap();
    assert_eq!(decision.audiences, [SECOND_AUDIENCE]);
    assert_eq!(decision.scope, "secrets.update secrets.read");
    let decision =
        asked().with("resource", AUDIENCE).with("scope", "secrets.read").decide().unwrap();
    assert_eq!(
        (decision.audiences, decision.scope),
        (vec![AUDIENCE.to_owned()], "secrets.read".to_owned())
    );
}

#[test]
fn audience_and_resource_together_name_both() {
    let decision =
        asked().with("audience", SECOND_AUDIENCE).with("resource", AUDIENCE).decide().unwrap();
    assert_eq!(decision.audiences, [AUDIENCE, SECOND_AUDIENCE]);
}

#[test]
fn a_wider_scope_is_refused() {
    for scope in
        ["secrets.update secrets.read admin", "admin", "secrets", "secrets.updat", "Secrets.read"]
    {
        let refusal = asked().with("scope", scope).decide().unwrap_err();
        assert_eq!(refusal.code, OAuthErrorCode::InvalidScope, "{scope}");
        assert_eq!(refusal.denial.code(), DenialCode::ExceedsPlaybookCeiling);
    }
}

#[test]
fn oauth_2_8_a_target_outside_of_the_grant_is_refused() {
    let slash = format!("{AUDIENCE}/");
    for (name, target) in [
        ("audience", "https://elsewhere.example.org"),
        ("audience", slash.as_str()),
        ("audience", "https://GW.prod.example.org/k8s"),
        ("audience", "https://gw.prod.example.org"),
        ("resource", "https://elsewhere.example.org"),
        ("audience", "k8s://eu-west-1/ns/ingress/secret/web-tls"),
    ] {
        let refusal = asked().with(name, target).decide().unwrap_err();
        assert_eq!(refusal.code, OAuthErrorCode::InvalidTarget, "{target}");
        assert_eq!(refusal.denial.code(), DenialCode::AudienceNotAllowed);
    }
}

#[test]
fn a_resource_that_is_no_audience_narrows_the_resources() {
    let (web, api) =
        ("k8s://eu-west-1/ns/ingress/secret/web-tls", "k8s://eu-west-1/ns/ingress/secret/api-tls");
    let two = |terms: &mut GrantTerms| terms.resources.push(api.to_owned());
    let one_of_two = shaped(two).with("resource", web);
    let decision = one_of_two.decide().unwrap();
    assert_eq!(decision.rights.resources, BTreeSet::from([web.to_owned()]));
    assert_eq!(decision.audiences, [AUDIENCE, SECOND_AUDIENCE]);
    let both = one_of_two.with("resource", api);
    assert_eq!(both.decide().unwrap().rights.resources.len(), 2);
    let stray = both.with("resource", "k8s://eu-west-1/ns/ingress/secret/other-tls");
    assert_eq!(stray.decide().unwrap_err().code, OAuthErrorCode::InvalidTarget);
}

#[test]
fn oauth_2_14_a_token_lives_as_long_as_its_shortest_parent() {
    assert_eq!(asked().lifetime(), Duration::from_secs(240));
    assert_eq!(
        Asked { max_lifetime: Duration::from_secs(60), ..asked() }.lifetime(),
        Duration::from_secs(60)
    );
    assert_eq!(
        Asked { svid_lifetime: Duration::from_secs(50), ..asked() }.lifetime(),
        Duration::from_secs(50)
    );
    assert_eq!(
        Asked { subject_lifetime: Duration::from_secs(40), ..asked() }.lifetime(),
        Duration::from_secs(40)
    );
    let ending = shaped(|terms| terms.not_after = START + Duration::from_secs(30));
    assert_eq!(ending.lifetime(), Duration::from_secs(30));
}

#[test]
fn times_are_whole_seconds_and_never_past_the_limit() {
    let half = Duration::from_millis(500);
    let decision = Asked { now: START + half, ..asked() }.decide().unwrap();
    assert_eq!(decision.issued_at, START);
    assert_eq!(decision.expires_at, START + Duration::from_secs(240));
}

#[test]
fn no_token_is_issued_for_less_than_a_second() {
    let refusal =
        Asked { max_lifetime: Duration::from_millis(900), ..asked() }.decide().unwrap_err();
    assert_eq!(refusal.denial.code(), DenialCode::GrantExpired);
}

#[test]
fn unknown_and_foreign_intents_read_alike() {
    let asked = asked();
    let unknown = asked.decide_on(None).unwrap_err();
    let stranger = asked.rig.own.id("/agent/stranger");
    let foreign = open(Grant::seal(terms(&stranger, 9)).unwrap(), approved());
    let foreign = asked.decide_on(Some(&foreign)).unwrap_err();
    // The same path in another trust domain, should a store ever hand one out.
    let elsewhere = asked.rig.federated.id("/agent/rotator");
    let elsewhere = open(Grant::seal(terms(&elsewhere, 8)).unwrap(), approved());
    let elsewhere = asked.decide_on(Some(&elsewhere)).unwrap_err();
    let own_agent_elsewhere =
        shaped(|terms| terms.trust_domain = "partner.example.org".parse().unwrap());
    let own_agent_elsewhere = own_agent_elsewhere.decide().unwrap_err();
    for refusal in [unknown, foreign, elsewhere, own_agent_elsewhere] {
        let stranger = Refusal::denied(Denial::new(STRANGER, "")).into_error();
        assert_eq!(refusal.into_error().to_json(), stranger.to_json());
    }
}

#[test]
fn the_owner_learns_in_which_state_the_intent_is() {
    let asked = asked();
    let agent = asked.rig.agent.clone();
    let grant = || Grant::seal(terms(&agent, 0)).unwrap();
    let approvable = || {
        let mut terms = terms(&agent, 0);
        terms.approval = Some(anybody());
        Grant::seal(terms).unwrap()
    };
    let used = |intent: Intent| {
        let id = "tok_00000000000000000000000000000002";
        let end = intent.token_deadline(START);
        let digest = *intent.grant().digest();
        let wanted = Use {
            agent: &agent,
            grant_digest: &digest,
            token_id: id,
            token_expires_at: end,
            facts: TokenFacts::default(),
            epoch: 0,
        };
        intent.redeem(&wanted, START).unwrap().0
    };
    let reason = || Reason::new("drill").unwrap();
    let cases = [
        (
            open(approvable(), Ruling::AskApproval { rules: vec![] }),
            State::Pending,
            DenialCode::ApprovalPending,
        ),
        (
            open(grant(), Ruling::Deny { code: DenialCode::RiskTooHigh, rules: vec![] }),
            State::Denied,
            DenialCode::RiskTooHigh,
        ),
        (used(open(grant(), approved())), State::Consumed, DenialCode::GrantConsumed),
        (
            used(open(grant(), approved())).complete(&agent, Outcome::Success, START).unwrap().0,
            State::Completed,
            DenialCode::GrantCompleted,
        ),
        (
            open(grant(), approved()).revoke("alice", reason(), START).unwrap().0,
            State::Revoked,
            DenialCode::GrantRevoked,
        ),
    ];
    for (intent, state, code) in cases {
        assert_eq!(intent.state(), state);
        let refusal = asked.decide_on(Some(&intent)).unwrap_err();
        assert_eq!(
            (refusal.code, refusal.denial.code()),
            (OAuthErrorCode::AccessDenied, code),
            "{state}"
        );
    }
}

#[test]
fn an_intent_whose_clock_ran_out_is_expired_though_nobody_stored_it() {
    let late = Asked {
        now: START + Duration::from_secs(901),
        svid_lifetime: Duration::from_secs(7200),
        ..asked()
    };
    assert_eq!(late.decide().unwrap_err().denial.code(), DenialCode::GrantExpired);
}

#[test]
fn a_grant_that_has_not_begun_is_refused() {
    let early = shaped(|terms| terms.not_before = START + Duration::from_secs(60));
    assert_eq!(early.decide().unwrap_err().denial.code(), DenialCode::GrantNotStarted);
}

#[test]
fn every_kill_in_whose_scope_it_is_stops_a_grant() {
    let agent = asked().rig.agent;
    for (scope, code) in [
        (KillScope::Agent(agent), Some(DenialCode::KillSwitchAgent)),
        (
            KillScope::Playbook("ingress-cert-rotation".parse().unwrap()),
            Some(DenialCode::KillSwitchPlaybook),
        ),
        (KillScope::TrustDomain, Some(DenialCode::KillSwitchTrustDomain)),
        (KillScope::All, Some(DenialCode::KillSwitchGlobal)),
        (KillScope::Playbook("another".parse().unwrap()), None),
        (KillScope::Agent("spiffe://prod.example.org/agent/rotator-2".parse().unwrap()), None),
    ] {
        let kills = KillState::default().after(order(scope), START);
        let decided = Asked { kills, ..asked() }.decide();
        assert_eq!(decided.err().map(|refusal| refusal.denial.code()), code);
    }
}

#[test]
fn a_killed_agent_hears_of_the_kill_whatever_it_asks_for() {
    let asked = asked();
    let kills = KillState::default().after(order(KillScope::Agent(asked.rig.agent.clone())), START);
    let refusal = Asked { kills, ..asked }.decide_on(None).unwrap_err();
    assert_eq!(refusal.denial.code(), DenialCode::KillSwitchAgent);
}
