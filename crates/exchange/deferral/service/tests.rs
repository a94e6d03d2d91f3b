//! The deferred token response and inline requests, through the token service's own door.

mod asking;
mod recorded;
mod withdrawn;

use marque_audit::EventKind;
use marque_intent::{Approval, Approver, Digest, Intent, IntentChange, KillScope, Reason, State};
use marque_testkit::START;
use serde_json::{Value, json};

use super::*;
use crate::{
    GRANT_TYPE_DEFERRED, MAX_OPEN_DEFERRALS_PER_AGENT, OneHeader, TokenRequest,
    fixture::{
        AUDIENCE, Fields, Rig,
        desk::{ASKED, AT_ONCE, DENIED},
        is_plain,
    },
};

fn alice() -> Approver {
    Approver::Operator { uid: 1000, user: "alice".to_owned() }
}

impl Rig {
    /// The fields of a request for a playbook.
    pub(crate) fn inline(&self, playbook: &str) -> Fields {
        let details = json!([{
            "type": "marque_intent",
            "playbook": playbook,
            "parameters": {"service": "checkout"},
            "ticket": "CHG-1842",
        }]);
        self.fields().set("authorization_details", &details.to_string())
    }

    pub(crate) fn deferred(&self) -> Fields {
        self.inline(ASKED).set("completion_mode", "deferred")
    }

    /// Asks and is deferred; the code.
    pub(crate) async fn defer(&self, fields: &Fields) -> String {
        let error = self.exchange(fields).await.unwrap_err();
        assert_eq!(error.code(), OAuthErrorCode::AuthorizationPending, "{error}");
        error.deferred().expect("a deferral").code.expose_code().to_owned()
    }

    pub(crate) fn poll(&self, code: &str) -> Fields {
        Fields::default()
            .set("grant_type", GRANT_TYPE_DEFERRED)
            .authenticated(&self.svid())
            .set("deferral_code", code)
    }

    /// The intent that the desk made last.
    pub(crate) fn asked(&self) -> Intent {
        let kept = self.store.kept();
        kept.intents.values().next_back().unwrap().clone()
    }

    pub(crate) fn change_asked(&self, change: impl FnOnce(&Intent) -> IntentChange) {
        let intent = self.asked();
        let (changed, _) = intent.apply(&change(&intent), self.now()).unwrap();
        self.put(changed);
    }

    pub(crate) fn approve_asked(&self) {
        let now = self.now();
        self.change_asked(|intent| IntentChange::Approve {
            approval: Approval::new(alice(), *intent.grant().digest(), now),
        });
    }

