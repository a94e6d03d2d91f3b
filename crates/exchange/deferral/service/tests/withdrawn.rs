//! Clients that do not want to wait any longer say so at the revocation endpoint.

use super::*;

#[tokio::test]
async fn oauth_18_9_revoking_a_code_withdraws_the_intent_and_gives_no_token() {
    let rig = Rig::new();
    let other = rig.svid_of(&rig.own, &rig.own.id("/agent/other"));
    // Before the decision, and after it as long as the token was not collected.
    for approve in [false, true] {
        let code = rig.defer(&rig.deferred()).await;
        if approve {
            rig.approve_asked();
        }
        let before = rig.asked().state();
        // Somebody else's code and one that never was are answered like one's own, and nothing happens.
        rig.revoke_token(&other, &code).await.unwrap();
        rig.revoke_token(&rig.svid(), &"A".repeat(43)).await.unwrap();
        assert_eq!(rig.asked().state(), before);
        let error = rig.revoke_token("x", &code).await.unwrap_err();
        assert_eq!((error.code(), rig.asked().state()), (OAuthErrorCode::InvalidClient, before));
        // The second time it has ended.
        for _ in 0..2 {
            rig.revoke_token(&rig.svid(), &code).await.unwrap();
            assert_eq!(rig.asked().state(), State::Cancelled);
        }
        let refused = (OAuthErrorCode::AccessDenied, Some(DenialCode::GrantCompleted));
        assert_eq!(rig.refused(&rig.poll(&code)).await, refused);
    }
    // What was collected stays collected.
    let code = rig.defer(&rig.deferred()).await;
    rig.approve_asked();
    let token = rig.exchange(&rig.poll(&code)).await.unwrap();
    rig.revoke_token(&rig.svid(), &code).await.unwrap();
    assert_eq!(rig.asked().state(), State::Consumed);
    let answer = rig.introspect(&rig.svid(), token.access_token().expose_token()).await.unwrap();
    assert_eq!(answer["active"], true);
}

#[tokio::test]
async fn oauth_18_9_a_withdrawal_that_could_not_be_written_is_not_confirmed() {
    let rig = Rig::new();
    let code = rig.defer(&rig.deferred()).await;
    rig.store.kept().down = true;
    let error = rig.revoke_token(&rig.svid(), &code).await.unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::TemporarilyUnavailable);
    rig.store.kept().down = false;
    assert_eq!(rig.asked().state(), State::Pending);
}

#[tokio::test]
async fn what_needs_a_person_whom_nobody_brought_is_before_no_approver() {
    for mode in ["deferred", "immediate"] {
        let rig = Rig::new();
        rig.desk.asked.lock().unwrap().person_required = true;
        let refused = (OAuthErrorCode::AccessDenied, Some(DenialCode::DelegatorMissing));
        assert_eq!(rig.refused(&rig.deferred().set("completion_mode", mode)).await, refused);
        assert_eq!(rig.asked().state(), State::Cancelled, "{mode}");
    }
}
