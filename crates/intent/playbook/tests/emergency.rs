//! What an emergency playbook must say, and how short it must be.

use crate::Playbook;

const EMERGENCY: &str = include_str!("../../testdata/emergency-network-remediation.toml");

fn refused(from: &str, to: &str) -> String {
    assert!(EMERGENCY.contains(from), "{from}");
    let errors = Playbook::parse(&EMERGENCY.replacen(from, to, 1)).unwrap_err();
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn an_emergency_playbook_names_its_responders_and_is_pinned() {
    let playbook = Playbook::parse(EMERGENCY).unwrap();
    let emergency = playbook.emergency().unwrap();
    assert_eq!(emergency.responders.len(), 1);
    assert_eq!(emergency.post_review_within.as_secs(), 86_400);
    assert!(Playbook::parse(crate::fixtures::PLAYBOOK).unwrap().emergency().is_none());
}

#[test]
fn an_emergency_without_responders_or_alert_is_refused() {
    let (before, rest) = EMERGENCY.split_once("[emergency]").unwrap();
    let (_, after) = rest.split_once("[approval]").unwrap();
    let without = format!("{before}[approval]{after}");
    let flag = without.replacen("[risk]", "emergency = true\n[risk]", 1);
    let told = format!("{:?}", Playbook::parse(&flag).unwrap_err());
    assert!(told.contains("responders"), "{told}");
    for (from, to, told) in [
        ("responders = [\"group:operators\"]\n", "", "responders"),
        ("responders = [\"group:operators\"]", "responders = []", "emergency.responders"),
        ("\"group:operators\"", "\"spiffe://a/b\"", "never a workload"),
        ("alert = \"log\"\n", "", "alert"),
        ("alert = \"log\"", "alert = \"nobody\"", "emergency.alert"),
        ("post_review_within = \"24h\"", "post_review_within = \"169h\"", "post_review_within"),
        ("cooldown = \"30m\"", "cooldown = \"59s\"", "emergency.cooldown"),
        ("max_per_day = 2", "max_per_day = 6", "emergency.max_per_day"),
        ("max_per_day = 2", "max_per_day = 0", "emergency.max_per_day"),
    ] {
        let said = refused(from, to);
        assert!(said.contains(told), "{to}: {said}");
    }
}

#[test]
fn an_emergency_is_never_approved_by_itself_and_always_short() {
    for (from, to, told) in [
        ("mode = \"always\"", "mode = \"auto\"", "approval.mode"),
        ("mode = \"always\"", "mode = \"rule\"", "approval.mode"),
        ("approve = 1", "approve = 2", "approval.levels"),
        ("uses = 1", "uses = 4", "time.uses"),
        ("max_duration = \"30m\"", "max_duration = \"5h\"", "time.max_duration"),
        ("request_ttl = \"15m\"", "request_ttl = \"5h\"", "time.request_ttl"),
        ("start_within = \"15m\"", "start_within = \"5h\"", "time.start_within"),
    ] {
        let said = refused(from, to);
        assert!(said.contains(told), "{to}: {said}");
    }
}