    pub(crate) fn deny_asked(&self) {
        let reason = Reason::new("not today").unwrap();
        self.change_asked(|_| IntentChange::Deny { decider: alice().into(), reason });
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    async fn refused(&self, fields: &Fields) -> (OAuthErrorCode, Option<DenialCode>) {
        let error = self.exchange(fields).await.unwrap_err();
        assert!(is_plain(&error));
        assert!(error.deferred().is_none(), "{error}");
        (error.code(), error.denial())
    }

    async fn ask_under(&self, fields: &Fields, key: &str) -> Result<TokenResponse, OAuthError> {
        let presented = || Presented {
            idempotency_key: OneHeader::of([Some(key)].into_iter()),
            ..Presented::default()
        };
        let request = TokenRequest::parse(fields.encode().as_bytes(), &presented())?;
        self.service.token(request, presented()).await
    }
}

#[tokio::test]
async fn oauth_18_an_inline_request_that_is_approved_at_once_gives_the_token_in_the_same_answer() {
    let rig = Rig::new();
    for fields in [rig.inline(AT_ONCE), rig.inline(AT_ONCE).set("completion_mode", "deferred")] {
        let answer = rig.exchange(&fields).await.unwrap().expose_json();
        assert_eq!(answer["authorization_details"][0]["intent_id"], rig.asked().id().as_str());
        assert_eq!(rig.asked().state(), State::Consumed);
    }
    assert!(rig.store.kept().deferrals.is_empty());
}

#[tokio::test]
async fn oauth_18_1_without_completion_mode_nothing_is_deferred() {
    let rig = Rig::new();
    for fields in [rig.inline(ASKED), rig.inline(ASKED).set("completion_mode", "immediate")] {
        let pending = (OAuthErrorCode::AccessDenied, Some(DenialCode::ApprovalPending));
        assert_eq!(rig.refused(&fields).await, pending);
    }
    assert!(rig.store.kept().deferrals.is_empty());
    // The intent was made all the same, and can be named from now on.
    assert_eq!(rig.asked().state(), State::Pending);
}

#[tokio::test]
async fn oauth_18_2_the_answer_that_defers_has_its_shape() {
    let rig = Rig::new();
    let error = rig.exchange(&rig.deferred()).await.unwrap_err();
    assert_eq!(error.http_status(), 400);
    let body = error.to_json();
    let mut members: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
    members.sort_unstable();
    let expected =
        ["deferral_code", "error", "error_description", "expires_in", "intent_id", "interval"];
    assert_eq!(members, expected);
    assert_eq!(body["intent_id"], rig.asked().id().as_str());
    assert_eq!(body["error"], "authorization_pending");
    assert_eq!(body["interval"], 5);
    // The approver's half hour, and the quarter of an hour in which the first use has to follow.
    assert_eq!(body["expires_in"], 1800 + 900);
    let code = body["deferral_code"].as_str().unwrap();
    assert_eq!(code.len(), crate::DEFERRAL_CODE_LEN);
    assert!(!format!("{error:?}").contains(code));
    let kept = format!("{:?}", rig.store.kept().deferrals);
    assert!(!kept.contains(code) && kept.contains(&Digest::of(code.as_bytes()).to_string()));
    assert!(!kept.contains(&rig.svid()), "a token is kept");
}

#[tokio::test]
async fn oauth_18_4_an_approved_deferral_is_collected_once() {
    let rig = Rig::new();
    let code =
        rig.defer(&rig.deferred().set("scope", "secrets.read").set("audience", AUDIENCE)).await;
    let pending = rig.exchange(&rig.poll(&code)).await.unwrap_err();
    assert_eq!(pending.code(), OAuthErrorCode::AuthorizationPending);
    // A pending poll repeats neither the code nor the interval.
    let body = pending.to_json();
    assert_eq!(body.as_object().unwrap().len(), 2, "{body}");
    rig.approve_asked();
    rig.pass(5);
    let answer = rig.exchange(&rig.poll(&code)).await.unwrap();
    let body = answer.expose_json();
    assert_eq!((&body["scope"], &body["token_type"]), (&json!("secrets.read"), &json!("Bearer")));
    assert_eq!(rig.store.kept().tokens.values().next().unwrap().audiences, [AUDIENCE]);
    rig.pass(5);
    assert_eq!(rig.refused(&rig.poll(&code)).await, (OAuthErrorCode::InvalidGrant, None));
    assert_eq!(rig.store.kept().tokens.len(), 1);
}

#[tokio::test]
async fn oauth_18_4_a_code_gives_one_token_even_where_the_intent_would_give_more() {
    let rig = Rig::with(|_| {}, |terms| terms.uses = 2);
    let grant = rig.store.kept().intents[&rig.intent].grant().clone();
    let mut terms = crate::fixture::terms(&rig.agent, 0);
    terms.uses = grant.uses;
    terms.approval = Some(crate::fixture::anybody());
    let pending = Intent::open(
        marque_intent::Grant::seal(terms).unwrap(),
        None,
        marque_intent::Ruling::AskApproval { rules: Vec::new() },
        START,
    );
    rig.put(pending.0);
    let code = rig.defer(&rig.fields().set("completion_mode", "deferred")).await;
    rig.approve_asked();
    rig.exchange(&rig.poll(&code)).await.unwrap();
    assert_eq!(rig.asked().uses_left(), 1);
    rig.pass(60);
    assert_eq!(rig.refused(&rig.poll(&code)).await, (OAuthErrorCode::InvalidGrant, None));
    assert_eq!(rig.asked().uses_left(), 1);
}

#[tokio::test]
async fn oauth_18_3_polling_too_fast_is_slowed_down_by_five_seconds_each() {
    let rig = Rig::new();
    let code = rig.defer(&rig.deferred()).await;
    let poll = rig.poll(&code);
    let pending = (OAuthErrorCode::AuthorizationPending, None);
    let slow_down = (OAuthErrorCode::SlowDown, None);
    assert_eq!(rig.refused(&poll).await, pending);
    rig.pass(4);
    assert_eq!(rig.refused(&poll).await, slow_down);
    rig.pass(9);
    assert_eq!(rig.refused(&poll).await, slow_down);
    rig.pass(15);
    assert_eq!(rig.refused(&poll).await, pending);
    // Also when there is something to collect.
    rig.approve_asked();
    rig.pass(14);
    assert_eq!(rig.refused(&poll).await, slow_down);
    assert!(rig.store.kept().tokens.is_empty());
    rig.pass(20);
    rig.exchange(&poll).await.unwrap();
}

#[tokio::test]
async fn oauth_18_3_what_became_of_the_intent_is_what_a_poll_is_told() {
    type Change = fn(&Rig);
    let cases: [(&str, Change, OAuthErrorCode, Option<DenialCode>); 7] = [
        ("denied", Rig::deny_asked, OAuthErrorCode::AccessDenied, Some(DenialCode::ApprovalDenied)),
        (
            "nobody_decided",
            |rig| rig.pass(1800),
            OAuthErrorCode::ExpiredToken,
            Some(DenialCode::ApprovalExpired),
        ),
        ("code_ended", |rig| rig.pass(2700), OAuthErrorCode::ExpiredToken, None),
        (
            "approved_and_not_used_in_time",
            |rig| {
                rig.approve_asked();
                rig.pass(900);
            },
            OAuthErrorCode::AccessDenied,
            Some(DenialCode::GrantExpired),
        ),
        (
            "revoked",
            |rig| {
                rig.approve_asked();
                let reason = Reason::new("drill").unwrap();
                rig.change_asked(|_| IntentChange::Revoke {
                    actor: "operator:alice(1000)".to_owned(),
                    reason,
                });
            },
            OAuthErrorCode::AccessDenied,
            Some(DenialCode::GrantRevoked),
        ),
        (
            "withdrawn_elsewhere",
            |rig| rig.change_asked(|intent| IntentChange::Cancel { by: intent.agent().clone() }),
            OAuthErrorCode::AccessDenied,
            Some(DenialCode::GrantCompleted),
        ),
        (
            "agent_killed",
            |rig| rig.kill(KillScope::Agent(rig.agent.clone())),
            OAuthErrorCode::AccessDenied,
            Some(DenialCode::KillSwitchAgent),
        ),
    ];
    for (name, change, code, denial) in cases {
        let rig = Rig::new();
        let deferral = rig.defer(&rig.deferred()).await;
        change(&rig);
        // The SVID of the first request may have ended by now; a poll brings its own.
        let later = rig.own.jwt_svid(
            &rig.agent,
            &[crate::fixture::ISSUER],
            rig.now() + Duration::from_secs(300),
        );
        let poll = rig.poll(&deferral).authenticated(later.expose_token());
        assert_eq!(rig.refused(&poll).await, (code, denial), "{name}");
        assert!(rig.store.kept().tokens.is_empty(), "{name}");
        let recorded = rig.store.kept().events.last().unwrap().clone();
        if code == OAuthErrorCode::AccessDenied {
            assert_eq!(recorded.kind, EventKind::TokenRefused, "{name}");
            assert_eq!(recorded.code.as_deref(), denial.map(DenialCode::as_str), "{name}");
        }
    }
}

#[tokio::test]
async fn oauth_18_5_a_code_is_its_clients_alone_and_reads_as_unknown_to_everybody_else() {
    let rig = Rig::new();
    let code = rig.defer(&rig.deferred()).await;
    rig.approve_asked();
    let other = rig.svid_of(&rig.own, &rig.own.id("/agent/other"));
    let stolen = rig.exchange(&rig.poll(&code).authenticated(&other)).await.unwrap_err();
    let unknown = rig.exchange(&rig.poll(&"A".repeat(43)).authenticated(&other)).await.unwrap_err();
    assert_eq!(stolen.to_json(), unknown.to_json());
    assert_eq!(stolen.code(), OAuthErrorCode::InvalidGrant);
    // Somebody has a code that is not theirs: that is on record, and costs its client nothing.
    let recorded = rig.store.kept().events.last().unwrap().clone();
    assert_eq!(recorded.code.as_deref(), Some("sender_constraint_failed"));
    assert_eq!(recorded.agent, Some(rig.own.id("/agent/other")));
    rig.exchange(&rig.poll(&code)).await.unwrap();
    let stolen = rig.exchange(&rig.poll(&code).authenticated(&other)).await.unwrap_err();
    assert_eq!(stolen.to_json(), unknown.to_json(), "redeemed");
}

#[tokio::test]
async fn oauth_18_a_code_of_one_protocol_is_none_of_the_other() {
    let rig = Rig::new();
    let code = rig.defer(&rig.deferred()).await;
    rig.approve_asked();
    let crossed = rig
        .poll(&code)
        .set("grant_type", crate::GRANT_TYPE_CIBA)
        .without("deferral_code")
        .set("auth_req_id", &code);
    assert_eq!(rig.refused(&crossed).await, (OAuthErrorCode::InvalidGrant, None));
    rig.exchange(&rig.poll(&code)).await.unwrap();
}

#[tokio::test]
async fn cve_2026_27840_no_part_and_no_neighbour_of_a_code_is_a_code() {
    let rig = Rig::new();
    let code = rig.defer(&rig.deferred()).await;
    rig.approve_asked();
    let mut near: Vec<String> = (1..code.len())
        .map(|at| code.split_at(at))
        .flat_map(|(before, after)| [before.to_owned(), after.to_owned()])
        .collect();
    for at in 0..code.len() {
        for bit in 0..7 {
            let mut bytes = code.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            near.push(String::from_utf8(bytes).unwrap());
        }
    }
    near.extend([format!("{code}A"), format!("A{code}"), format!(" {code}"), format!("{code}=")]);
    near.extend([code.to_ascii_lowercase(), code.to_ascii_uppercase(), format!("{code}\n")]);
    for text in near {
        assert_ne!(text, code);
        assert_eq!(
            rig.refused(&rig.poll(&text)).await,
            (OAuthErrorCode::InvalidGrant, None),
            "{text:?}"
        );
    }
    rig.exchange(&rig.poll(&code)).await.unwrap();
}

#[tokio::test]
async fn oauth_18_one_deferral_past_the_limit_is_refused_and_makes_no_intent() {
    let rig = Rig::new();
    let mut codes = Vec::new();
    for _ in 0..MAX_OPEN_DEFERRALS_PER_AGENT {
        codes.push(rig.defer(&rig.deferred()).await);
    }
    let made = rig.desk.asked.lock().unwrap().requests.len();
    let refused = (OAuthErrorCode::AccessDenied, Some(DenialCode::ApproverQueueFull));
    assert_eq!(rig.refused(&rig.deferred()).await, refused);
    // By reference and under a key, where the limit is not looked at before, it is the store that says no.
    rig.exchange(&rig.inline(ASKED)).await.unwrap_err();
    let reference = rig.fields().intent(rig.asked().id()).set("completion_mode", "deferred");
    assert_eq!(rig.refused(&reference).await, refused);
    let keyed = rig.ask_under(&rig.deferred().set("scope", "secrets.read"), "k").await.unwrap_err();
    assert_eq!(keyed.denial(), refused.1);
    assert_eq!(rig.desk.asked.lock().unwrap().requests.len(), made + 2);
    // What nobody could collect is before no approver.
    assert_eq!(rig.asked().state(), State::Cancelled);
    // Whoever lost an answer gets a code all the same, and one that ends makes room.
    rig.revoke_token(&rig.svid(), &codes[0]).await.unwrap();
    rig.defer(&reference).await;
}

#[tokio::test]
async fn oauth_18_collecting_checks_everything_again() {
    let rig = Rig::new();
    let code = rig.defer(&rig.deferred()).await;
    rig.approve_asked();
    // Tampered with after approval: the grant is not what the approver's digest names.
    let good = rig.asked();
    let mut changed = serde_json::to_value(good.course()).unwrap();
    changed["approvals"][0]["digest"] = Digest::of(b"another").to_string().into();
    let changed = serde_json::from_value(changed).unwrap();
    rig.put(Intent::of_parts(good.shared_grant().clone(), changed));
    let refused = (OAuthErrorCode::AccessDenied, Some(DenialCode::ApprovalDigestMismatch));
    assert_eq!(rig.refused(&rig.poll(&code)).await, refused);
    rig.put(good);
    rig.pass(5);
    // A kill between the poll and its redemption.
    rig.store.kept().late_kill = Some(KillScope::All);
    let refused = (OAuthErrorCode::AccessDenied, Some(DenialCode::KillSwitchGlobal));
    assert_eq!(rig.refused(&rig.poll(&code)).await, refused);
    assert!(rig.store.kept().tokens.is_empty());
}

#[tokio::test]
async fn oauth_18_a_token_does_not_outlive_the_svid_that_collects_it() {
    let rig = Rig::new();
    let code = rig.defer(&rig.deferred()).await;
    rig.approve_asked();
    let short = rig.own.jwt_svid(
        &rig.agent,
        &[crate::fixture::ISSUER],
        rig.now() + Duration::from_secs(60),
    );
    let answer = rig.exchange(&rig.poll(&code).authenticated(short.expose_token())).await.unwrap();
    assert_eq!(answer.expose_json()["expires_in"], 60);
}

#[tokio::test]
async fn cve_2026_7571_what_is_switched_off_is_not_reachable() {
    let rig = Rig::with(|config| config.offers.deferred = false, |_| {});
    // The parameter is one that is not known here, as the draft wants it.
    let pending = (OAuthErrorCode::AccessDenied, Some(DenialCode::ApprovalPending));
    assert_eq!(rig.refused(&rig.deferred()).await, pending);
    let poll = rig.poll(&"A".repeat(43));
    assert_eq!(rig.refused(&poll).await, (OAuthErrorCode::UnsupportedGrantType, None));
}

#[tokio::test]
async fn while_storage_is_down_nothing_is_deferred_or_collected() {
    let rig = Rig::new();
    let code = rig.defer(&rig.deferred()).await;
    rig.approve_asked();
    rig.store.kept().down = true;
    for fields in [rig.poll(&code), rig.deferred()] {
        let error = rig.exchange(&fields).await.unwrap_err();
        assert_eq!(error.code(), OAuthErrorCode::TemporarilyUnavailable);
    }
    rig.store.kept().down = false;
    rig.desk.asked.lock().unwrap().down = true;
    let error = rig.exchange(&rig.deferred()).await.unwrap_err();
    assert_eq!(
        (error.code(), error.denial()),
        (OAuthErrorCode::TemporarilyUnavailable, Some(DenialCode::AuditUnavailable))
    );
    rig.exchange(&rig.poll(&code)).await.unwrap();
}
