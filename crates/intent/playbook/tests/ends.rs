//! What ends a grant beside its clocks, and how many may be open.

use std::time::Duration;

use super::*;
use crate::fixtures::{circumstances, good_request, request, requester};
use crate::{Caps, EndingRules, resolve};

/// The shipped playbook with more in `[time]` and at its end.
fn with(time: &str, more: &str) -> String {
    PLAYBOOK.replacen("uses = 1\n", &format!("uses = 1\n{time}\n"), 1) + "\n" + more
}

#[test]
fn what_ends_a_grant_early_is_read_and_pinned() {
    let text = with(
        "idle_timeout = \"90s\"",
        "[liveness]\nagent = true\nparent = true\n[on_complete]\nreport_within = \"10m\"\n",
    );
    let playbook = Playbook::parse(&text).unwrap();
    let expected = EndingRules {
        idle_timeout: Some(Duration::from_secs(90)),
        with_agent: true,
        with_parent: true,
        report_within: Some(Duration::from_secs(600)),
    };
    assert_eq!(*playbook.ends(), expected);
    let asked = request(&good_request());
    let grant = resolve(&playbook, &asked, &requester(AGENT), circumstances()).unwrap();
    assert_eq!(grant.conditions.ends, expected);
    let shipped = Playbook::parse(PLAYBOOK).unwrap();
    let plain = resolve(&shipped, &asked, &requester(AGENT), circumstances()).unwrap();
    assert!(plain.conditions.ends.is_empty());
    assert_ne!(plain.digest(), grant.digest());
}

#[test]
fn who_is_asked_about_the_work_is_read_and_pinned() {
    let asked = request(&good_request());
    let given = |verify: &str| {
        let text = with("", &format!("[on_complete]\nverify = \"{verify}\"\n"));
        let playbook = Playbook::parse(&text).unwrap();
        resolve(&playbook, &asked, &requester(AGENT), circumstances()).unwrap()
    };
    for url in ["https://verify.example.org/ingress", "http://127.0.0.1:9000/check"] {
        let grant = given(url);
        assert_eq!(grant.conditions.provisions.post_check.as_ref().unwrap().as_str(), url);
    }
    let (one, other) = (given("https://a.example.org"), given("https://b.example.org"));
    assert_ne!(one.digest(), other.digest());
    let shipped = Playbook::parse(PLAYBOOK).unwrap();
    let plain = resolve(&shipped, &asked, &requester(AGENT), circumstances()).unwrap();
    assert_eq!(plain.conditions.provisions.post_check, None);
    assert_ne!(one.digest(), plain.digest());
}

#[test]
fn how_many_may_be_open_is_read() {
    let text = with("", "[concurrency]\nmax_open_per_agent = 2\nmax_open_per_target = 1\n");
    let caps = Caps { per_agent: Some(2), per_delegator: None, per_target: Some(1) };
    assert_eq!(*Playbook::parse(&text).unwrap().caps(), caps);
    assert_eq!(*Playbook::parse(PLAYBOOK).unwrap().caps(), Caps::default());
}

#[test]
fn an_ending_rule_that_says_nothing_or_too_much_is_refused() {
    for (time, more, because) in [
        ("idle_timeout = \"4s\"", "", "`time.idle_timeout`: is 5s to 86400s"),
        ("idle_timeout = \"soon\"", "", "`time.idle_timeout`: a duration"),
        ("", "[liveness]\n", "`liveness`: says nothing"),
        ("", "[liveness]\nagent = false\n", "`liveness`: says nothing"),
        ("", "[on_complete]\nreport_within = \"0s\"\n", "is 1s to 86400s"),
        ("", "[on_complete]\nreport_within = \"25h\"\n", "is 1s to 86400s"),
        (
            "",
            "[on_complete]\nverify = \"https://example.org/#a\"\n",
            "`on_complete.verify`: has a fragment",
        ),
        (
            "",
            "[on_complete]\nverify = \"http://example.org/\"\n",
            "`on_complete.verify`: is without TLS",
        ),
        ("", "[on_complete]\nverify = \"verify.example.org\"\n", "does not begin with https://"),
        ("", "[concurrency]\n", "`concurrency`: caps nothing"),
        ("", "[concurrency]\nmax_open_per_agent = 0\n", "is 1 to 10000"),
        ("", "[concurrency]\nmax_open_per_delegator = 10001\n", "is 1 to 10000"),
    ] {
        let found = errors(&with(time, more));
        assert!(found.iter().any(|error| error.contains(because)), "{time}{more}: {found:?}");
    }
}
