use super::*;
use crate::Event;
use crate::testing::{at, event, seal};

const NOW: u64 = 50;

fn kept(id: &str) -> KeptToken {
    KeptToken {
        id: id.to_owned(),
        intent: "int_1".to_owned(),
        derived: false,
        used: false,
        revoked: false,
        expires_at: at(100),
    }
}

fn issued(id: &str) -> Event {
    event(EventKind::TokenIssued, "int_1", 1).with_token_id(id).with_expires_at(at(100))
}

fn of(kind: EventKind, id: &str) -> Event {
    event(kind, "int_1", 2).with_token_id(id).with_actor("spiffe://prod.example.org/service/api")
}

fn compared(tokens: Vec<KeptToken>, counts: &[(&str, u64)], events: Vec<Event>) -> Vec<Mismatch> {
    let leaves = seal(events);
    let mut completeness = Completeness::new(leaves.len() as u64, at(NOW));
    tokens.into_iter().for_each(|token| completeness.keep(token));
    counts
        .iter()
        .for_each(|(emitter, count)| completeness.count(emitter, Period::default(), *count));
    leaves.iter().for_each(|leaf| completeness.record(leaf));
    completeness.finish().mismatches
}

fn kinds(mismatches: &[Mismatch]) -> Vec<&'static str> {
    mismatches.iter().map(Mismatch::kind).collect()
}

#[test]
fn a_store_and_a_log_of_the_same_history_fit() {
    let tokens = vec![
        kept("a"),
        KeptToken { used: true, ..kept("b") },
        KeptToken { revoked: true, ..kept("c") },
    ];
    let long_over = issued("pruned").with_expires_at(at(NOW));
    let events = vec![
        long_over,
        issued("a"),
        issued("b"),
        of(EventKind::TokenUsed, "b"),
        issued("c"),
        of(EventKind::TokenRevoked, "c"),
    ];
    assert_eq!(compared(tokens, &[("spiffe://prod.example.org/service/api", 1)], events), []);
}

#[test]
fn every_kind_of_mismatch_is_named() {
    let used = || of(EventKind::TokenUsed, "a");
    let revoked = || of(EventKind::TokenRevoked, "a");
    for (token, events, expected) in [
        (Some(kept("a")), vec![], "token_without_record"),
        (
            Some(KeptToken { intent: "int_2".to_owned(), ..kept("a") }),
            vec![issued("a")],
            "token_differs",
        ),
        (Some(KeptToken { expires_at: at(101), ..kept("a") }), vec![issued("a")], "token_differs"),
        (Some(KeptToken { derived: true, ..kept("a") }), vec![issued("a")], "token_differs"),
        (Some(kept("a")), vec![issued("a"), issued("a")], "token_given_twice"),
        (None, vec![issued("a").with_expires_at(at(NOW + 1))], "record_without_token"),
        (Some(KeptToken { used: true, ..kept("a") }), vec![issued("a")], "use_without_record"),
        (Some(kept("a")), vec![issued("a"), used()], "record_without_use"),
        (
            Some(KeptToken { revoked: true, ..kept("a") }),
            vec![issued("a")],
            "revocation_without_record",
        ),
        (Some(kept("a")), vec![issued("a"), revoked()], "record_without_revocation"),
    ] {
        let found = compared(token.into_iter().collect(), &[], events);
        assert_eq!(kinds(&found), [expected], "{found:?}");
        assert_eq!(serde_json::to_value(&found[0]).unwrap()["code"], expected);
    }
}

#[test]
fn counts_of_emitters_are_held_against_their_records() {
    let api = "spiffe://prod.example.org/service/api";
    let tokens = || vec![KeptToken { used: true, ..kept("a") }];
    let events = || vec![issued("a"), of(EventKind::TokenUsed, "a")];
    assert_eq!(
        compared(tokens(), &[(api, 1), ("spiffe://prod.example.org/service/idle", 0)], events()),
        []
    );
    for (emitter, counted, recorded) in
        [(api, 2, 1), ("spiffe://prod.example.org/service/idle", 1, 0)]
    {
        let found = compared(tokens(), &[(emitter, counted)], events());
        let emitter = emitter.to_owned();
        assert_eq!(
            found,
            [Mismatch::CountDiffers { emitter, period: Period::default(), counted, recorded }]
        );
    }
    assert_eq!(compared(tokens(), &[(api, 0), (api, 1)], events()), []);
}

#[test]
fn what_happened_after_the_store_was_asked_is_no_mismatch_and_a_hole_is_one() {
    let leaves = seal(vec![issued("a"), issued("b"), of(EventKind::TokenUsed, "a")]);
    let mut completeness = Completeness::new(1, at(NOW));
    completeness.keep(kept("a"));
    leaves.iter().for_each(|leaf| completeness.record(leaf));
    assert_eq!(completeness.finish().mismatches, []);
    let mut completeness = Completeness::new(0, at(NOW));
    completeness.record(&leaves[0]);
    completeness.record(&leaves[2]);
    assert_eq!(completeness.finish().mismatches, [Mismatch::Gap { expected: 1, found: 2 }]);
}

#[test]
fn uses_of_a_period_are_those_from_its_first_instant_to_before_its_end() {
    let used = |second| {
        event(EventKind::TokenUsed, "int_1", second).with_actor("gateway").with_token_id("tok_1")
    };
    let leaves = seal(vec![used(10), used(20), used(30)]);
    let recorded = |since: Option<u64>, until: Option<u64>| {
        let period = Period { since: since.map(at), until: until.map(at) };
        let mut completeness = Completeness::new(3, at(60));
        completeness.count("gateway", period, 100);
        leaves.iter().for_each(|leaf| completeness.record(leaf));
        let found = completeness.finish().mismatches;
        let told = found.iter().find_map(|one| match one {
            Mismatch::CountDiffers { recorded, period: told, .. } if *told == period => {
                Some(*recorded)
            }
            _ => None,
        });
        told.unwrap()
    };
    assert_eq!(recorded(None, None), 3);
    assert_eq!((recorded(Some(20), None), recorded(Some(21), None)), (2, 1));
    assert_eq!((recorded(None, Some(20)), recorded(None, Some(21))), (1, 2));
    assert_eq!((recorded(Some(20), Some(30)), recorded(Some(30), Some(20))), (1, 0));
    let period = Period { since: Some(at(20)), until: Some(at(30)) };
    let told = Mismatch::CountDiffers { emitter: "g".into(), period, counted: 2, recorded: 1 };
    let (since, until) = (at(20), at(30));
    assert_eq!(
        told.to_string(),
        format!("`g` counted 2 uses since {since} until {until}, 1 have a record")
    );
}
