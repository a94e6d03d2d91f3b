//! What a request may ask for: a pending intent by reference, or a playbook in the same breath.

use super::*;

#[tokio::test]
async fn oauth_18_a_reference_to_a_pending_intent_is_deferred_as_well() {
    let rig = Rig::new();
    rig.exchange(&rig.inline(ASKED)).await.unwrap_err();
    let id = rig.asked().id().clone();
    let fields = rig.fields().intent(&id).set("completion_mode", "deferred");
    let code = rig.defer(&fields).await;
    rig.approve_asked();
    rig.exchange(&rig.poll(&code)).await.unwrap();
    // What was decided against is not deferred.
    let error = rig.refused(&fields).await;
    assert_eq!(error, (OAuthErrorCode::AccessDenied, Some(DenialCode::GrantConsumed)));
}

#[tokio::test]
async fn oauth_18_an_intent_of_somebody_else_is_not_deferred() {
    let rig = Rig::new();
    rig.exchange(&rig.inline(ASKED)).await.unwrap_err();
    let id = rig.asked().id().clone();
    let other = rig.svid_of(&rig.own, &rig.own.id("/agent/other"));
    let fields = rig.fields().authenticated(&other).set("subject_token", &other);
    let fields = fields.intent(&id).set("completion_mode", "deferred");
    let refused = (OAuthErrorCode::AccessDenied, Some(DenialCode::GrantNotBoundToSession));
    assert_eq!(rig.refused(&fields).await, refused);
    assert!(rig.store.kept().deferrals.is_empty());
}

#[tokio::test]
async fn oauth_18_what_is_asked_too_wide_is_refused_before_anybody_is_asked_to_wait() {
    let rig = Rig::new();
    for (name, value, code) in [
        ("scope", "admin", OAuthErrorCode::InvalidScope),
        ("audience", "https://other.example.org", OAuthErrorCode::InvalidTarget),
        ("resource", "https://other.example.org", OAuthErrorCode::InvalidTarget),
    ] {
        let error = rig.exchange(&rig.deferred().set(name, value)).await.unwrap_err();
        assert_eq!(error.code(), code, "{name}");
        assert_eq!(rig.asked().state(), State::Cancelled, "{name}: an approver is still asked");
    }
    assert!(rig.store.kept().deferrals.is_empty());
}

#[tokio::test]
async fn oauth_18_a_lost_answer_is_asked_for_again_under_its_idempotency_key() {
    let rig = Rig::new();
    let lost = rig.ask_under(&rig.deferred(), "k").await.unwrap_err();
    let lost = lost.deferred().unwrap().code.expose_code().to_owned();
    // A new SVID is the same request.
    let later =
        rig.own.jwt_svid(&rig.agent, &[crate::fixture::ISSUER], START + Duration::from_secs(200));
    let again = rig
        .deferred()
        .authenticated(later.expose_token())
        .set("subject_token", later.expose_token());
    let again = rig.ask_under(&again, "k").await.unwrap_err();
    let code = again.deferred().unwrap().code.expose_code().to_owned();
    assert_eq!(rig.desk.asked.lock().unwrap().requests.len(), 1, "one intent");
    // Nobody has the lost code, so it is good for nothing; what was asked is open once.
    assert_ne!(code, lost);
    assert_eq!(rig.store.kept().deferrals.len(), 1);
    rig.approve_asked();
    assert_eq!(rig.refused(&rig.poll(&lost)).await, (OAuthErrorCode::InvalidGrant, None));
    rig.exchange(&rig.poll(&code)).await.unwrap();
}

