//! `marque demo`, the README's first command, in the form for programs.

use serde_json::Value;

use crate::support::operator::run_marque;

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_tells_every_step_and_each_did_what_it_should() {
    let said = run_marque(&["--output", "json", "demo"].map(ToOwned::to_owned)).await.succeeded();
    let steps: Vec<Value> = said
        .out
        .lines()
        .map(|line| serde_json::from_str(line).expect("one object a line"))
        .collect();
    for step in &steps {
        assert_eq!(step["ok"], true, "{step}");
        assert!(
            step["step"].is_string() && step["ms"].is_number() && step["detail"].is_object(),
            "{step}"
        );
    }
    let told: Vec<&str> = steps.iter().filter_map(|step| step["step"].as_str()).collect();
    for step in [
        "agent-attested",
        "baseline-can-do-nothing",
        "raw-permissions-refused",
        "intent-pending",
        "own-approval-refused",
        "operator-approves",
        "exchanged",
        "resource-call-allowed",
        "second-use-refused",
        "other-agent-refused",
        "non-production-refused",
        "kill",
        "log-verified",
        "tampering-detected",
    ] {
        assert!(told.contains(&step), "the demo does not tell `{step}`: {told:?}");
    }
}
