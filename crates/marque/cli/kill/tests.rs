use clap::Command;

use super::*;

fn takes(line: &[&str]) -> bool {
    let command = KillArgs::augment_args(Command::new("kill"));
    command.try_get_matches_from([&["kill"], line].concat()).is_ok()
}

#[test]
fn what_belongs_to_a_kill_is_refused_where_nobody_is_stopped() {
    for own in [&["--dry-run"][..], &["--mode", "drain"], &["--for", "2h"]] {
        assert!(takes(&[&["task", "t-1"], own].concat()), "{own:?}");
        for other in [&["confirm", "lift_1"][..], &["lift", "1"], &["drill"], &["list"]] {
            assert!(takes(other), "{other:?}");
            assert!(!takes(&[other, own].concat()), "{other:?} {own:?}");
        }
    }
    assert!(takes(&["confirm", "lift_1", "--yes"]));
    assert!(takes(&["list", "--as-person", "--issuer", "https://issuer.example.org"]));
    assert!(!takes(&["list", "--issuer", "https://issuer.example.org"]));
    assert!(takes(&["lift", "1", "--to", "drain", "--reason", "repaired"]));
    assert!(takes(&["all", "--yes", "--reason", "incident 7"]));
}
