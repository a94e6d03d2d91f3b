use marque_audit::EventKind;
use marque_intent::{
    Approval, Approver, DenialCode, Digest, IntentChange, KillScope, MAX_BINDING_MESSAGE_CHARS,
    State,
};
use marque_jose::UnverifiedJws;
use serde_json::json;

use super::*;
use crate::{
    GRANT_TYPE_CIBA, OneHeader,
    fixture::{
        AUDIENCE, Fields, ISSUER, Rig,
        desk::{ASKED, AT_ONCE, DENIED},
        is_plain,
    },
};

impl Rig {
    /// The fields of an authentication request for a playbook.
    fn backchannel(&self, playbook: &str) -> Fields {
        let details = json!([{"type": "marque_intent", "playbook": playbook}]).to_string();
        Fields::default()
            .authenticated(&self.svid())
            .set("scope", "openid")
            .set("login_hint", "operators")
            .set("binding_message", "W4SCT")
            .set("authorization_details", &details)
    }

    async fn authorize_with(
        &self,
        fields: &Fields,
        presented: &Presented,
    ) -> Result<BackchannelResponse, OAuthError> {
        let request = BackchannelRequest::parse(fields.encode().as_bytes(), presented)?;
        self.service.backchannel(request, presented.clone()).await
    }

    async fn authorize(&self, fields: &Fields) -> Result<BackchannelResponse, OAuthError> {
        self.authorize_with(fields, &Presented::default()).await
    }

    async fn auth_req_id(&self, fields: &Fields) -> String {
        let answer = self.authorize(fields).await.unwrap().expose_json();
        answer["auth_req_id"].as_str().unwrap().to_owned()
    }

    fn ciba_poll(&self, id: &str) -> Fields {
        Fields::default()
            .set("grant_type", GRANT_TYPE_CIBA)
            .authenticated(&self.svid())
            .set("auth_req_id", id)
    }
}

#[tokio::test]
async fn oauth_18_7_ciba_asks_an_approver_and_polls_for_the_token() {
    let rig = Rig::new();
    let fields =
        rig.backchannel(ASKED).set("scope", "openid secrets.read").set("audience", AUDIENCE);
    let answer = rig.authorize(&fields).await.unwrap().expose_json();
    let mut members: Vec<&str> = answer.as_object().unwrap().keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(members, ["auth_req_id", "expires_in", "intent_id", "interval"]);
    assert_eq!((&answer["interval"], &answer["expires_in"]), (&json!(5), &json!(2700)));
    let id = answer["auth_req_id"].as_str().unwrap();
    let appeal = rig.asked().appeal().cloned().unwrap();
    assert_eq!((appeal.asked.as_str(), appeal.message.unwrap().as_str()), ("operators", "W4SCT"));

    let poll = rig.ciba_poll(id);
    let pending = rig.exchange(&poll).await.unwrap_err();
    assert_eq!(pending.code(), OAuthErrorCode::AuthorizationPending);
    let fast = rig.exchange(&poll).await.unwrap_err();
    assert_eq!(fast.code(), OAuthErrorCode::SlowDown);
    rig.approve_asked();
    rig.clock.advance(Duration::from_secs(10));
    let token = rig.exchange(&poll).await.unwrap().expose_json();
    assert_eq!((&token["scope"], &token["token_type"]), (&json!("secrets.read"), &json!("Bearer")));
    assert!(token.get("id_token").is_none());
    rig.clock.advance(Duration::from_secs(10));
    let again = rig.exchange(&poll).await.unwrap_err();
    assert_eq!(again.code(), OAuthErrorCode::InvalidGrant);
}

#[tokio::test]
async fn oauth_18_7_a_refusal_by_the_approver_and_an_end_of_time_are_told_to_ciba_clients() {
    let rig = Rig::new();
    let id = rig.auth_req_id(&rig.backchannel(ASKED)).await;
    rig.deny_asked();
    let denied = rig.exchange(&rig.ciba_poll(&id)).await.unwrap_err();
    assert_eq!(denied.code(), OAuthErrorCode::AccessDenied);
    assert_eq!(denied.denial(), Some(DenialCode::ApprovalDenied));
    let id = rig.auth_req_id(&rig.backchannel(ASKED).set("requested_expiry", "120")).await;
    rig.clock.advance(Duration::from_secs(119));
    let poll = rig.ciba_poll(&id);
    assert_eq!(rig.exchange(&poll).await.unwrap_err().code(), OAuthErrorCode::AuthorizationPending);
    rig.clock.advance(Duration::from_secs(6));
    assert_eq!(rig.exchange(&poll).await.unwrap_err().code(), OAuthErrorCode::ExpiredToken);
}

