//! Exactly one method (RFC 6749 §2.3): whatever is mixed, halved, repeated or unknown is refused.

use super::{once, over};
use crate::{
    OAuthErrorCode::{self, InvalidClient, InvalidRequest},
    OneHeader, Presented,
    fixture::{Fields, Rig},
};

struct Case {
    name: &'static str,
    fields: Fields,
    presented: Presented,
    code: OAuthErrorCode,
}

fn cases(rig: &Rig) -> Vec<Case> {
    let chain = rig.own.x509_svid(&rig.agent).chain;
    let twice = || OneHeader::of([Some("x"), Some("x")].into_iter());
    let signed = || rig.fields();
    let bare = || rig.fields().unauthenticated();
    let named = || bare().set("client_id", rig.agent.as_str());
    let none = Presented::default;
    let attested = || Presented {
        client_attestation: once("x"),
        client_attestation_pop: once("x"),
        ..Presented::default()
    };
    let wimse = || Presented {
        workload_identity_token: once("x"),
        workload_proof_token: once("x"),
        ..Presented::default()
    };
    let basic = |presented: Presented| Presented { authorization: once("Basic eDp5"), ..presented };
    let case = |name, fields, presented, code| Case { name, fields, presented, code };
    vec![
        case("nothing", bare(), none(), InvalidClient),
        case("client_id_alone", named(), none(), InvalidClient),
        case("secret", named().set("client_secret", "x"), none(), InvalidClient),
        case("certificate_without_client_id", bare(), over(&chain), InvalidClient),
        case(
            "certificate_and_secret",
            named().set("client_secret", "x"),
            over(&chain),
            InvalidRequest,
        ),
        case("certificate_and_basic", named(), basic(over(&chain)), InvalidRequest),
        case("assertion_and_secret", signed().set("client_secret", "x"), none(), InvalidRequest),
        case("assertion_and_basic", signed(), basic(none()), InvalidRequest),
        case("assertion_and_attestation", signed(), attested(), InvalidRequest),
        case("assertion_and_wimse", signed(), wimse(), InvalidRequest),
        case("attestation_and_basic", bare(), basic(attested()), InvalidRequest),
        case(
            "attestation_and_secret",
            bare().set("client_secret", "x"),
            attested(),
            InvalidRequest,
        ),
        case("wimse_and_secret", bare().set("client_secret", "x"), wimse(), InvalidRequest),
        case(
            "attestation_and_wimse",
            bare(),
            Presented {
                workload_identity_token: once("x"),
                workload_proof_token: once("x"),
                ..attested()
            },
            InvalidRequest,
        ),
        case(
            "attestation_without_proof",
            bare(),
            Presented { client_attestation_pop: OneHeader::Absent, ..attested() },
            InvalidRequest,
        ),
        case(
            "proof_without_attestation",
            bare(),
            Presented { client_attestation: OneHeader::Absent, ..attested() },
            InvalidRequest,
        ),
        case(
            "two_attestations",
            bare(),
            Presented { client_attestation: twice(), ..attested() },
            InvalidRequest,
        ),
        case(
            "two_attestation_proofs",
            bare(),
            Presented { client_attestation_pop: twice(), ..attested() },
            InvalidRequest,
        ),
        case(
            "wit_as_bearer",
            bare(),
            Presented { workload_proof_token: OneHeader::Absent, ..wimse() },
            InvalidRequest,
        ),
        case(
            "two_wits",
            bare(),
            Presented { workload_identity_token: twice(), ..wimse() },
            InvalidRequest,
        ),
        case(
            "two_workload_proofs",
            bare(),
            Presented { workload_proof_token: twice(), ..wimse() },
            InvalidRequest,
        ),
        case("two_assertions", signed().add("client_assertion", "x"), none(), InvalidRequest),
        case(
            "assertion_without_type",
            signed().without("client_assertion_type"),
            none(),
            InvalidRequest,
        ),
        case(
            "type_without_assertion",
            signed().without("client_assertion"),
            none(),
            InvalidRequest,
        ),
        case(
            "assertion_of_rfc_7523",
            signed().set(
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ),
            none(),
            InvalidClient,
        ),
        case(
            "assertion_of_an_invented_type",
            signed()
                .set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:wit"),
            none(),
            InvalidClient,
        ),
    ]
}

#[tokio::test]
async fn oauth_1_6_a_client_authenticates_by_one_method_and_one_alone() {
    let rig = Rig::new();
    for Case { name, fields, presented, code } in cases(&rig) {
        let error = rig.exchange_with(&fields, presented).await.expect_err(name);
        assert_eq!(error.code(), code, "{name}");
        assert_eq!(error.http_status(), 400, "{name}");
    }
    assert!(rig.store.kept().tokens.is_empty());
    rig.exchange(&rig.fields()).await.unwrap();
}

#[tokio::test]
async fn oauth_1_6_a_certificate_beside_an_assertion_is_transport_and_no_second_method() {
    let rig = Rig::with(|_| {}, |terms| terms.uses = 2);
    let proxy = rig.own.x509_svid(&rig.own.id("/service/proxy")).chain;
    rig.exchange_with(&rig.fields(), over(&proxy)).await.unwrap();
    let fields = rig.fields().set("client_id", rig.agent.as_str());
    rig.exchange_with(&fields, over(&proxy)).await.unwrap();
}

#[tokio::test]
async fn what_is_switched_off_authenticates_nobody() {
    let rig = Rig::with(
        |config| {
            config.offers.mutual_tls = false;
            config.offers.wit_client_authentication = false;
        },
        |_| {},
    );
    let bare = rig.fields().unauthenticated();
    let chain = rig.own.x509_svid(&rig.agent).chain;
    let named = bare.clone().set("client_id", rig.agent.as_str());
    for (name, fields, presented) in [
        ("certificate", named, over(&chain)),
        (
            "attestation",
            bare.clone(),
            Presented {
                client_attestation: once("x"),
                client_attestation_pop: once("x"),
                ..Presented::default()
            },
        ),
        (
            "wimse",
            bare,
            Presented {
                workload_identity_token: once("x"),
                workload_proof_token: once("x"),
                ..Presented::default()
            },
        ),
    ] {
        let error = rig.exchange_with(&fields, presented).await.expect_err(name);
        assert_eq!(
            (error.code(), error.description()),
            (InvalidClient, "this method of client authentication is not offered"),
            "{name}"
        );
    }
}
