use super::*;

const ROSTER: &str = r#"
apiVersion = "marque/v1"
kind = "Roster"
group = "sre"
time_zone = "Europe/Berlin"

[[shifts]]
members = ["user:alice"]
days = ["mon", "fri"]
from = "09:00"
to = "17:00"

[[shifts]]
members = ["user:bob"]
days = ["fri"]
from = "22:00"
to = "06:00"

[[shifts]]
members = ["person:corp:1"]
starts = "2026-03-10T08:00:00Z"
ends = "2026-03-10T09:00:00Z"

[[delegations]]
from = "user:alice"
to = "user:bob"
starts = "2026-03-09T10:00:00Z"
ends = "2026-03-09T11:00:00Z"

[[delegations]]
from = "user:bob"
to = "user:carol"
starts = "2026-03-09T00:00:00Z"
ends = "2026-03-15T00:00:00Z"
"#;

fn on_duty(at: &str) -> Vec<String> {
    let roster = Roster::parse(ROSTER).unwrap();
    let now = at.parse().unwrap();
    roster.on_duty(now).iter().map(ToString::to_string).collect()
}

#[test]
fn a_shift_begins_and_ends_by_the_clock_of_its_time_zone() {
    // Monday, 9 March 2026; Berlin is one hour ahead until 29 March, and two after.
    assert!(on_duty("2026-03-09T07:59:59Z").is_empty());
    assert_eq!(on_duty("2026-03-09T08:00:00Z"), ["user:alice"]);
    assert_eq!(on_duty("2026-03-09T15:59:59Z"), ["user:alice"]);
    assert!(on_duty("2026-03-09T16:00:00Z").is_empty());
    assert_eq!(on_duty("2026-03-30T07:00:00Z"), ["user:alice"]);
    assert!(on_duty("2026-03-30T15:00:00Z").is_empty());
    assert!(on_duty("2026-03-11T10:00:00Z").is_empty(), "a Wednesday");
}

#[test]
fn a_shift_over_midnight_is_of_the_day_on_which_it_begins() {
    assert_eq!(on_duty("2026-03-20T21:00:00Z"), ["user:bob"]);
    assert_eq!(on_duty("2026-03-21T04:59:59Z"), ["user:bob"]);
    assert!(on_duty("2026-03-21T05:00:00Z").is_empty());
    assert!(on_duty("2026-03-20T04:00:00Z").is_empty(), "the night before");
}

#[test]
fn a_shift_of_one_day_ends_with_its_instant() {
    assert_eq!(on_duty("2026-03-10T08:59:59Z"), ["person:corp:1"]);
    assert!(on_duty("2026-03-10T09:00:00Z").is_empty());
}

#[test]
fn a_delegation_ends_and_is_not_handed_on() {
    assert_eq!(on_duty("2026-03-09T09:59:59Z"), ["user:alice"]);
    // Bob stands in for Alice; what he handed to Carol is his own duty alone.
    assert_eq!(on_duty("2026-03-09T10:00:00Z"), ["user:bob"]);
    assert_eq!(on_duty("2026-03-09T11:00:00Z"), ["user:alice"]);
    assert_eq!(on_duty("2026-03-13T21:30:00Z"), ["user:carol"]);
}

#[test]
fn a_roster_that_says_nothing_clear_is_refused() {
    for (from, to, why) in [
        ("kind = \"Roster\"", "kind = \"Playbook\"", "`kind` `Roster`"),
        ("group = \"sre\"", "group = \"operators\"", "on duty or not"),
        ("Europe/Berlin", "Europe/Atlantis", "no time zone"),
        ("\"mon\"", "\"monday\"", "none of"),
        ("\"09:00\"", "\"9:00\"", "time of day"),
        ("\"09:00\"", "\"24:00\"", "time of day"),
        ("days = [\"fri\"]", "days = []", "a shift has"),
        ("members = [\"user:bob\"]", "members = [\"group:dev\"]", "people are on duty"),
        ("from = \"user:bob\"", "from = \"user:dave\"", "no duty of their own"),
        ("to = \"user:carol\"", "to = \"user:bob\"", "no duty of their own"),
        ("2026-03-15T00:00:00Z", "2026-04-15T00:00:00Z", "longer than 31 days"),
        ("2026-03-09T11:00:00Z", "2026-03-09T09:00:00Z", "ends before"),
        ("from = \"user:bob\"", "from = \"user:alice\"", "delegated twice"),
        ("days = [\"fri\"]", "days = [\"fri\"]\nstarts = \"2026-03-09T11:00:00Z\"", "a shift has"),
        ("kind = ", "extra = 1\nkind = ", "unknown field"),
    ] {
        assert!(ROSTER.contains(from), "{from}");
        let error = Roster::parse(&ROSTER.replacen(from, to, 1)).unwrap_err();
        assert!(error.contains(why), "{from} -> {to}: {error}");
    }
}

#[test]
fn a_file_is_called_like_its_group() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(Rosters::load(&folder.path().join("absent")).unwrap(), Rosters::default());
    std::fs::write(folder.path().join("sre.toml"), ROSTER).unwrap();
    let rosters = Rosters::load(folder.path()).unwrap();
    let names = |name: &str| [name.parse().unwrap()].into();
    let groups = rosters.groups_of(&names("user:alice"), "2026-03-09T09:00:00Z".parse().unwrap());
    assert_eq!(groups.iter().map(GroupName::as_str).collect::<Vec<_>>(), ["sre"]);
    assert!(
        rosters.groups_of(&names("user:alice"), "2026-03-09T20:00:00Z".parse().unwrap()).is_empty()
    );
    assert_eq!(rosters.ever_groups_of(&names("user:carol")).len(), 1);
    std::fs::rename(folder.path().join("sre.toml"), folder.path().join("dev.toml")).unwrap();
    let findings = Rosters::load(folder.path()).unwrap_err();
    assert!(findings[0].message.contains("`sre.toml`"), "{findings:?}");
}