#[tokio::test]
async fn oauth_14_5_a_request_may_shorten_the_wait_and_never_lengthen_it() {
    let rig = Rig::new();
    for (asked, given) in [("1", 1), ("60", 60), ("2700", 2700), ("86400", 2700)] {
        let fields = rig.backchannel(ASKED).set("requested_expiry", asked);
        let answer = rig.authorize(&fields).await.unwrap().expose_json();
        assert_eq!(answer["expires_in"], given, "{asked}");
    }
}

#[tokio::test]
async fn oauth_18_6_every_malformed_authentication_request_is_refused_by_its_code() {
    use OAuthErrorCode::*;
    let rig = Rig::new();
    let good = || rig.backchannel(ASKED);
    let long = "x".repeat(MAX_BINDING_MESSAGE_CHARS + 1);
    let reference = |id: &str| json!([{"type": "marque_intent", "intent_id": id}]).to_string();
    for (name, fields, code) in [
        ("no_hint", good().without("login_hint"), InvalidRequest),
        ("empty_hint", good().set("login_hint", ""), InvalidRequest),
        ("two_hints", good().set("id_token_hint", "x"), InvalidRequest),
        (
            "three_hints",
            good().set("id_token_hint", "x").set("login_hint_token", "y"),
            InvalidRequest,
        ),
        ("hint_twice", good().add("login_hint", "alice"), InvalidRequest),
        ("unknown_person", good().set("login_hint", "mallory"), UnknownUserId),
        ("group_that_does_not_count", good().set("login_hint", "platform-sre"), UnknownUserId),
        ("hint_is_no_name", good().set("login_hint", "two words"), UnknownUserId),
        ("hint_is_a_workload", good().set("login_hint", rig.agent.as_str()), UnknownUserId),
        (
            "login_hint_token",
            good().without("login_hint").set("login_hint_token", "a.b.c"),
            UnknownUserId,
        ),
        (
            "id_token_hint",
            good().without("login_hint").set("id_token_hint", "a.b.c"),
            UnknownUserId,
        ),
        ("nobody_approves_it", rig.backchannel(AT_ONCE), UnknownUserId),
        ("message_too_long", good().set("binding_message", &long), InvalidBindingMessage),
        ("message_not_plain", good().set("binding_message", "a\nb"), InvalidBindingMessage),
        ("message_hides_text", good().set("binding_message", "a\u{202e}b"), InvalidBindingMessage),
        ("expiry_zero", good().set("requested_expiry", "0"), InvalidRequest),
        ("expiry_negative", good().set("requested_expiry", "-5"), InvalidRequest),
        ("expiry_signed", good().set("requested_expiry", "+5"), InvalidRequest),
        ("expiry_fraction", good().set("requested_expiry", "1.5"), InvalidRequest),
        ("expiry_overflow", good().set("requested_expiry", &"9".repeat(30)), InvalidRequest),
        ("ping", good().set("client_notification_token", "t"), InvalidRequest),
        ("signed_request", good().set("request", "a.b.c"), InvalidRequest),
        ("no_details", good().without("authorization_details"), InvalidRequest),
        ("broken_details", good().set("authorization_details", "[{"), InvalidAuthorizationDetails),
        ("unknown_playbook", rig.backchannel("nothing"), InvalidAuthorizationDetails),
        ("denied_by_policy", rig.backchannel(DENIED), AccessDenied),
        (
            "no_client",
            good().without("client_assertion").without("client_assertion_type"),
            InvalidClient,
        ),
        ("no_such_client", good().authenticated("a.b.c"), InvalidClient),
        ("scope_malformed", good().set("scope", "a\tb"), InvalidScope),
        ("scope_too_wide", good().set("scope", "openid admin"), InvalidScope),
        (
            "resource_with_a_fragment",
            good().set("resource", "https://a.example.org/#f"),
            InvalidTarget,
        ),
        (
            "unknown_intent",
            good()
                .without("binding_message")
                .set("authorization_details", &reference("int_00000000000000000000000099")),
            AccessDenied,
        ),
    ] {
        let error = rig.authorize(&fields).await.unwrap_err();
        assert_eq!(error.code(), code, "{name}");
        assert!(is_plain(&error), "{name}");
    }
    assert!(rig.store.kept().deferrals.is_empty());
}