#[tokio::test]
async fn oauth_18_an_idempotency_key_stands_for_one_request() {
    let rig = Rig::new();
    rig.ask_under(&rig.deferred(), "k").await.unwrap_err();
    let conflict = Some(DenialCode::IdempotencyConflict);
    for (name, fields) in [
        ("another_playbook", rig.inline(AT_ONCE)),
        ("another_scope", rig.deferred().set("scope", "secrets.read")),
        ("another_target", rig.deferred().set("audience", AUDIENCE)),
    ] {
        let error = rig.ask_under(&fields, "k").await.unwrap_err();
        assert_eq!(
            (error.code(), error.denial()),
            (OAuthErrorCode::InvalidRequest, conflict),
            "{name}"
        );
    }
    for (name, key) in [("empty", ""), ("a_space", "a b"), ("too_long", &*"k".repeat(129))] {
        let error = rig.ask_under(&rig.deferred(), key).await.unwrap_err();
        assert_eq!(error.code(), OAuthErrorCode::InvalidRequest, "{name}");
    }
    let twice = Presented {
        idempotency_key: OneHeader::of([Some("a"), Some("a")].into_iter()),
        ..Presented::default()
    };
    let request = TokenRequest::parse(rig.deferred().encode().as_bytes(), &twice).unwrap();
    let error = rig.service.token(request, twice).await.unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::InvalidRequest);
    assert_eq!(rig.desk.asked.lock().unwrap().requests.len(), 1);
}

#[tokio::test]
async fn oauth_8_denials_of_inline_requests_keep_their_codes() {
    let rig = Rig::new();
    let details = |members: Value| json!([members]).to_string();
    for (name, members, code, denial) in [
        (
            "denied_by_policy",
            json!({"type": "marque_intent", "playbook": DENIED}),
            OAuthErrorCode::AccessDenied,
            DenialCode::RiskTooHigh,
        ),
        (
            "unknown_playbook",
            json!({"type": "marque_intent", "playbook": "nothing"}),
            OAuthErrorCode::InvalidAuthorizationDetails,
            DenialCode::UnknownPlaybook,
        ),
        (
            "raw_permissions",
            json!({"type": "marque_intent", "playbook": ASKED, "scopes": ["admin"]}),
            OAuthErrorCode::InvalidAuthorizationDetails,
            DenialCode::RawPermissionsNotRequestable,
        ),
        (
            "unknown_member",
            json!({"type": "marque_intent", "playbook": ASKED, "hurry": true}),
            OAuthErrorCode::InvalidAuthorizationDetails,
            DenialCode::UnrecognisedField,
        ),
        (
            "ticket_format",
            json!({"type": "marque_intent", "playbook": ASKED, "ticket": "a b"}),
            OAuthErrorCode::AccessDenied,
            DenialCode::TicketFormat,
        ),
    ] {
        let fields = rig.deferred().set("authorization_details", &details(members));
        let error = rig.exchange(&fields).await.unwrap_err();
        assert_eq!((error.code(), error.denial()), (code, Some(denial)), "{name}");
        assert_eq!(error.to_json()["code"], denial.as_str(), "{name}");
        assert!(error.to_json()["retry"]["allowed"].is_boolean(), "{name}");
        // Refused like any other request for an intent, and on record like it.
        let recorded = rig.store.kept().events.last().unwrap().clone();
        assert_eq!(recorded.kind, EventKind::IntentDenied, "{name}");
        assert_eq!(recorded.code.as_deref(), Some(denial.as_str()), "{name}");
    }
    assert!(rig.store.kept().deferrals.is_empty());
}

#[tokio::test]
async fn a_request_without_authorization_details_is_refused() {
    let rig = Rig::new();
    let error = rig.exchange(&rig.fields().without("authorization_details")).await.unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::InvalidRequest);
}

#[tokio::test]
async fn nothing_inline_reaches_the_desk_from_a_client_that_is_not_known() {
    let rig = Rig::new();
    let stranger = rig.svid_of(&rig.other_environment, &rig.other_environment.id("/agent/x"));
    rig.exchange(&rig.deferred().authenticated(&stranger)).await.unwrap_err();
    // Nor from one that shows somebody else's SVID as subject.
    let other = rig.svid_of(&rig.own, &rig.own.id("/agent/other"));
    rig.exchange(&rig.deferred().set("subject_token", &other)).await.unwrap_err();
    assert!(rig.desk.asked.lock().unwrap().requests.is_empty());
    assert!(rig.store.kept().events.is_empty());
}
