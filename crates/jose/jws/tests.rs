use proptest::prelude::*;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{JwsError, MAX_TOKEN_BYTES, UnverifiedJws};
use crate::{
    Algorithm, CompactToken, KeyId, NumericDate, PublicKey, SignError, Signer, base64url, present,
    sign_compact, sign_compact_within,
};

#[derive(Debug)]
struct Key {
    pair: EcdsaKeyPair,
    public: PublicKey,
    id: KeyId,
}

impl Key {
    fn generate() -> Self {
        let (random, algorithm) = (crate::tests::random(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
        let public =
            PublicKey::from_p256_point(&pair.public_key().as_ref().try_into().unwrap()).unwrap();
        Self { pair, public, id: "k1".parse().unwrap() }
    }
}

impl Signer for Key {
    fn algorithm(&self) -> Algorithm {
        Algorithm::Es256
    }

    fn key_id(&self) -> &KeyId {
        &self.id
    }

    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        Ok(self.pair.sign(&crate::tests::random(), message).unwrap().as_ref().to_vec())
    }
}

#[test]
fn what_was_signed_verifies_and_reads_as_its_type() {
    #[derive(Deserialize)]
    struct Claims {
        exp: NumericDate,
        #[serde(default, deserialize_with = "present")]
        nbf: Option<NumericDate>,
    }
    let key = Key::generate();
    let token = sign_compact(Some("at+jwt"), &json!({ "exp": 10 }), &key).unwrap();
    let unverified = UnverifiedJws::parse(token.expose_token()).unwrap();
    assert_eq!(unverified.header().kid(), Some(&key.id));
    assert_eq!(
        (unverified.header().typ(), unverified.header().other_members().len()),
        (Some("at+jwt"), 0)
    );
    let claims: Claims =
        unverified.verify(&key.public, &[Algorithm::Es256]).unwrap().into_claims().unwrap();
    assert_eq!((claims.exp.seconds(), claims.nbf), (10, None));

    for wrong in [
        json!({}),
        json!({ "exp": "10" }),
        json!({ "exp": 10, "nbf": null }),
        json!({ "exp": 10, "nbf": 1.5 }),
    ] {
        let token = sign_compact(None, &wrong, &key).unwrap();
        let verified = UnverifiedJws::parse(token.expose_token())
            .unwrap()
            .verify(&key.public, Algorithm::ALL)
            .unwrap();
        assert!(verified.into_claims::<Claims>().is_err(), "{wrong}");
    }
}

#[test]
fn one_byte_too_long_is_refused_before_anything_is_looked_at() {
    assert!(matches!(UnverifiedJws::parse(&"A".repeat(MAX_TOKEN_BYTES)), Err(JwsError::Parts)));
    assert!(matches!(
        UnverifiedJws::parse(&"A".repeat(MAX_TOKEN_BYTES + 1)),
        Err(JwsError::TooLong)
    ));
}

#[test]
fn a_document_may_be_longer_than_a_token_and_no_longer_than_its_reader_allows() {
    let key = Key::generate();
    let claims = json!({ "x": "y".repeat(MAX_TOKEN_BYTES) });
    assert!(sign_compact(None, &claims, &key).is_err());
    let document = sign_compact_within(None, &claims, &key, 2 * MAX_TOKEN_BYTES).unwrap();
    let text = document.expose_token();
    assert!(matches!(UnverifiedJws::parse(text), Err(JwsError::TooLong)));
    assert!(matches!(UnverifiedJws::parse_within(text, text.len() - 1), Err(JwsError::TooLong)));
    let read = UnverifiedJws::parse_within(text, text.len()).unwrap();
    assert!(read.verify(&key.public, &[Algorithm::Es256]).is_ok());
    assert!(sign_compact_within(None, &claims, &key, text.len() - 1).is_err());
}

#[test]
fn ten_thousand_dots_are_refused() {
    assert!(matches!(UnverifiedJws::parse(&".".repeat(10_000)), Err(JwsError::Parts)));
}

#[test]
fn a_token_that_would_be_too_long_is_not_signed() {
    let key = Key::generate();
    let of_length = |bytes| sign_compact(None, &json!({ "x": "y".repeat(bytes) }), &key);
    let token = of_length(12_100).unwrap();
    assert!(UnverifiedJws::parse(token.expose_token()).is_ok());
    assert!(of_length(12_300).is_err());
}

#[test]
fn a_token_holds_no_more_memory_than_it_has_bytes() {
    let token = sign_compact(Some("JWT"), &json!({ "sub": "x" }), &Key::generate()).unwrap();
    assert_eq!(token.capacity(), token.expose_token().len());
}

#[test]
fn an_error_about_a_claim_shows_a_bounded_part_of_it() {
    #[derive(Debug, Deserialize)]
    struct Claims {
        #[expect(dead_code, reason = "only its type matters")]
        exp: NumericDate,
    }
    let key = Key::generate();
    let claims = json!({ "exp": format!("x\n{}", "y".repeat(8000)) });
    let token = sign_compact(None, &claims, &key).unwrap();
    let verified = UnverifiedJws::parse(token.expose_token()).unwrap();
    let verified = verified.verify(&key.public, Algorithm::ALL).unwrap();
    let error = verified.into_claims::<Claims>().unwrap_err();
    let text = format!("{error} {error:?} {:?}", std::error::Error::source(&error));
    assert!(text.contains("invalid type: string") && !text.contains('\n'), "{text}");
    assert!(text.len() < 1024, "{}", text.len());
}

#[test]
fn neither_token_nor_claims_are_printed() {
    let key = Key::generate();
    let token = sign_compact(None, &json!({ "sub": "whose" }), &key).unwrap();
    let unverified = UnverifiedJws::parse(token.expose_token()).unwrap();
    let mut printed = format!("{token:?} {unverified:?}");
    printed += &format!("{:?}", unverified.verify(&key.public, Algorithm::ALL).unwrap());
    let signature = token.expose_token().rsplit('.').next().unwrap();
    assert!(
        !printed.contains("whose") && !printed.contains(signature) && !printed.contains("eyJ"),
        "{printed}"
    );
    assert_eq!(
        format!("{:?}", CompactToken::from_string("abc".to_owned())),
        "CompactToken(<3 bytes>)"
    );
}

#[test]
fn every_changed_byte_of_a_token_is_refused() {
    let key = Key::generate();
    let token = sign_compact(Some("JWT"), &json!({ "sub": "a" }), &key).unwrap();
    let token = token.expose_token();
    for index in 0..token.len() {
        for replacement in ["A", "B", ".", "=", "\n"] {
            let mut changed = token.to_owned();
            changed.replace_range(index..=index, replacement);
            let verified = UnverifiedJws::parse(&changed)
                .and_then(|token| token.verify(&key.public, &[Algorithm::Es256]));
            assert_eq!(verified.is_ok(), changed == token, "byte {index} as {replacement:?}");
        }
    }
    for length in 0..token.len() {
        let cut = UnverifiedJws::parse(token.get(..length).unwrap())
            .and_then(|cut| cut.verify(&key.public, &[Algorithm::Es256]));
        assert!(cut.is_err(), "{length} bytes");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "[A-Za-z0-9_.=-]{0,64}|.{0,64}") {
        drop(UnverifiedJws::parse(&text));
    }

    #[test]
    fn no_header_makes_the_parser_panic(header in r#"\{("(alg|kid|typ|crit|x)":("ES256"|"JWT"|1|null|\[\]),?){0,4}\}"#) {
        let token = format!("{}.e30.AA", base64url::encode(&header));
        if UnverifiedJws::parse(&token).is_ok() {
            let parsed: Value = serde_json::from_str(&header).unwrap();
            prop_assert_eq!(&parsed["alg"], "ES256");
            prop_assert!(parsed.get("crit").is_none());
        }
    }
}