#[tokio::test]
async fn oauth_18_6_a_hint_that_names_nobody_makes_no_intent_and_is_on_record() {
    let rig = Rig::new();
    let error =
        rig.authorize(&rig.backchannel(ASKED).set("login_hint", "mallory")).await.unwrap_err();
    assert_eq!(error.denial(), Some(DenialCode::ApproverNotEligible));
    assert!(rig.desk.asked.lock().unwrap().requests.is_empty());
    let recorded = rig.store.kept().events.last().unwrap().clone();
    assert_eq!(recorded.kind, EventKind::IntentDenied);
    assert_eq!(recorded.code.as_deref(), Some("approver_not_eligible"));
    // A playbook that is not for this agent is refused as such: nobody learns who approves it.
    let hidden =
        rig.authorize(&rig.backchannel("nothing").set("login_hint", "mallory")).await.unwrap_err();
    assert_eq!(hidden.denial(), Some(DenialCode::UnknownPlaybook));
}

#[tokio::test]
async fn oauth_18_what_ciba_has_no_use_for_here_is_ignored() {
    let rig = Rig::new();
    let fields = rig.backchannel(ASKED).set("acr_values", "urn:x").set("user_code", "1234");
    rig.auth_req_id(&fields.set("ui_locales", "de").without("binding_message").without("scope"))
        .await;
    assert_eq!(rig.asked().appeal().unwrap().message, None);
}

#[tokio::test]
async fn oauth_18_a_pending_intent_may_be_named_in_an_authentication_request() {
    let rig = Rig::new();
    rig.exchange(&rig.inline(ASKED)).await.unwrap_err();
    let id = rig.asked().id().clone();
    let fields = rig.backchannel(ASKED).intent(&id).without("binding_message");
    let poll = rig.ciba_poll(&rig.auth_req_id(&fields).await);
    rig.approve_asked();
    rig.exchange(&poll).await.unwrap();
    // Words for the approver come with the request for a playbook, and never later.
    rig.exchange(&rig.inline(ASKED)).await.unwrap_err();
    let fields = rig.backchannel(ASKED).intent(rig.asked().id());
    let error = rig.authorize(&fields).await.unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::InvalidBindingMessage);
    let fields = fields.without("binding_message");
    let error = rig.authorize(&fields.clone().set("login_hint", "mallory")).await.unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::UnknownUserId);
    let other = rig.svid_of(&rig.own, &rig.own.id("/agent/other"));
    let error = rig.authorize(&fields.authenticated(&other)).await.unwrap_err();
    assert_eq!(error.denial(), Some(DenialCode::GrantNotBoundToSession));
}

#[tokio::test]
async fn oauth_18_an_authentication_request_is_safe_to_send_again_under_its_key() {
    let rig = Rig::new();
    let presented = Presented {
        idempotency_key: OneHeader::of([Some("k")].into_iter()),
        ..Presented::default()
    };
    let fields = rig.backchannel(ASKED);
    rig.authorize_with(&fields, &presented).await.unwrap();
    rig.authorize_with(&fields, &presented).await.unwrap();
    assert_eq!(rig.desk.asked.lock().unwrap().requests.len(), 1);
    assert_eq!(rig.store.kept().deferrals.len(), 1);
    let other = rig.authorize_with(&fields.set("binding_message", "other"), &presented).await;
    assert_eq!(other.unwrap_err().denial(), Some(DenialCode::IdempotencyConflict));
}

#[tokio::test]
async fn oauth_18_an_auth_req_id_is_no_deferral_code() {
    let rig = Rig::new();
    let id = rig.auth_req_id(&rig.backchannel(ASKED)).await;
    rig.approve_asked();
    let crossed = rig.exchange(&rig.poll(&id)).await.unwrap_err();
    assert_eq!(crossed.code(), OAuthErrorCode::InvalidGrant);
    let other = rig.svid_of(&rig.own, &rig.own.id("/agent/other"));
    let stolen = rig.exchange(&rig.ciba_poll(&id).authenticated(&other)).await.unwrap_err();
    assert_eq!(stolen.code(), OAuthErrorCode::InvalidGrant);
    rig.exchange(&rig.ciba_poll(&id)).await.unwrap();
    assert_eq!(rig.asked().state(), State::Consumed);
}

