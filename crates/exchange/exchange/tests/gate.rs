//! What a grant is bound to beside its clocks is looked at whenever something comes of it.

use std::time::Duration;

use marque_intent::{Denial, DenialCode};
use marque_testkit::START;

use super::team;
use crate::fixture::Rig;

fn refusing(rig: &Rig, code: DenialCode) {
    let denial = Denial::new(code, "closed").after(Duration::from_secs(5400));
    rig.desk.asked.lock().unwrap().admitted = Some(Err(denial));
}

#[tokio::test]
async fn what_the_gate_refuses_costs_no_use_and_says_when_to_come_back() {
    let rig = Rig::new();
    for code in [DenialCode::OutsideChangeWindow, DenialCode::Blackout, DenialCode::TicketClosed] {
        refusing(&rig, code);
        let told = rig.exchange(&rig.fields()).await.unwrap_err().to_json();
        assert_eq!(told["error"], "access_denied");
        assert_eq!((&told["code"], &told["class"]), (&code.as_str().into(), &"change".into()));
        assert_eq!(told["retry"]["after_s"], 5400, "{told}");
        assert_eq!(rig.codes().last().unwrap().as_deref(), Some(code.as_str()));
    }
    rig.desk.asked.lock().unwrap().admitted = None;
    rig.exchange(&rig.fields()).await.expect("the use is left");
}

#[tokio::test]
async fn a_token_ends_with_what_the_gate_lets_it_have() {
    let rig = Rig::new();
    let closes = START + Duration::from_secs(42);
    rig.desk.asked.lock().unwrap().admitted = Some(Ok(closes));
    rig.exchange(&rig.fields()).await.unwrap();
    assert_eq!(rig.record().expires_at, closes);
}

#[tokio::test]
async fn the_gate_is_not_asked_about_what_gives_no_token_anyhow() {
    let rig = Rig::new();
    rig.exchange(&rig.fields()).await.unwrap();
    refusing(&rig, DenialCode::OutsideChangeWindow);
    let told = rig.exchange(&rig.fields()).await.unwrap_err().to_json();
    assert_eq!(told["code"], "grant_consumed");
}

#[tokio::test]
async fn nothing_derives_from_a_token_while_the_gate_is_shut() {
    let team = team();
    let first = team.first().await;
    refusing(&team.rig, DenialCode::Blackout);
    let audiences = [team.b.as_str()];
    let fields = team.narrower(&team.b, &first, &audiences, "secrets.read");
    let told = team.exchange(&fields).await.unwrap_err().to_json();
    assert_eq!(told["code"], "blackout", "{told}");
}
