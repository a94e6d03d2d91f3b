//! What a poll leaves in the log, and what it does where the log cannot be written.

use super::*;

#[tokio::test]
async fn oauth_18_5_a_code_of_somebody_else_is_on_record_before_it_is_answered() {
    let rig = Rig::new();
    let code = rig.defer(&rig.deferred()).await;
    let other = rig.svid_of(&rig.own, &rig.own.id("/agent/other"));
    rig.store.kept().log_down = true;
    let stolen = rig.exchange(&rig.poll(&code).authenticated(&other)).await.unwrap_err();
    assert_eq!(stolen.code(), OAuthErrorCode::TemporarilyUnavailable);
}

#[tokio::test]
async fn oauth_18_3_a_killed_agent_that_polls_too_fast_is_slowed_down_and_fills_no_log() {
    let rig = Rig::new();
    let code = rig.defer(&rig.deferred()).await;
    rig.kill(KillScope::Agent(rig.agent.clone()));
    let killed = (OAuthErrorCode::AccessDenied, Some(DenialCode::KillSwitchAgent));
    assert_eq!(rig.refused(&rig.poll(&code)).await, killed);
    let recorded = rig.store.kept().events.len();
    for _ in 0..3 {
        assert_eq!(rig.refused(&rig.poll(&code)).await, (OAuthErrorCode::SlowDown, None));
    }
    assert_eq!(rig.store.kept().events.len(), recorded);
}