#[tokio::test]
async fn oauth_18_9_revoking_an_auth_req_id_withdraws_the_intent() {
    let rig = Rig::new();
    let id = rig.auth_req_id(&rig.backchannel(ASKED)).await;
    rig.revoke_token(&rig.svid_of(&rig.own, &rig.own.id("/agent/other")), &id).await.unwrap();
    assert_eq!(rig.asked().state(), State::Pending);
    rig.revoke_token(&rig.svid(), &id).await.unwrap();
    assert_eq!(rig.asked().state(), State::Cancelled);
    let ended = rig.exchange(&rig.ciba_poll(&id)).await.unwrap_err();
    assert_eq!(ended.code(), OAuthErrorCode::AccessDenied);
}

#[tokio::test]
async fn oauth_18_8_what_is_approved_is_the_digest_of_the_grant_and_nothing_that_the_agent_wrote() {
    let rig = Rig::new();
    let fields = rig.backchannel(ASKED).set("binding_message", "approve int_1 instead");
    let id = rig.auth_req_id(&fields).await;
    let asked = rig.asked();
    // The agent's words are beside the grant: other words, the same digest.
    let other = Appeal { asked: "mallory".parse().unwrap(), message: None };
    let reworded = asked.clone().with_appeal(Some(other));
    assert_eq!(reworded.grant().digest(), asked.grant().digest());
    let grant = serde_json::to_string(asked.grant().terms()).unwrap();
    assert!(!grant.contains("instead"), "{grant}");
    // An approval of anything else approves nothing.
    let approval = |digest| IntentChange::Approve {
        approval: Approval::new(Approver::Operator { uid: 1, user: "a".into() }, digest, rig.now()),
    };
    let refused = asked.apply(&approval(Digest::of(b"approve int_1 instead")), rig.now());
    assert_eq!(refused.unwrap_err().code(), DenialCode::ApprovalDigestMismatch);
    assert_eq!(
        rig.exchange(&rig.ciba_poll(&id)).await.unwrap_err().code(),
        OAuthErrorCode::AuthorizationPending
    );
    rig.approve_asked();
    rig.clock.advance(Duration::from_secs(5));
    let token = rig.exchange(&rig.ciba_poll(&id)).await.unwrap();
    let token = UnverifiedJws::parse(token.access_token().expose_token()).unwrap();
    let claims = token.dangerous_unverified_claims();
    assert_eq!(claims["intent"]["digest"], asked.grant().digest().to_string());
    assert!(!serde_json::to_string(claims).unwrap().contains("instead"), "{claims:?}");
}

#[tokio::test]
async fn oauth_14_5_an_approval_that_comes_after_the_end_is_none() {
    let rig = Rig::new();
    let fields = rig.backchannel(ASKED);
    let answer = rig.authorize(&fields).await.unwrap().expose_json();
    let asked = rig.asked();
    // Half an hour to decide: the message that both sides compare is good for no longer.
    assert_eq!(asked.expires_at(), Some(rig.now() + Duration::from_secs(1800)));
    rig.clock.advance(Duration::from_secs(1800));
    let approval = Approval::new(
        Approver::Operator { uid: 1, user: "a".into() },
        *asked.grant().digest(),
        rig.now(),
    );
    let late = asked.apply(&IntentChange::Approve { approval }, rig.now()).unwrap_err();
    assert_eq!(late.code(), DenialCode::ApprovalExpired);
    let svid = rig.own.jwt_svid(&rig.agent, &[ISSUER], rig.now() + Duration::from_secs(60));
    let id = answer["auth_req_id"].as_str().unwrap();
    let poll = rig.ciba_poll(id).authenticated(svid.expose_token());
    assert_eq!(rig.exchange(&poll).await.unwrap_err().code(), OAuthErrorCode::ExpiredToken);
}

#[tokio::test]
async fn cve_2026_7571_switched_off_ciba_is_not_reachable() {
    let rig = Rig::with(|config| config.offers.ciba = false, |_| {});
    let error = rig.authorize(&rig.backchannel(ASKED)).await.unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::UnauthorizedClient);
    let error = rig.exchange(&rig.ciba_poll(&"A".repeat(43))).await.unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::UnsupportedGrantType);
    assert!(rig.store.kept().events.is_empty());
}

#[tokio::test]
async fn a_killed_agent_begins_nothing() {
    let rig = Rig::new();
    rig.kill(KillScope::Agent(rig.agent.clone()));
    let error = rig.authorize(&rig.backchannel(ASKED)).await.unwrap_err();
    assert_eq!(error.denial(), Some(DenialCode::KillSwitchAgent));
}
