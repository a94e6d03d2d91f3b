//! `testdata/wit-vectors.json`: WIT-SVIDs and the two proofs by their keys, good ones and one for each rule that can be
//! broken, by the name of the error. A library that is not ours signed them.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use marque_spiffe::{Bundle, UnverifiedWitSvid, WitSvid};
use serde::Deserialize;
use serde_json::Value;

use crate::{ShownProof, UnverifiedAttestationProof, UnverifiedWorkloadProof};

#[derive(Deserialize)]
struct Vectors {
    trust_domain: String,
    issuer: String,
    target: String,
    bundle: Value,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    kind: Kind,
    name: String,
    wit: String,
    #[serde(default)]
    proof: String,
    now: i64,
    expect: String,
}

#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// The WIT-SVID by itself.
    Wit,
    /// A Workload Proof Token.
    Wpt,
    /// The proof beside a client attestation.
    Pop,
}

impl Vectors {
    fn read() -> Self {
        serde_json::from_str(include_str!("../../testdata/wit-vectors.json")).unwrap()
    }

    fn bundle(&self) -> Arc<Bundle> {
        let document = self.bundle.to_string();
        let name = self.trust_domain.parse().unwrap();
        Arc::new(Bundle::parse(name, document.as_bytes()).unwrap())
    }

    /// `valid`, or the name of the error.
    fn outcome(&self, case: &Case) -> String {
        let now = Timestamp::from_second(case.now).unwrap();
        let wit = UnverifiedWitSvid::parse(&case.wit)
            .and_then(|wit| wit.verify(&self.bundle(), now))
            .map_err(|error| format!("{error:?}"));
        let outcome = wit.and_then(|wit| match case.kind {
            Kind::Wit => Ok(()),
            Kind::Wpt | Kind::Pop => self.proof(case, &wit, now).map(drop),
        });
        outcome.err().unwrap_or_else(|| "valid".to_owned())
    }

    fn proof(&self, case: &Case, wit: &WitSvid, now: Timestamp) -> Result<ShownProof, String> {
        let none = SignedDuration::ZERO;
        let shown = match case.kind {
            Kind::Pop => UnverifiedAttestationProof::parse(&case.proof)
                .and_then(|proof| proof.verify(wit, &self.issuer, now, none)),
            Kind::Wit | Kind::Wpt => UnverifiedWorkloadProof::parse(&case.proof)
                .and_then(|proof| proof.verify(wit, &case.wit, &self.target, now, none)),
        };
        shown.map_err(|error| format!("{error:?}"))
    }
}

#[test]
fn oauth_5_every_vector_of_wit_svids_and_proofs_is_taken_or_refused_for_its_reason() {
    let vectors = Vectors::read();
    let mut wrong = Vec::new();
    for case in &vectors.cases {
        let found = vectors.outcome(case);
        // The name of the variant ends where its contents begin.
        let name = found.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        if !case.expect.split('|').any(|expected| expected == name) {
            wrong.push(format!(
                "{:?} {}: expected {}, found {found}",
                case.kind, case.name, case.expect
            ));
        }
        assert_eq!(case.name.starts_with("valid"), case.expect == "valid", "{}", case.name);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for kind in [Kind::Wit, Kind::Wpt, Kind::Pop] {
        let of_kind = vectors.cases.iter().filter(|case| case.kind == kind);
        assert!(of_kind.count() >= 30, "{kind:?}: cases were lost");
    }
}

#[test]
fn oauth_5_no_vector_verifies_once_any_character_of_its_signature_is_another() {
    let vectors = Vectors::read();
    for case in vectors.cases.iter().filter(|case| case.expect == "valid") {
        let token = if case.kind == Kind::Wit { &case.wit } else { &case.proof };
        let begins = token.rfind('.').unwrap() + 1;
        for at in (begins..token.len()).step_by(9) {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            let (wit, proof) = match case.kind {
                Kind::Wit => (changed, String::new()),
                Kind::Wpt | Kind::Pop => (case.wit.clone(), changed),
            };
            let case = Case { wit, proof, name: String::new(), expect: String::new(), ..*case };
            assert!(vectors.outcome(&case).starts_with("Jws"), "{at} of {token}");
        }
    }
}
