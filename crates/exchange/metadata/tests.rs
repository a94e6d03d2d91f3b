//! The documents say what is so: each thing that is named is tried, and each that is not.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::{
    IssuerUrl, OAuthErrorCode, Presented,
    fixture::{ISSUER, Rig},
};

/// Everything off that can be off.
const NOTHING: Offers = Offers {
    dpop: false,
    mutual_tls: false,
    wit_client_authentication: false,
    deferred: false,
    ciba: false,
    jwt_introspection: false,
    token_status_list: false,
    transaction_tokens: false,
    identity_chaining: false,
    id_jag: false,
};

/// All on, all off, and each switch alone on and alone off.
fn offers() -> Vec<(&'static str, Offers)> {
    type Switch = fn(&mut Offers) -> &mut bool;
    let switches: [(&'static str, Switch); 10] = [
        ("dpop", |offers| &mut offers.dpop),
        ("mutual_tls", |offers| &mut offers.mutual_tls),
        ("wit_client_authentication", |offers| &mut offers.wit_client_authentication),
        ("deferred", |offers| &mut offers.deferred),
        ("ciba", |offers| &mut offers.ciba),
        ("jwt_introspection", |offers| &mut offers.jwt_introspection),
        ("token_status_list", |offers| &mut offers.token_status_list),
        ("transaction_tokens", |offers| &mut offers.transaction_tokens),
        ("identity_chaining", |offers| &mut offers.identity_chaining),
        ("id_jag", |offers| &mut offers.id_jag),
    ];
    let mut all = vec![("all", Offers::ALL), ("nothing", NOTHING)];
    for (name, switch) in switches {
        let (mut on, mut off) = (NOTHING, Offers::ALL);
        *switch(&mut on) = true;
        *switch(&mut off) = false;
        all.extend([(name, on), (name, off)]);
    }
    all
}

fn offering(offers: Offers) -> Rig {
    Rig::with(|config| config.offers = offers, |_| {})
}

fn strings(value: &Value) -> BTreeSet<String> {
    let values = value.as_array().into_iter().flatten();
    values.map(|value| value.as_str().unwrap().to_owned()).collect()
}

#[test]
fn oauth_10_2_the_issuer_is_the_issuer_to_the_byte() {
    for issuer in [ISSUER, "https://issuer.example.org/prod/a"] {
        let rig = Rig::with(|config| config.issuer = issuer.parse().unwrap(), |_| {});
        assert_eq!(rig.service.metadata()["issuer"], issuer);
        assert_eq!(rig.service.openid_configuration()["issuer"], issuer);
        let text = rig.service.metadata()["issuer"].as_str().unwrap().to_owned();
        assert!(text.starts_with("https://") && !text.contains(['?', '#']));
    }
}

#[test]
fn oauth_10_3_no_array_is_empty_and_no_text_but_the_one_that_openid_wants() {
    for (name, offers) in offers() {
        let rig = offering(offers);
        for document in [rig.service.metadata(), rig.service.resource_metadata()] {
            for (member, value) in document.as_object().unwrap() {
                assert_ne!(value, &Value::Array(vec![]), "{name}: {member}");
                assert_ne!(value, "", "{name}: {member}");
                assert_ne!(value, &Value::Null, "{name}: {member}");
            }
        }
    }
}

#[test]
fn oauth_10_4_no_list_of_algorithms_has_none_or_a_symmetric_one() {
    let rig = offering(Offers::ALL);
    for document in [rig.service.metadata(), rig.service.openid_configuration()] {
        let lists = document.as_object().unwrap().iter();
        let lists: Vec<_> = lists.filter(|(member, _)| member.contains("_alg_values_")).collect();
        assert!(!lists.is_empty());
        for (member, value) in lists {
            for algorithm in strings(value) {
                let known = Algorithm::ALL.iter().any(|known| known.as_str() == algorithm);
                assert!(known && algorithm != "none" && !algorithm.starts_with("HS"), "{member}");
            }
        }
    }
}

#[test]
fn oauth_10_8_response_types_are_there_without_an_authorization_endpoint() {
    let rig = offering(NOTHING);
    assert_eq!(rig.service.metadata()["response_types_supported"], serde_json::json!(["none"]));
    assert!(rig.service.metadata().get("authorization_endpoint").is_none());
}

#[test]
fn oauth_10_9_openid_discovery_has_the_form_that_cloud_providers_take() {
    let rig = Rig::new();
    let document = rig.service.openid_configuration();
    assert_eq!(
        document,
        serde_json::json!({
            "issuer": ISSUER,
            "jwks_uri": rig.service.metadata()["jwks_uri"],
            "authorization_endpoint": "",
            "token_endpoint": rig.service.metadata()["token_endpoint"],
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    );
}

#[test]
fn oauth_10_10_the_intents_api_is_a_protected_resource_of_this_issuer() {
    for (issuer, url) in [
        (ISSUER.to_owned(), format!("{ISSUER}/.well-known/oauth-protected-resource/v1")),
        (
            "https://issuer.example.org/a".to_owned(),
            "https://issuer.example.org/.well-known/oauth-protected-resource/a/v1".to_owned(),
        ),
    ] {
        let issuer: IssuerUrl = issuer.parse().unwrap();
        let rig = Rig::with(|config| config.issuer = issuer.clone(), |_| {});
        let document = rig.service.resource_metadata();
        assert_eq!(document["resource"], issuer.join("/v1"));
        assert_eq!(document["authorization_servers"], serde_json::json!([issuer.as_str()]));
        assert_eq!(document["bearer_methods_supported"], serde_json::json!(["header"]));
        assert_eq!(TokenService::resource_metadata_url(&issuer), url);
    }
}

#[tokio::test]
async fn oauth_10_6_every_grant_type_that_is_named_is_accepted_and_no_other() {
    for (name, offers) in offers() {
        let rig = offering(offers);
        let named = strings(&rig.service.metadata()["grant_types_supported"]);
        assert!(named.contains(GRANT_TYPE_TOKEN_EXCHANGE));
        for grant_type in GRANT_TYPES {
            let fields = match grant_type {
                // A poll carries nothing of an exchange.
                GRANT_TYPE_DEFERRED | GRANT_TYPE_CIBA => crate::fixture::Fields::default()
                    .set("grant_type", grant_type)
                    .authenticated(&rig.svid())
                    .set("deferral_code", "x")
                    .set("auth_req_id", "x"),
                _ => rig.fields().set("grant_type", grant_type),
            };
            let code = rig.exchange(&fields).await.err().map(|error| error.code());
            let accepted = code != Some(OAuthErrorCode::UnsupportedGrantType);
            assert_eq!(accepted, named.contains(grant_type), "{name}: {grant_type}: {code:?}");
        }
        assert!(named.iter().all(|named| GRANT_TYPES.contains(&named.as_str())), "{named:?}");
    }
}

/// Every grant type that somebody may try.
const GRANT_TYPES: [&str; 12] = [
    GRANT_TYPE_TOKEN_EXCHANGE,
    "urn:ietf:params:oauth:grant-type:jwt-bearer",
    "urn:ietf:params:oauth:grant-type:saml2-bearer",
    GRANT_TYPE_DEFERRED,
    "urn:ietf:params:oauth:grant-type:device_code",
    "urn:ietf:params:oauth:grant-type:uma-ticket",
    GRANT_TYPE_CIBA,
    "authorization_code",
    "client_credentials",
    "implicit",
    "password",
    "refresh_token",
];

#[tokio::test]
async fn oauth_10_6_every_authentication_method_that_is_named_is_accepted_and_no_other() {
    let named = |rig: &Rig, endpoint: Endpoint| {
        let member = format!("{}_auth_methods_supported", endpoint.member());
        strings(&rig.service.metadata()[member])
    };
    for (name, offers) in offers() {
        let rig = offering(offers);
        for endpoint in Endpoint::offered(&offers).filter(|endpoint| endpoint.authenticates()) {
            assert_eq!(named(&rig, endpoint), named(&rig, Endpoint::Token), "{name}");
        }
        let methods = named(&rig, Endpoint::Token);
        let bare = || rig.fields().unauthenticated().set("client_id", rig.agent.as_str());
        let chain = rig.own.x509_svid(&rig.agent).chain;
        let peer = crate::PeerCertificate::from_chain(&chain);
        let over = Presented { peer, ..Presented::default() };
        assert!(methods.contains(ClientMethod::JWT_SVID), "{name}");
        let by_certificate = rig.exchange_with(&bare(), over).await;
        assert_eq!(by_certificate.is_ok(), methods.contains(ClientMethod::X509_SVID), "{name}");
        for never in ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"] {
            assert!(!methods.contains(never), "{name}: {never}");
        }
        let error = rig.exchange(&bare().set("client_secret", "x")).await.unwrap_err();
        assert_eq!(error.code(), OAuthErrorCode::InvalidClient, "{name}");
    }
}

#[test]
fn oauth_10_7_a_switch_takes_all_that_it_stands_for_out_of_the_document() {
    let members = |offers: Offers| -> BTreeSet<String> {
        offering(offers).service.metadata().as_object().unwrap().keys().cloned().collect()
    };
    let all = members(Offers::ALL);
    assert!(all.contains("tls_client_certificate_bound_access_tokens"));
    let without = members(Offers { mutual_tls: false, ..Offers::ALL });
    assert_eq!(
        all.difference(&without).collect::<Vec<_>>(),
        ["tls_client_certificate_bound_access_tokens"]
    );
    let without = members(Offers { wit_client_authentication: false, ..Offers::ALL });
    assert_eq!(
        all.difference(&without).collect::<Vec<_>>(),
        [
            "challenge_endpoint",
            "client_attestation_pop_signing_alg_values_supported",
            "client_attestation_signing_alg_values_supported",
        ]
    );
    let without = members(Offers { jwt_introspection: false, ..Offers::ALL });
    assert_eq!(
        all.difference(&without).collect::<Vec<_>>(),
        ["introspection_signing_alg_values_supported"]
    );
    let plain = members(NOTHING);
    assert!(plain.is_subset(&all) && plain.len() < all.len());
}
