//! What a token endpoint is sent.

use std::str::from_utf8;

use marque_dpop::{HttpUri, MAX_JTI_BYTES, ProofRequest, UnverifiedProof};
use marque_exchange::{
    IntrospectionRequest, MAX_DETAILS_BYTES, MAX_DETAILS_DEPTH, MAX_FORM_BYTES, MAX_FORM_FIELDS,
    MAX_FORM_NAME_BYTES, MAX_FORM_VALUE_BYTES, OneHeader, Presented, TokenRequest,
    UnverifiedAttestationProof, UnverifiedWorkloadProof,
};
use marque_spiffe::{UnverifiedJwtSvid, UnverifiedWitSvid};
use serde_json::Value;

/// A proof that verifies is for the request that it was verified for, is remembered for as long as it is accepted, and keeps
/// its limits (RFC 9449 §4.3); a URI that is read is its own normal form.
pub(crate) fn dpop_proof(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    if let Ok(uri) = text.parse::<HttpUri>() {
        assert_eq!(uri.as_str().parse::<HttpUri>().as_ref(), Ok(&uri), "normal once is normal");
    }
    let uri = "https://server.example.com/token".parse().expect("a URI");
    let now = jiff::Timestamp::from_second(1_562_262_616).expect("a time");
    for access_token in [None, Some("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU")] {
        let Ok(proof) = UnverifiedProof::parse(text) else { return };
        assert!(!text.contains(','), "a list is no proof");
        let request = ProofRequest { method: "POST", uri: &uri, access_token, now };
        let Ok(proof) = proof.verify(&request) else { continue };
        assert!((1..=MAX_JTI_BYTES).contains(&proof.jti().len()));
        assert!(proof.accepted_until() >= now);
        let other = ProofRequest { method: "GET", ..request };
        let again = UnverifiedProof::parse(text).expect("what was read before");
        assert!(again.verify(&other).is_err(), "for one method alone");
    }
}

/// What came with a request whose client authenticates by headers alone.
fn by_headers() -> Presented {
    let header = |text| OneHeader::of(std::iter::once(Some(text)));
    Presented {
        workload_identity_token: header("a.b.c"),
        workload_proof_token: header("d.e.f"),
        ..Presented::default()
    }
}

/// A form that is accepted reads like that to another parser as well, and is within its limits (RFC 6749 §3.2).
pub(crate) fn form(bytes: &[u8]) {
    if IntrospectionRequest::parse(bytes, &by_headers()).is_err() {
        return;
    }
    assert!(bytes.len() <= MAX_FORM_BYTES);
    let fields: Vec<_> = form_urlencoded::parse(bytes).collect();
    assert!(fields.len() <= MAX_FORM_FIELDS);
    for (at, (name, value)) in fields.iter().enumerate() {
        assert!(name.len() <= MAX_FORM_NAME_BYTES && value.len() <= MAX_FORM_VALUE_BYTES);
        assert!(!fields.iter().skip(at + 1).any(|(other, _)| other == name), "`{name}` twice");
        assert!(!name.contains('\u{fffd}') || bytes.windows(9).any(|raw| raw == b"%EF%BF%BD"));
    }
    let tokens = fields.iter().filter(|(name, value)| name == "token" && !value.is_empty());
    assert_eq!(tokens.count(), 1, "it is about one token");
}

/// A token request is read or refused by a plain sentence, and prints no token (RFC 6749 §5.2).
pub(crate) fn token_request(bytes: &[u8]) {
    for presented in [Presented::default(), by_headers()] {
        match TokenRequest::parse(bytes, &presented) {
            Ok(request) => {
                let shown = format!("{request:?}");
                let secret = |name: &str| {
                    ["client_assertion", "subject_token", "actor_token", "assertion"]
                        .contains(&name)
                };
                for (name, value) in form_urlencoded::parse(bytes) {
                    let long = value.len() > 40 && secret(&name);
                    assert!(!long || !shown.contains(&*value), "`{name}` is printed");
                }
            }
            Err(error) => {
                let plain = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5B | 0x5D..=0x7E);
                assert!(error.description().bytes().all(plain));
                assert!([400, 401].contains(&error.http_status()), "{error}");
            }
        }
    }
}

/// `authorization_details` that are accepted are an array of objects with a type, within their limits, and are accepted
/// however they are spelled (RFC 9396 §2); what is refused is refused as what it is.
pub(crate) fn authorization_details(bytes: &[u8]) {
    let asked = |details: &[u8]| {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
            .append_pair("subject_token", "a.b.c")
            .append_pair("subject_token_type", "urn:ietf:params:oauth:token-type:jwt")
            .append_key_only("authorization_details")
            .finish();
        let details: String = form_urlencoded::byte_serialize(details).collect();
        TokenRequest::parse(format!("{form}={details}").as_bytes(), &by_headers())
    };
    if let Err(error) = asked(bytes) {
        let named = ["invalid_authorization_details", "invalid_request"];
        assert!(named.contains(&error.code().as_str()), "{error}");
        return;
    }
    // A parameter without a value is one that was not sent.
    if bytes.is_empty() {
        return;
    }
    assert!(bytes.len() <= MAX_DETAILS_BYTES);
    let value: Value = serde_json::from_slice(bytes).expect("JSON to another parser as well");
    let details = value.as_array().expect("an array");
    assert!(!details.is_empty() && depth(&value) <= MAX_DETAILS_DEPTH);
    assert!(details.iter().all(|detail| detail.get("type").is_some_and(Value::is_string)));
    let written = value.to_string();
    // A number may be longer when it is written out.
    assert!(written.len() > MAX_DETAILS_BYTES || asked(written.as_bytes()).is_ok(), "{written}");
}

/// How many arrays and objects are inside of one another.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or_default(),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}

/// A proof is of one kind, and never a token of another (draft-ietf-wimse-wpt).
pub(crate) fn workload_proof(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    if UnverifiedWorkloadProof::parse(text).is_err() {
        return;
    }
    assert_eq!(text.bytes().filter(|byte| *byte == b'.').count(), 2, "compact serialisation");
    assert!(UnverifiedAttestationProof::parse(text).is_err());
    assert!(UnverifiedWitSvid::parse(text).is_err() && UnverifiedJwtSvid::parse(text).is_err());
}

/// As above, for the proof beside a client attestation.
pub(crate) fn attestation_proof(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let Ok(proof) = UnverifiedAttestationProof::parse(text) else { return };
    assert!(proof.challenge().is_none_or(|challenge| challenge.len() < text.len()));
    assert!(UnverifiedWorkloadProof::parse(text).is_err());
    assert!(UnverifiedWitSvid::parse(text).is_err() && UnverifiedJwtSvid::parse(text).is_err());
}
