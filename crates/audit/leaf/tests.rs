use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::correlation::Correlation;
use crate::event::{PlaybookPin, PolicyPin};
use crate::testing::{agent, at, trust_domain};

fn sealed(event: Event) -> Leaf {
    Leaf::seal(event, &trust_domain(), 7, at(1)).unwrap()
}

fn approved() -> Event {
    Event::new(EventKind::IntentApproved, at(0))
        .with_agent(agent())
        .with_intent("int_1")
        .with_audience(["https://k8s.example.org"])
        .with_detail("risk", 12)
}

#[test]
fn a_leaf_is_a_canonical_cloud_event() {
    let expected = concat!(
        r#"{"data":{"agent":"spiffe://prod.example.org/agent/cert-rotator/a","audience":["https://k8s.example.org"],"#,
        r#""detail":{"risk":12},"intent":"int_1"},"datacontenttype":"application/json","id":"7","#,
        r#""recordedtime":"2026-05-28T20:26:41Z","sequence":"00000000000000000007","source":"spiffe://prod.example.org","#,
        r#""specversion":"1.0","subject":"int_1","time":"2026-05-28T20:26:40Z","type":"org.marque.intent.approved"}"#,
    );
    assert_eq!(String::from_utf8(sealed(approved()).bytes().to_vec()).unwrap(), expected);
}

#[test]
fn a_leaf_reads_back_as_what_was_sealed() {
    let leaf = sealed(approved());
    assert_eq!(Leaf::from_bytes(7, leaf.bytes().to_vec()).unwrap(), leaf);
    assert_eq!(leaf.hash(), Hash::of_leaf(leaf.bytes()));
}

