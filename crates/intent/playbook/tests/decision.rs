//! Risk, demands, enforcement and object in the file format.

use std::time::Duration;

use super::{Enforcement, PLAYBOOK, Playbook, refused};
use crate::evidence::RiskName;

const RISK: &str = "base = 40";

/// The playbook with this after its base risk, or in the place of some line.
fn with(from: &str, to: &str) -> Playbook {
    assert!(PLAYBOOK.contains(from), "{from}");
    let text = PLAYBOOK.replacen(from, to, 1);
    Playbook::parse(&text).unwrap_or_else(|errors| panic!("{errors:?}"))
}

#[test]
fn risk_is_read_with_its_weights_and_thresholds() {
    let playbook = with(
        RISK,
        "base = 40\ndeny_at = 90\napprove_at = 50\nsensitive_classes = [\"tls_material\"]\n\
         [risk.weights]\noff_hours = 15\nsensitive_data = 5\n[risk.hours]\nzone = \"Europe/Berlin\"\n\
         days = [\"mon\", \"fri\"]\nfrom = \"09:00\"\nuntil = \"17:30\"",
    );
    let rules = playbook.risk_rules();
    assert_eq!((rules.base, rules.deny_at, rules.approve_at), (40, Some(90), Some(50)));
    assert_eq!(rules.weights[&RiskName::OffHours], 15);
    assert!(rules.weighs(RiskName::SensitiveData) && !rules.weighs(RiskName::Posture));
    assert_eq!(rules.hours.as_ref().unwrap().days.len(), 2);
}

#[test]
fn a_weight_is_of_a_factor_that_there_is() {
    refused(RISK, "base = 40\n[risk.weights]\nvibes = 5", "there is no factor `vibes`");
    refused(RISK, "base = 40\n[risk.weights]\nproduction = 0", "is 1 to 100");
    refused(RISK, "base = 40\n[risk.weights]\nproduction = 101", "is 1 to 100");
    refused(RISK, "base = 40\n[risk.weights]\nproduction = -1", "expected u32");
}

#[test]
fn a_threshold_leaves_something_to_decide() {
    refused(RISK, "base = 101", "is 0 to 100");
    refused(RISK, "base = 40\ndeny_at = 101", "is 1 to 100");
    refused(RISK, "base = 40\ndeny_at = 0", "is 1 to 100");
    refused(RISK, "base = 40\ndeny_at = 40", "every request would be refused");
    refused(RISK, "base = 40\ndeny_at = 60\napprove_at = 60", "needs no approver");
    with(RISK, "base = 40\ndeny_at = 41");
    with(RISK, "base = 40\ndeny_at = 60\napprove_at = 59");
}

#[test]
fn what_a_factor_looks_at_is_there_with_it_and_not_without() {
    refused(RISK, "base = 40\n[risk.weights]\noff_hours = 5", "`risk.hours` is missing");
    refused(
        RISK,
        "base = 40\n[risk.weights]\nsensitive_data = 5",
        "`risk.sensitive_classes` is missing",
    );
    refused(RISK, "base = 40\nsensitive_classes = [\"tls_material\"]", "nothing would look at it");
    let hours = "base = 40\n[risk.weights]\noff_hours = 5\n[risk.hours]\n";
    let good = "zone = \"UTC\"\ndays = [\"mon\"]\nfrom = \"09:00\"\nuntil = \"17:00\"";
    with(RISK, &format!("{hours}{good}"));
    for (from, to, because) in [
        ("UTC", "Europe/Atlantis", "risk.hours.zone"),
        ("[\"mon\"]", "[]", "at least one day"),
        ("[\"mon\"]", "[\"montag\"]", "a day is one of"),
        ("[\"mon\"]", "[\"mon\", \"mon\"]", "listed twice"),
        ("17:00", "09:00", "is not after"),
        ("17:00", "25:00", "risk.hours.until"),
    ] {
        refused(RISK, &format!("{hours}{}", good.replacen(from, to, 1)), because);
    }
    refused(
        RISK,
        "base = 40\nsensitive_classes = [\"payroll\"]\n[risk.weights]\nsensitive_data = 5",
        "not one of the playbook's `data_classes`",
    );
}

#[test]
fn the_demands_on_an_agent_are_read() {
    let playbook = with(
        "[who]\n",
        "[confidence]\nfloor = 70\n[justification]\ncategories = [\"incident\"]\n[who]\n\
         selectors = [\"k8s:ns:agents\"]\nmax_attestation_age = \"10m\"\n\
         repositories = [\"github.com/example/agents@refs/heads/main\"]\n",
    );
    let demands = playbook.demands();
    assert_eq!((demands.selectors.len(), demands.repositories.len()), (1, 1));
    assert_eq!(demands.max_attestation_age, Some(Duration::from_secs(600)));
    assert_eq!(demands.confidence_floor.unwrap().percent(), 70);
    assert_eq!(demands.categories.len(), 1);
    let summary = playbook.summary();
    assert_eq!((summary.categories.len(), summary.confidence_floor), (1, demands.confidence_floor));
}

#[test]
fn a_demand_that_demands_nothing_is_a_mistake() {
    let who = |line: &str| format!("[who]\n{line}\n");
    for (line, because) in [
        ("selectors = []", "leave it out"),
        ("selectors = [\"unix\"]", "who.selectors.0"),
        ("selectors = [\"a:b\", \"a:b\"]", "listed twice"),
        ("repositories = []", "leave it out"),
        ("repositories = [\"github.com/example/agents@*\"]", "who.repositories.0"),
        ("max_attestation_age = \"0s\"", "is 1s to"),
        ("max_attestation_age = \"25h\"", "is 1s to"),
    ] {
        refused("[who]\n", &who(line), because);
    }
    for (section, because) in [
        ("[confidence]\nfloor = 0\n", "is 1 to 100"),
        ("[confidence]\nfloor = 101\n", "0 to 100"),
        ("[justification]\ncategories = []\n", "at least one"),
        ("[justification]\ncategories = [\"It is urgent\"]\n", "a category has"),
    ] {
        refused("[who]\n", &format!("{section}[who]\n"), because);
    }
}

#[test]
fn a_playbook_is_enforced_unless_it_says_otherwise() {
    assert_eq!(Playbook::parse(PLAYBOOK).unwrap().enforcement(), Enforcement::Enforce);
    let observed = with("delivery =", "enforcement = \"observe\"\ndelivery =");
    assert_eq!(observed.enforcement(), Enforcement::Observe);
    refused("delivery =", "enforcement = \"off\"\ndelivery =", "observe");
}

#[test]
fn an_object_is_named_by_declared_parameters() {
    with("delivery =", "object = \"service:{{params.service}}\"\ndelivery =");
    refused("delivery =", "object = \"service:{{params.other}}\"\ndelivery =", "not declared");
}
