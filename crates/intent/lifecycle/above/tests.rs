use super::*;
use crate::fixtures::{approved, ask, at, grant_with, start};
use crate::{Grant, GrantTerms, Reason};

fn child(number: u8, parent: &Intent, uses: u32) -> Intent {
    let terms = GrantTerms {
        intent_id: format!("int_000000000000000000000000{number:02}").parse().unwrap(),
        agent: "spiffe://prod.example.org/agent/below".parse().unwrap(),
        parent: Some(ParentIntent::of(parent.grant())),
        ..grant_with(uses, 1).terms().clone()
    };
    Intent::open(Grant::seal(terms).unwrap(), None, ask(), at(61)).0
}

fn reason() -> Reason {
    Reason::new("over").unwrap()
}

#[test]
fn whoever_is_above_has_to_be_what_it_was_and_alive() {
    let parent = approved(3);
    let one = child(1, &parent, 1);
    let link = one.grant().parent.clone().unwrap();
    assert!(parent.holds_up(&link, at(61)).is_ok());
    let code = |intent: &Intent, link: &ParentIntent| {
        intent.holds_up(link, at(61)).map_err(|denial| denial.code())
    };
    let other = ParentIntent { digest: crate::Digest::of(b"other"), ..link.clone() };
    assert_eq!(code(&parent, &other), Err(DenialCode::ChainInvalid));
    let revoked = parent.revoke("operator", reason(), at(61)).unwrap().0;
    assert_eq!(code(&revoked, &link), Err(DenialCode::ChainInvalid));
    let pending = Intent::open(parent.grant().clone(), None, ask(), start()).0;
    assert_eq!(code(&pending, &link), Err(DenialCode::ChainInvalid));
}
