//! Forms are held against their schemas by clients of others, end to end; here is what holds for every kind and value.

use std::collections::BTreeSet;

use marque_spiffe::MonotonicTime;
use serde_json::Value;

use super::*;
use crate::testing::{agent, at, trust_domain};
use crate::{Correlation, Event, EventKind, Hash, PlaybookPin, PrevCheckpoint};

fn leaf(event: Event) -> Leaf {
    Leaf::seal(event, &trust_domain(), 7, at(9)).unwrap()
}

fn full(kind: EventKind) -> Event {
    Event::new(kind, at(8))
        .with_agent(agent())
        .with_intent("int_1")
        .with_playbook(PlaybookPin { id: "p".to_owned(), version: 1, digest: "d".to_owned() })
        .with_denial("kill_switch_agent", "stop")
        .with_token_id("tok_1")
        .with_detail("reason", "=1+1")
}

#[test]
fn every_kind_has_every_form_on_one_line_with_its_number_and_hash() {
    for kind in EventKind::ALL {
        for event in [full(kind), Event::new(kind, at(8))] {
            let leaf = leaf(event);
            for format in Format::ALL {
                let line = format.line(&leaf).unwrap();
                assert!(!line.contains('\n'), "{format}: {line}");
                assert!(line.contains('7'), "{format}: {line}");
                let hash = leaf.hash().to_string();
                assert!(line.contains(&hash) || format == Format::CloudEvents, "{format}: {line}");
            }
        }
    }
}

#[test]
fn every_form_says_what_the_log_knows_of_its_leaf() {
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let request = Correlation::begin([7; 16]).hinted(Some(&parent));
    let event = Event {
        latency_us: Some(81_234),
        monotonic: Some(MonotonicTime { boot: [0xab; 16], micros: 998_877 }.into()),
        prev_checkpoint: Some(PrevCheckpoint { root: Hash::of_leaf(b"r"), size: 4_711 }),
        ..full(EventKind::IntentApproved)
            .with_ticket_state("implementing")
            .of_tenant("of-the-grant")
            .of_request(&request)
    };
    let (leaf, root) = (leaf(event), Hash::of_leaf(b"r").to_string());
    let boot = "ab".repeat(16);
    let request = request.request.to_string();
    for format in Format::ALL {
        let line = format.line(&leaf).unwrap();
        for said in [
            "81234",
            "998877",
            "4711",
            "implementing",
            "of-the-grant",
            trace,
            &boot,
            &root,
            &request,
        ] {
            assert!(line.contains(said), "{format} says no {said}: {line}");
        }
    }
    let ocsf: Value = serde_json::from_str(&Format::Ocsf.line(&leaf).unwrap()).unwrap();
    assert_eq!(
        (&ocsf["duration"], &ocsf["metadata"]["tenant_uid"]),
        (&81.into(), &"of-the-grant".into())
    );
    let otlp: Value = serde_json::from_str(&Format::Otlp.line(&leaf).unwrap()).unwrap();
    assert_eq!(otlp["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]["traceId"], trace);
}

#[test]
fn an_event_of_the_form_is_the_leaf_without_its_frameworks() {
    let leaf = leaf(full(EventKind::Kill));
    let line = Format::CloudEvents.line(&leaf).unwrap();
    let mut event: serde_json::Map<String, Value> = serde_json::from_str(&line).unwrap();
    assert!(event.remove("frameworks").is_some());
    let canonical = serde_json_canonicalizer::to_vec(&event).unwrap();
    assert_eq!(canonical, leaf.bytes());
    assert_eq!(crate::Hash::of_leaf(&canonical), leaf.hash());
}

#[test]
fn no_value_of_a_line_begins_as_a_formula_does() {
    for formula in
        ["=cmd()", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "＋1", "－1", "＠1"]
    {
        let event =
            Event::new(EventKind::IntentDenied, at(8)).with_ticket(formula).with_actor(formula);
        let line = Format::Csv.line(&leaf(event)).unwrap();
        let mut reader =
            ::csv::ReaderBuilder::new().has_headers(false).from_reader(line.as_bytes());
        let record = reader.records().next().unwrap().unwrap();
        assert!(record.iter().any(|value| value == format!("'{formula}")), "{record:?}");
        for value in record.iter() {
            assert!(!value.starts_with(super::csv::FORMULA), "{value}");
        }
    }
}

#[test]
fn a_quote_or_a_comma_stays_in_its_value() {
    let event = Event::new(EventKind::IntentDenied, at(8)).with_ticket("a\",\"b\r\nc");
    let text =
        format!("{}{}\r\n", Format::Csv.header().unwrap(), Format::Csv.line(&leaf(event)).unwrap());
    let mut reader = ::csv::Reader::from_reader(text.as_bytes());
    let ticket = reader.headers().unwrap().iter().position(|name| name == "ticket").unwrap();
    let records: Vec<_> = reader.records().collect::<Result<_, _>>().unwrap();
    assert_eq!(records.len(), 1);
    assert_eq!(&records[0][ticket], "a\",\"b\r\nc");
}

#[test]
fn a_body_has_all_records() {
    let leaves = [leaf(full(EventKind::Kill)), leaf(full(EventKind::TokenIssued))];
    for format in Format::ALL {
        let (body, media_type) = format.body(&leaves).unwrap();
        assert!(body.matches("int_1").count() >= 2, "{format}: {body}");
        assert!(media_type.contains('/'));
    }
}

#[test]
fn a_form_reads_back_its_own_name() {
    for format in Format::ALL {
        assert_eq!(format.to_string().parse::<Format>(), Ok(format));
    }
    assert!("OCSF".parse::<Format>().is_err());
}

#[test]
fn every_kind_is_evidence_about_something_and_tags_are_unique() {
    let tags: Vec<_> = frameworks::controls().map(|control| control.tag).collect();
    assert_eq!(tags.iter().collect::<BTreeSet<_>>().len(), tags.len());
    for framework in frameworks::ALL {
        for control in framework.controls {
            assert!(control.tag.starts_with(&format!("{}:", framework.prefix)), "{}", control.tag);
        }
    }
    for kind in EventKind::ALL {
        assert!(!frameworks::tags(&Event::new(kind, at(8))).is_empty(), "{kind:?}");
    }
}

fn record(format: Format, event: Event) -> Value {
    serde_json::from_str(&format.line(&leaf(event)).unwrap()).unwrap()
}

#[test]
fn work_that_failed_is_no_success_in_any_form() {
    let told = |event: &Event| {
        let ocsf = record(Format::Ocsf, event.clone());
        let cadf = record(Format::Cadf, event.clone());
        let otlp = record(Format::Otlp, event.clone()).to_string();
        let word = ["success", "failure", "partial", "unknown"].into_iter().find(|word| {
            let value =
                format!("{{\"key\":\"event.outcome\",\"value\":{{\"stringValue\":\"{word}\"}}}}");
            otlp.contains(&value)
        });
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&ocsf["status"]), text(&cadf["outcome"]), word.unwrap_or_default())
    };
    let done = |outcome: &str| {
        Event::new(EventKind::IntentCompleted, at(8)).with_detail("outcome", outcome)
    };
    let checked = |said: &str| {
        Event::new(EventKind::IntentPostChecked, at(8))
            .with_detail("outcome", "success")
            .with_detail("post_check", said)
    };
    for (event, status, outcome, word) in [
        (done("success"), "Success", "success", "success"),
        (done("failure"), "Failure", "failure", "failure"),
        (done("partial"), "Partial", "failure", "partial"),
        (done("unknown"), "Unknown", "unknown", "unknown"),
        (checked("verified"), "Success", "success", "success"),
        (checked("failed"), "Failure", "failure", "failure"),
        (checked("unreachable"), "Unknown", "unknown", "unknown"),
    ] {
        let wanted = (status.to_owned(), outcome.to_owned(), word);
        assert_eq!(told(&event), wanted, "{event:?}");
    }
}

