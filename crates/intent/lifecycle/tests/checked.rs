//! What a post-check says of a report, beside the agent's own word.

use super::super::*;
use super::{agent, redeem};
use crate::fixtures::{approval, ask, at, grant_with, start};
use crate::post_check::PostCheck;

/// Reported at 80, with a post-check or without.
fn reported(outcome: Outcome, checked: bool) -> (Intent, Event) {
    let mut terms = grant_with(1, 1).terms().clone();
    let url = || "https://verify.example.org/ingress".parse().unwrap();
    terms.conditions.provisions.post_check = checked.then(url);
    let (intent, _) = Intent::open(Grant::seal(terms).unwrap(), None, ask(), start());
    let (intent, _) = intent.approve(&approval(&intent, 1000, at(60)), at(60)).unwrap();
    redeem(&intent, "a", at(70)).unwrap().0.complete(&agent(), outcome, at(80)).unwrap()
}

fn says(intent: &Intent, said: PostCheck) -> (Intent, Vec<Event>) {
    intent.apply(&IntentChange::PostCheck { said }, at(90)).unwrap()
}

#[test]
fn a_report_that_is_to_be_checked_is_no_success_before_it_was() {
    let (done, event) = reported(Outcome::Success, true);
    assert_eq!((done.state(), done.outcome()), (State::Completed, Some(Outcome::Unknown)));
    assert_eq!(done.post_check(), Some(PostCheck::Pending));
    assert_eq!(done.awaits_post_check().unwrap().as_str(), "https://verify.example.org/ingress");
    let told = ["outcome", "reported_outcome", "post_check"].map(|name| event.detail[name].clone());
    assert_eq!(told, ["unknown", "success", "pending"]);
    assert!(!done.lets_tokens_live(at(80)));
}

#[test]
fn what_a_post_check_says_stands_beside_the_report() {
    use Outcome::{Failure, Partial, Success, Unknown};
    for (report, said, outcome) in [
        (Success, PostCheck::Verified, Success),
        (Partial, PostCheck::Verified, Partial),
        (Failure, PostCheck::Verified, Failure),
        (Success, PostCheck::Failed, Failure),
        (Partial, PostCheck::Failed, Failure),
        (Success, PostCheck::Unreachable, Unknown),
        (Failure, PostCheck::Unreachable, Unknown),
    ] {
        let done = reported(report, true).0;
        let (checked, events) = says(&done, said);
        assert_eq!((checked.outcome(), checked.reported_outcome()), (Some(outcome), Some(report)));
        assert_eq!((checked.post_check(), checked.awaits_post_check()), (Some(said), None));
        assert_eq!((checked.state(), checked.changed_at()), (State::Completed, done.changed_at()));
        let [event] = &*events else { panic!("one event: {events:?}") };
        assert_eq!(event.kind, marque_audit::EventKind::IntentPostChecked);
        let told = ["outcome", "reported_outcome", "post_check"].map(|name| &event.detail[name]);
        assert_eq!(told, [outcome.as_str(), report.as_str(), said.as_str()]);
        // The first word stands, and the report is still the same report.
        for later in PostCheck::ALL {
            assert_eq!(says(&checked, later), (checked.clone(), Vec::new()));
        }
        let again = IntentChange::Complete { by: agent(), outcome: report, report: None };
        assert_eq!(checked.apply(&again, at(95)).unwrap(), (checked.clone(), Vec::new()));
    }
}

#[test]
fn nobody_says_anything_of_what_is_not_to_be_checked() {
    let (done, event) = reported(Outcome::Success, false);
    assert_eq!((done.outcome(), done.post_check()), (Some(Outcome::Success), None));
    assert!(!event.detail.contains_key("post_check"));
    assert!(!event.detail.contains_key("reported_outcome"));
    let change = IntentChange::PostCheck { said: PostCheck::Verified };
    assert_eq!(done.apply(&change, at(90)).unwrap_err().code(), DenialCode::InvalidRequest);
}
