use serde_json::{Value, json};

use super::*;
use crate::fixtures::{
    AGENT, PLAYBOOK, approved, at, circumstances, good_request, grant, request, requester,
};
use crate::lifecycle::{TokenFacts, Use};
use crate::{Playbook, resolve};

/// The grant of the fixtures with other members; a path goes into objects.
fn with(members: &[(&str, Value)]) -> Grant {
    let mut terms = serde_json::to_value(grant().terms()).unwrap();
    for (path, value) in members {
        let mut place = &mut terms;
        for name in path.split('.') {
            place = &mut place[name];
        }
        *place = value.clone();
    }
    serde_json::from_value(terms).unwrap()
}

fn window(hour: u32) -> Value {
    window_of(hour, "1h")
}

fn window_of(hour: u32, length: &str) -> Value {
    let rrule = format!("FREQ=WEEKLY;BYDAY=TU;BYHOUR={hour}");
    json!({"rrule": rrule, "tz": "Europe/Berlin", "duration": length})
}

/// What the request of the fixtures is given where the clocks of its playbook are these.
fn resolved(clocks: &[(&str, &str)]) -> Grant {
    let edited = clocks.iter().fold(PLAYBOOK.to_owned(), |text, (name, value)| {
        let is_it = |line: &&str| line.starts_with(&format!("{name} = "));
        let line = text.lines().find(is_it).expect(name).to_owned();
        text.replace(&line, &format!("{name} = \"{value}\""))
    });
    let playbook = Playbook::parse(&edited).unwrap();
    resolve(&playbook, &request(&good_request()), &requester(AGENT), circumstances()).unwrap()
}

fn emergency(name: &str, value: &Value) -> Value {
    let mut emergency = json!({
        "responders": ["group:incident", "operator:alice"],
        "alert": "log",
        "post_review_within_s": 3600,
        "cooldown_s": 600,
        "max_per_day": 2,
        "alert_above": 3,
    });
    emergency[name] = value.clone();
    emergency
}

/// For each member one value that is more than the other.
#[test]
fn m_72_a_grant_is_more_where_the_playbook_became_stricter() {
    let persons = |rule: Value| json!({"required": false, "persons": [rule]});
    let corp = |members: Value| {
        let mut rule = json!({"issuer": "corp"});
        rule.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        persons(rule)
    };
    let breaking = |name: &str, value: Value| emergency(name, &value);
    for (path, more, less) in [
        ("token_lifetime_s", json!(300), json!(299)),
        ("start_within_s", json!(900), json!(899)),
        ("max_duration_s", json!(600), json!(599)),
        ("uses", json!(2), json!(1)),
        ("single_use_tokens", json!(false), json!(true)),
        ("limits", json!({}), json!({"max_calls": 3})),
        ("delegators", corp(json!({"everybody": true})), corp(json!({"subjects": ["alice"]}))),
        ("delegators", corp(json!({"groups": ["a", "b"]})), corp(json!({"groups": ["a"]}))),
        (
            "delegators",
            corp(json!({"subjects": ["alice", "bob"]})),
            corp(json!({"subjects": ["alice"], "groups": ["bob"]})),
        ),
        ("delegators", corp(json!({"subjects": ["a"]})), Value::Null),
        (
            "delegators",
            corp(json!({"subjects": ["a"]})),
            json!({"required": true, "persons": [{"issuer": "corp", "subjects": ["a"]}]}),
        ),
        (
            "delegators",
            persons(json!({"issuer": "corp", "subjects": ["a"]})),
            persons(json!({"issuer": "partner", "subjects": ["a"]})),
        ),
        ("conditions.windows", json!([]), json!([window(9)])),
        ("conditions.windows", json!([window(9), window(10)]), json!([window(9)])),
        ("conditions.windows", json!([window_of(9, "2h")]), json!([window(9)])),
        ("conditions.blackouts", json!([]), json!(["change-freeze"])),
        ("conditions.ends", json!({}), json!({"idle_timeout_s": 60})),
        ("conditions.ends", json!({"idle_timeout_s": 61}), json!({"idle_timeout_s": 60})),
        ("conditions.ends", json!({}), json!({"with_agent": true})),
        ("conditions.ends", json!({}), json!({"with_parent": true})),
        ("conditions.ends", json!({"report_within_s": 61}), json!({"report_within_s": 60})),
        ("conditions.ends", json!({}), json!({"report_within_s": 60})),
        ("conditions.provisions", json!({}), json!({"logging": {"require": ["session"]}})),
        ("conditions.provisions", json!({}), json!({"logging": {"prompt": "hash"}})),
        ("conditions.ticket", Value::Null, json!({"system": "itsm", "states": ["approved"]})),
        (
            "conditions.ticket",
            json!({"system": "itsm", "states": ["approved", "new"]}),
            json!({"system": "itsm", "states": ["approved"]}),
        ),
        (
            "conditions.ticket",
            json!({"system": "itsm", "states": ["approved"]}),
            json!({"system": "itsm", "states": ["approved"], "bind": ["service"]}),
        ),
        (
            "conditions.ticket",
            json!({"system": "itsm", "states": ["approved"]}),
            json!({"system": "itsm", "states": ["approved"], "revoke_on_close": true}),
        ),
        (
            "conditions.ticket",
            json!({"system": "other", "states": ["approved"]}),
            json!({"system": "itsm", "states": ["approved"]}),
        ),
        (
            "emergency",
            breaking("alert_above", json!(3)),
            breaking("responders", json!(["group:incident"])),
        ),
        (
            "emergency",
            breaking("post_review_within_s", json!(7200)),
            breaking("post_review_within_s", json!(3600)),
        ),
        ("emergency", breaking("cooldown_s", json!(60)), breaking("cooldown_s", json!(600))),
        ("emergency", breaking("max_per_day", json!(3)), breaking("max_per_day", json!(2))),
    ] {
        let (more, less) = (with(&[(path, more)]), with(&[(path, less)]));
        let told = more.fits_in(&less, false, false).expect_err(path);
        assert_eq!(told.code(), DenialCode::ExceedsPlaybookCeiling, "{path}");
        more.fits_in(&more, true, false).expect(path);
        if path != "delegators" && path != "conditions.ticket" {
            less.fits_in(&more, true, false).expect(path);
        }
    }
    let (plain, breaking) = (grant(), with(&[("emergency", emergency("max_per_day", &json!(1)))]));
    assert!(
        plain.fits_in(&breaking, false, false).is_err()
            && breaking.fits_in(&plain, false, false).is_err()
    );
}