#[test]
fn an_actor_with_a_spiffe_id_is_a_workload_and_no_person() {
    let by = |actor: &str| {
        let event = Event::new(EventKind::TokenUsed, at(8)).with_actor(actor);
        let ocsf = record(Format::Ocsf, event.clone());
        let cadf = record(Format::Cadf, event);
        let (user, initiator) = (ocsf["actor"]["user"].clone(), cadf["initiator"].clone());
        (user["type"].clone(), user["domain"].clone(), initiator["typeURI"].clone())
    };
    assert_eq!(
        by("spiffe://dev.example.org/service/api"),
        (Value::from("Service"), Value::from("dev.example.org"), Value::from("data/workload/app"))
    );
    let person = (Value::from("User"), Value::Null, Value::from("data/security/account/user"));
    assert_eq!(by("user:alice"), person);
}

#[test]
fn a_request_that_ends_unapproved_takes_no_privilege_away() {
    let ended = |kind| Event::new(kind, at(8)).with_agent(agent());
    for (event, class, action) in [
        (ended(EventKind::IntentCancelled), 3005, "revoke"),
        (ended(EventKind::IntentCancelled).with_detail("approved", false), 6003, "stop"),
        (ended(EventKind::IntentExpired).with_detail("ended_for", "request_ttl"), 6003, "stop"),
        (ended(EventKind::IntentExpired).with_detail("ended_for", "not_after"), 3005, "revoke"),
    ] {
        assert_eq!(record(Format::Ocsf, event.clone())["class_uid"], class, "{event:?}");
        assert_eq!(record(Format::Cadf, event.clone())["action"], action, "{event:?}");
    }
}

#[test]
fn a_refusal_is_tagged_by_its_class() {
    let plain = Event::new(EventKind::TokenRefused, at(8));
    let crossing = plain.clone().with_denial("environment_boundary", "boundary");
    assert!(!frameworks::tags(&plain).contains(&"owasp-nhi:NHI8"));
    assert!(frameworks::tags(&crossing).contains(&"owasp-nhi:NHI8"));
}
