mod certificates;
mod chains;

use super::*;
use crate::OAuthErrorCode;

const K: Thumbprint = Thumbprint::new([1; 32]);
const OTHER: Thumbprint = Thumbprint::new([2; 32]);
const CERTIFICATE: Thumbprint = Thumbprint::new([3; 32]);
const NEXT_CERTIFICATE: Thumbprint = Thumbprint::new([4; 32]);

fn proofs(
    dpop: Option<Thumbprint>,
    certificate: Option<Thumbprint>,
    wit: Option<Thumbprint>,
) -> Proofs {
    let mut proofs = Proofs::default();
    (proofs.dpop, proofs.certificate, proofs.wit) = (dpop, certificate, wit);
    proofs
}

fn keys() -> Vec<Option<Thumbprint>> {
    vec![None, Some(K), Some(OTHER)]
}

/// Every subject, with every set of proofs, under every policy, for every holder.
fn every_case() -> Vec<(Option<Confirmation>, Proofs, bool, NewHolder)> {
    let subjects = [None, Some(Confirmation::Jkt(K)), Some(Confirmation::X5t(CERTIFICATE))];
    let mut cases = Vec::new();
    for subject in subjects {
        for dpop in keys() {
            for certificate in [None, Some(CERTIFICATE), Some(NEXT_CERTIFICATE)] {
                for wit in keys() {
                    for policy in [false, true] {
                        for holder in [
                            NewHolder::Client,
                            NewHolder::Other(None),
                            NewHolder::Other(Some(OTHER)),
                        ] {
                            cases.push((subject, proofs(dpop, certificate, wit), policy, holder));
                        }
                    }
                }
            }
        }
    }
    cases
}

fn answer(
    (subject, proofs, policy, holder): &(Option<Confirmation>, Proofs, bool, NewHolder),
) -> Option<Option<Confirmation>> {
    confirmation(subject.as_ref(), proofs, *policy, *holder).ok()
}

#[test]
fn oauth_2_16_what_derives_from_a_bound_token_is_bound() {
    for case in every_case() {
        let (subject, proofs, policy, _) = &case;
        let Some(bound) = answer(&case) else { continue };
        let asked = subject.is_some() || proofs.dpop.is_some();
        assert!(bound.is_some() || !(asked || *policy), "{case:?}");
    }
}

#[test]
fn oauth_2_16_a_bound_token_without_its_key_is_refused_whoever_asks_for_whom() {
    for case in every_case() {
        let (subject, proofs, ..) = &case;
        let proven = match subject {
            None => continue,
            Some(Confirmation::Jkt(_)) => proofs.dpop == Some(K) || proofs.wit == Some(K),
            Some(Confirmation::X5t(_)) => proofs.certificate == Some(CERTIFICATE),
        };
        assert!(proven || answer(&case).is_none(), "{case:?}");
    }
}

#[test]
fn a_token_is_bound_to_nothing_that_its_holder_did_not_prove() {
    for case in every_case() {
        let (_, proofs, _, holder) = &case;
        let Some(Some(bound)) = answer(&case) else { continue };
        match holder {
            NewHolder::Client => assert!(proofs.prove(&bound), "{case:?}"),
            NewHolder::Other(key) => {
                assert_eq!(Some(bound), key.map(Confirmation::Jkt), "{case:?}")
            }
        }
    }
}

#[test]
fn the_rule_by_example() {
    let jkt = |key| Some(Some(Confirmation::Jkt(key)));
    let x5t = |certificate| Some(Some(Confirmation::X5t(certificate)));
    let (free, required) = (false, true);
    let (me, nameless, other) =
        (NewHolder::Client, NewHolder::Other(None), NewHolder::Other(Some(OTHER)));
    let (bound, certified) = (Some(Confirmation::Jkt(K)), Some(Confirmation::X5t(CERTIFICATE)));
    let nothing = || proofs(None, None, None);
    let dpop = || proofs(Some(K), None, None);
    let certificate = || proofs(None, Some(CERTIFICATE), None);
    let wit = || proofs(None, None, Some(K));
    for (name, case, expected) in [
        ("nothing proven, nothing needed", (None, nothing(), free, me), Some(None)),
        ("nothing proven, a binding needed", (None, nothing(), required, me), None),
        ("a DPoP proof", (None, dpop(), free, me), jkt(K)),
        ("a certificate", (None, certificate(), free, me), x5t(CERTIFICATE)),
        ("both", (None, proofs(Some(K), Some(CERTIFICATE), None), free, me), jkt(K)),
        ("a WIT-SVID alone binds nothing", (None, wit(), free, me), Some(None)),
        ("a WIT-SVID alone is no binding", (None, wit(), required, me), None),
        ("a bound subject with its key", (bound, dpop(), free, me), jkt(K)),
        ("a bound subject without", (bound, nothing(), free, me), None),
        (
            "a bound subject with another key",
            (bound, proofs(Some(OTHER), None, None), free, me),
            None,
        ),
        ("a bound subject with a certificate", (bound, certificate(), free, me), None),
        ("a bound subject with its key as WIT-SVID", (bound, wit(), free, me), jkt(K)),
        ("a certificate-bound subject", (certified, certificate(), free, me), x5t(CERTIFICATE)),
        (
            "after the certificate was renewed",
            (certified, proofs(None, Some(NEXT_CERTIFICATE), None), free, me),
            None,
        ),
        ("a certificate-bound subject with DPoP alone", (certified, dpop(), free, me), None),
        ("for another agent, unbound", (None, nothing(), free, nameless), Some(None)),
        ("for another agent, by its WIT-SVID", (None, nothing(), free, other), jkt(OTHER)),
        ("for another agent, a binding needed", (None, nothing(), required, nameless), None),
        ("for another agent, with a proof by the wrong one", (None, dpop(), free, nameless), None),
        ("a bound subject for another agent", (bound, dpop(), free, nameless), None),
        (
            "a bound subject for another agent by its WIT-SVID",
            (bound, dpop(), free, other),
            jkt(OTHER),
        ),
        (
            "a bound subject for another agent, key not proven",
            (bound, nothing(), free, other),
            None,
        ),
    ] {
        assert_eq!(answer(&case), expected, "{name}");
    }
}

#[test]
fn a_refusal_says_that_the_sender_is_not_the_holder() {
    let refusal =
        confirmation(Some(&Confirmation::Jkt(K)), &Proofs::default(), false, NewHolder::Client);
    let error = refusal.unwrap_err().into_error();
    assert_eq!(error.code(), OAuthErrorCode::InvalidRequest);
    assert_eq!(error.denial(), Some(DenialCode::SenderConstraintFailed));
}