#[test]
fn an_approval_under_fewer_demands_counts_no_more_where_a_person_has_to_approve() {
    let rule = |approve: u32, groups: &[&str]| json!({"approve": approve, "groups": groups});
    let one = with(&[("approval", rule(1, &["operators"]))]);
    let level = |rule: Value| json!({"any": [rule]});
    for stricter in [
        rule(2, &["operators"]),
        json!({"levels": [level(rule(1, &["operators"])), level(rule(1, &["leads"]))]}),
        json!({"levels": [level(rule(1, &["operators"]))], "exclude": ["agent_owner"]}),
        json!({"levels": [level(rule(1, &["operators"]))], "mfa": true}),
        rule(1, &["leads"]),
    ] {
        let now = with(&[("approval", stricter.clone())]);
        assert!(one.fits_in(&now, true, false).is_err(), "{stricter}");
        one.fits_in(&now, false, false).expect("nobody has to approve it");
    }
    one.fits_in(&with(&[("approval", rule(1, &["operators", "leads"]))]), true, false).unwrap();
}

#[test]
fn less_time_to_be_approved_takes_nothing_from_what_was_approved() {
    let now = resolved(&[("request_ttl", "10m")]);
    assert!(now.not_after < grant().not_after);
    approved(1).fits_in(&now, false).unwrap();
    let more = resolved(&[("request_ttl", "10m"), ("max_duration", "9m")]);
    let told = approved(1).fits_in(&more, false).unwrap_err();
    assert!(told.detail().contains("how long it lasts"), "{told:?}");
}

#[test]
fn when_a_first_use_may_be_counts_until_there_was_one() {
    let clocks = |max_duration: u32| {
        let sooner = json!(at(1800 + 300 + 600));
        let length = json!(max_duration);
        with(&[
            ("uses", json!(2)),
            ("start_within_s", json!(300)),
            ("max_duration_s", length),
            ("not_after", sooner),
        ])
    };
    let (waiting, now) = (approved(2), clocks(600));
    let told = waiting.fits_in(&now, false).unwrap_err();
    assert!(told.detail().contains("its first use"), "{told:?}");
    let wanted = Use {
        agent: waiting.agent(),
        grant_digest: waiting.grant().digest(),
        token_id: "a",
        token_expires_at: at(71),
        facts: TokenFacts::default(),
        epoch: 0,
    };
    let (used, _) = waiting.redeem(&wanted, at(70)).unwrap();
    used.fits_in(&now, false).unwrap();
    let told = used.fits_in(&clocks(599), false).unwrap_err();
    assert!(told.detail().contains("how long it lasts"), "{told:?}");
}

#[test]
fn what_was_given_under_an_exception_ends_with_it() {
    let exception = |end: &str| {
        json!({
            "id": "week-9", "digest": grant().digest(), "owner": "group:example", "reason": "a move",
            "expires_at": end, "relaxes": {},
        })
    };
    let under =
        |end: &str| with(&[("conditions.provisions", json!({ "exception": exception(end) }))]);
    let (late, soon) = (under("2026-03-20T09:00:00Z"), under("2026-03-10T09:20:00Z"));
    late.fits_in(&late, true, false).unwrap();
    let told = late.fits_in(&soon, true, false).unwrap_err();
    assert!(told.detail().contains("not_after"), "{told:?}");
}