#[test]
fn the_subject_is_the_intent_or_else_the_agent() {
    let text = |event| String::from_utf8(sealed(event).bytes().to_vec()).unwrap();
    let about_agent = text(Event::new(EventKind::SvidIssued, at(0)).with_agent(agent()));
    assert!(about_agent.contains(r#""subject":"spiffe://prod.example.org/agent/cert-rotator/a""#));
    assert!(!text(Event::new(EventKind::Kill, at(0))).contains("subject"));
}

#[test]
fn a_leaf_of_another_place_is_refused() {
    let bytes = sealed(approved()).bytes().to_vec();
    assert!(matches!(Leaf::from_bytes(8, bytes), Err(AuditError::Envelope { member: "sequence" })));
}

#[test]
fn any_other_spelling_of_the_same_leaf_is_refused() {
    let text = String::from_utf8(sealed(approved()).bytes().to_vec()).unwrap();
    for (from, to) in [
        (r#"{"data""#, r#"{ "data""#),
        (r#""risk":12"#, r#""risk":12.0"#),
        (r#""risk":12"#, r#""risk":11,"risk":12"#),
        (r#""id":"7""#, r#""id":"8""#),
        (r#""specversion":"1.0""#, r#""specversion":"1.1""#),
        (r#""subject":"int_1""#, r#""subject":"int_2""#),
        (r#""subject":"int_1","#, ""),
        (r#""intent":"int_1""#, r#""intent":"int_\u0031""#),
        (r#""intent":"int_1""#, r#""intent":"int_1","other":1"#),
        (r#""intent":"int_1""#, r#""intent":"int_1","time":"2026-05-28T20:26:40Z""#),
        (r#""intent":"int_1""#, r#""intent":"int_1","kind":"org.marque.intent.approved""#),
        ("org.marque.intent.approved", "org.marque.intent.unheard"),
        ("2026-05-28T20:26:40Z", "2026-05-28T20:26:40.0Z"),
        (
            r#""source":"spiffe://prod.example.org""#,
            r#""source":"spiffe://prod.example.org/agent""#,
        ),
    ] {
        let spoiled = text.replacen(from, to, 1);
        assert_ne!(spoiled, text, "{from}");
        assert!(Leaf::from_bytes(7, spoiled.into_bytes()).is_err(), "{from} → {to}");
    }
}

#[test]
fn a_leaf_may_have_65535_bytes_and_not_one_more() {
    let with = |length: usize| approved().with_detail("pad", "x".repeat(length));
    let room = MAX_LEAF_BYTES - sealed(with(0)).bytes().len();
    assert_eq!(sealed(with(room)).bytes().len(), MAX_LEAF_BYTES);
    let refused = Leaf::seal(with(room + 1), &trust_domain(), 7, at(1));
    assert!(matches!(refused, Err(AuditError::LeafTooLarge { length: 65_536 })), "{refused:?}");
    let read = Leaf::from_bytes(7, vec![b' '; MAX_LEAF_BYTES + 1]);
    assert!(matches!(read, Err(AuditError::LeafTooLarge { .. })));
}

/// An event that says everything that one can say.
fn everything(detail: Map<String, Value>) -> Event {
    let playbook = PlaybookPin { id: "p".to_owned(), version: 3, digest: "sha256:aa".to_owned() };
    let policy =
        PolicyPin { digest: "sha256:bb".to_owned(), rules: vec!["b".to_owned(), "a".to_owned()] };
    Event {
        detail,
        latency_us: Some(1_500),
        monotonic: Some(marque_spiffe::MonotonicTime { boot: [0xab; 16], micros: 12 }.into()),
        prev_checkpoint: Some(crate::PrevCheckpoint { root: Hash::of_empty_tree(), size: 0 }),
        ..approved()
            .with_playbook(playbook)
            .with_grant_digest("sha256:cc")
            .with_ticket("CHG-1")
            .with_actor("operator:alice(1000)")
            .with_denial("code", "class")
            .with_token_id("tok_1")
            .with_expires_at(at(9))
            .with_uses_left(2)
            .with_epoch(4)
            .with_policy(policy)
            .with_ticket_state("implement")
            .of_tenant("example")
            .of_request(&Correlation::begin([7; 16]))
    }
}

fn canonical(leaf: &Leaf) -> Vec<u8> {
    let value: Value = serde_json::from_slice(leaf.bytes()).unwrap();
    serde_json_canonicalizer::to_vec(&value).unwrap()
}

#[test]
fn a_leaf_that_says_everything_is_canonical() {
    // In UTF-16, which is what counts, the second name comes before the first.
    let detail =
        json!({"\u{fb33}": [{"b": 1, "a": null}], "\u{1f600}": "\u{7f}\u{1}\"\\/\n", "a": {}});
    let Value::Object(detail) = detail else { unreachable!() };
    let leaf = sealed(everything(detail));
    assert_eq!(String::from_utf8(canonical(&leaf)).unwrap(), str::from_utf8(leaf.bytes()).unwrap());
    assert_eq!(Leaf::from_bytes(7, leaf.bytes().to_vec()).unwrap(), leaf);
}

#[test]
fn a_number_that_json_cannot_keep_is_refused_at_any_depth() {
    for inexact in [json!(1_u64 << 53), json!(-(1_i64 << 53)), json!(1.5), json!(1.0)] {
        let event = approved().with_detail("deep", json!([{ "n": inexact }]));
        let refused = Leaf::seal(event, &trust_domain(), 7, at(1));
        assert!(matches!(refused, Err(AuditError::InexactNumber)));
    }
    let kept = approved().with_detail("deep", json!([{ "n": (1_u64 << 53) - 1 }]));
    let leaf = sealed(kept.clone());
    assert_eq!(Leaf::from_bytes(7, leaf.bytes().to_vec()).unwrap().event(), &kept);
}

#[test]
fn the_last_number_of_the_log_is_the_last() {
    let seal = |seq| Leaf::seal(approved(), &trust_domain(), seq, at(1));
    assert!(seal((1 << 53) - 1).is_ok());
    assert!(matches!(seal(1 << 53), Err(AuditError::Sequence(_))));
}

proptest! {
    #[test]
    fn one_flipped_bit_never_passes_for_the_same_leaf(byte in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let leaf = sealed(approved());
        let mut bytes = leaf.bytes().to_vec();
        let at = byte.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert_ne!(Hash::of_leaf(&bytes), leaf.hash());
        // Reading it may succeed (a letter may become another), but never as the same leaf.
        if let Ok(read) = Leaf::from_bytes(7, bytes) {
            prop_assert_ne!(read, leaf);
        }
    }

    #[test]
    fn any_text_in_the_detail_survives(name in ".{0,20}", value in ".{0,60}") {
        let event = approved().with_detail(name, value);
        let leaf = sealed(event.clone());
        let read = Leaf::from_bytes(7, leaf.bytes().to_vec()).unwrap();
        prop_assert_eq!(read.event(), &event);
        prop_assert_eq!(canonical(&leaf), leaf.bytes());
    }
}
