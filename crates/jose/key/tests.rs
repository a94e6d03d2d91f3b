use serde_json::{Value, json};

use super::{KeyError, PublicKey};
use crate::{Jwk, JwkError, JwkSet, base64url};

/// The example of RFC 7638 section 3.1.
const RFC_7638_N: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";

fn p256() -> Value {
    json!({ "kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0" })
}

fn with(mut key: Value, member: &str, value: Value) -> Value {
    key[member] = value;
    key
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<PublicKey, KeyError> {
    PublicKey::from_jwk_value(
        &json!({ "kty": "RSA", "n": base64url::encode(modulus), "e": base64url::encode(exponent) }),
    )
}

#[test]
fn the_thumbprint_is_that_of_rfc_7638() {
    let jwk =
        json!({ "kty": "RSA", "n": RFC_7638_N, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29" });
    let key = PublicKey::from_jwk_value(&jwk).unwrap();
    assert_eq!(base64url::encode(key.thumbprint()), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
}

#[test]
fn a_key_reads_back_from_its_jwk_and_other_members_do_not_matter_to_it() {
    let key = PublicKey::from_jwk_value(&with(p256(), "ext", json!(true))).unwrap();
    assert_eq!(Value::Object(key.to_jwk()), p256());
    let point = key.point().unwrap().try_into().unwrap();
    assert_eq!(PublicKey::from_p256_point(&point).unwrap().thumbprint(), key.thumbprint());
}

#[test]
fn an_rsa_key_reads_from_the_form_of_pkcs_1_as_from_its_jwk() {
    let modulus = [0xff; 256];
    let der =
        [b"\x30\x82\x01\x0a\x02\x82\x01\x01\x00", &modulus[..], b"\x02\x03\x01\x00\x01"].concat();
    let key = PublicKey::from_rsa_public_key_der(&der).unwrap();
    assert_eq!(Ok(key), rsa(&modulus, &[1, 0, 1]));
    for length in 0..der.len() {
        assert_eq!(PublicKey::from_rsa_public_key_der(&der[..length]), Err(KeyError::Der));
    }
    let longer = [der.as_slice(), &[0]].concat();
    assert_eq!(PublicKey::from_rsa_public_key_der(&longer), Err(KeyError::Der));
}

#[test]
fn rsa_keys_have_2048_to_4096_bits() {
    let modulus = |bits: usize| {
        let mut modulus = vec![0xff; bits.div_ceil(8)];
        modulus[0] = 0xff >> (modulus.len() * 8 - bits);
        modulus
    };
    for bits in [2048, 2049, 3072, 4095, 4096] {
        assert!(rsa(&modulus(bits), &[1, 0, 1]).is_ok(), "{bits}");
    }
    for bits in [1, 512, 1024, 2047, 4097, 8192] {
        assert_eq!(rsa(&modulus(bits), &[1, 0, 1]), Err(KeyError::RsaSize { bits }));
    }
}

#[test]
fn rsa_numbers_are_odd_minimal_and_not_one() {
    let good = [0xff; 256];
    let mut even = good;
    even[255] = 0xfe;
    assert_eq!(rsa(&even, &[3]), Err(KeyError::RsaValue));
    assert_eq!(rsa(&good, &[1]), Err(KeyError::RsaValue));
    assert_eq!(rsa(&good, &[2]), Err(KeyError::RsaValue));
    assert_eq!(rsa(&good, &[]), Err(KeyError::Length("e")));
    assert_eq!(rsa(&good, &[0, 3]), Err(KeyError::Length("e")));
    assert_eq!(rsa(&good, &[1, 0, 0, 0, 1]), Err(KeyError::Length("e")));
    assert_eq!(rsa(&[&[0], &good[..]].concat(), &[3]), Err(KeyError::Length("n")));
    assert_eq!(rsa(&[], &[3]), Err(KeyError::Length("n")));
    assert!(rsa(&good, &[3]).is_ok());
}

#[test]
fn each_malformed_key_has_its_error() {
    let x48 = base64url::encode([1; 48]);
    for (jwk, error) in [
        (json!([]), KeyError::NotAnObject),
        (json!({}), KeyError::Member("kty")),
        (with(p256(), "kty", json!(1)), KeyError::Member("kty")),
        (with(p256(), "kty", json!("ec")), KeyError::Unsupported { kind: "ec".to_owned() }),
        (with(p256(), "crv", json!("P-521")), KeyError::Unsupported { kind: "P-521".to_owned() }),
        (with(p256(), "crv", json!("p-256")), KeyError::Unsupported { kind: "p-256".to_owned() }),
        (with(p256(), "x", json!(null)), KeyError::Member("x")),
        (with(p256(), "x", json!("")), KeyError::Length("x")),
        (with(p256(), "x", json!(x48)), KeyError::Length("x")),
        (
            with(p256(), "y", json!("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0=")),
            KeyError::Encoding("y"),
        ),
        (
            with(p256(), "y", json!("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a1")),
            KeyError::Encoding("y"),
        ),
        (with(p256(), "y", json!(base64url::encode([0; 32]))), KeyError::NotOnCurve),
        (with(p256(), "d", json!("AA")), KeyError::Private("d")),
        (with(p256(), "k", json!("AA")), KeyError::Private("k")),
    ] {
        assert_eq!(PublicKey::from_jwk_value(&jwk), Err(error), "{jwk}");
    }
}

#[test]
fn a_subject_public_key_info_is_read_strictly() {
    let point = PublicKey::from_jwk_value(&p256()).unwrap().point().unwrap().to_vec();
    let header = hex::decode("3059301306072a8648ce3d020106082a8648ce3d030107034200").unwrap();
    let good = [header.as_slice(), &point].concat();
    assert_eq!(PublicKey::from_spki_der(&good), PublicKey::from_jwk_value(&p256()));
    assert_eq!(PublicKey::from_spki_der(&good).unwrap().to_spki_der(), good);
    for length in 0..good.len() {
        assert_eq!(PublicKey::from_spki_der(&good[..length]), Err(KeyError::Der), "{length}");
    }
    assert_eq!(PublicKey::from_spki_der(&[good.as_slice(), &[0]].concat()), Err(KeyError::Der));
    // The same in long form, where the short form of a length is due.
    let long = [&[0x30, 0x81, 0x59], &good[2..]].concat();
    assert_eq!(PublicKey::from_spki_der(&long), Err(KeyError::Der));
    // Compressed points, and points of the other curve's length.
    let compressed = [
        &hex::decode("3039301306072a8648ce3d020106082a8648ce3d030107032200").unwrap()[..],
        &[2],
        &point[1..33],
    ]
    .concat();
    assert_eq!(PublicKey::from_spki_der(&compressed), Err(KeyError::Length("point")));
    // Ed25519.
    let edwards = [&hex::decode("302a300506032b6570032100").unwrap()[..], &[1; 32]].concat();
    assert!(matches!(PublicKey::from_spki_der(&edwards), Err(KeyError::Unsupported { .. })));
}

#[test]
fn an_rsa_subject_public_key_info_reads_as_its_jwk() {
    let modulus = base64url::decode(RFC_7638_N).unwrap();
    let prefix =
        hex::decode("30820122300d06092a864886f70d01010105000382010f003082010a0282010100").unwrap();
    let der = [&prefix[..], &modulus, &[2, 3, 1, 0, 1]].concat();
    assert_eq!(PublicKey::from_spki_der(&der), rsa(&modulus, &[1, 0, 1]));
    assert_eq!(PublicKey::from_spki_der(&der).unwrap().to_spki_der(), der);
    // A negative exponent.
    let der = [&prefix[..], &modulus, &[2, 3, 0x81, 0, 1]].concat();
    assert_eq!(PublicKey::from_spki_der(&der), Err(KeyError::Der));
}

#[test]
fn a_jwk_reads_back_with_all_its_members() {
    let value = with(
        with(with(p256(), "kid", json!("k1")), "use", json!("jwt-svid")),
        "alg",
        json!("ES256"),
    );
    let jwk = Jwk::parse(&value).unwrap();
    assert_eq!(
        (jwk.kid.as_ref().unwrap().as_str(), jwk.key_use.as_deref()),
        ("k1", Some("jwt-svid"))
    );
    assert_eq!(jwk.to_value(), value);
    let ours = Jwk::for_signatures(jwk.key, "k2".parse().unwrap());
    assert_eq!(
        (ours.to_value()["use"].as_str(), ours.to_value()["alg"].as_str()),
        (Some("sig"), Some("ES256"))
    );
}

#[test]
fn each_malformed_jwk_has_its_error() {
    let error = |member, value| Jwk::parse(&with(p256(), member, value)).unwrap_err();
    assert!(matches!(error("kid", json!(1)), JwkError::Type("kid")));
    assert!(matches!(error("kid", json!("")), JwkError::KeyId(_)));
    assert!(matches!(error("use", json!(null)), JwkError::Type("use")));
    assert!(matches!(error("use", json!("enc")), JwkError::NotForVerification));
    assert!(matches!(error("alg", json!("none")), JwkError::Algorithm(_)));
    assert!(matches!(error("alg", json!("RS256")), JwkError::AlgorithmMismatch(_)));
    assert!(matches!(error("alg", json!(["ES256"])), JwkError::Type("alg")));
    assert!(matches!(error("key_ops", json!("verify")), JwkError::Type("key_ops")));
    assert!(matches!(error("key_ops", json!(["encrypt"])), JwkError::NotForVerification));
    assert!(Jwk::parse(&with(p256(), "key_ops", json!(["verify", "x"]))).is_ok());
}

fn set(keys: &[Value]) -> Result<JwkSet, JwkError> {
    JwkSet::parse(json!({ "keys": keys, "more": 1 }).to_string().as_bytes())
}

#[test]
fn a_set_skips_what_is_not_supported_and_refuses_what_is_malformed() {
    let named = |kid: &str| with(p256(), "kid", json!(kid));
    let skipped = [
        json!({ "kty": "OKP", "crv": "Ed25519", "x": "AA" }),
        json!({ "kty": "oct", "k": "AA" }),
        json!({ "kty": "EC", "crv": "P-521", "x": "AA", "y": "AA" }),
        with(p256(), "alg", json!("ECDH-ES")),
        with(p256(), "use", json!("enc")),
        json!({ "kty": "RSA", "n": "_w", "e": "AQAB" }),
    ];
    let read = set(&[&skipped[..], &[named("k1"), named("k2"), p256(), p256()]].concat()).unwrap();
    assert_eq!(read.keys.len(), 4);
    assert!(
        read.find(&"k2".parse().unwrap()).is_some() && read.find(&"k3".parse().unwrap()).is_none()
    );
    assert_eq!(JwkSet::parse(read.to_value().to_string().as_bytes()).unwrap(), read);

    assert!(matches!(set(&[named("k1"), named("k1")]), Err(JwkError::DuplicateKeyId(_))));
    assert!(matches!(
        set(&[with(p256(), "x", json!("AA"))]),
        Err(JwkError::Key(KeyError::Length("x")))
    ));
    assert!(matches!(
        set(&[with(p256(), "d", json!("AA"))]),
        Err(JwkError::Key(KeyError::Private("d")))
    ));
    assert!(set(&vec![p256(); 256]).is_ok());
    assert!(matches!(set(&vec![p256(); 257]), Err(JwkError::TooManyKeys)));
    assert!(matches!(JwkSet::parse(b"{}"), Err(JwkError::NoKeys)));
    assert!(matches!(JwkSet::parse(br#"{"keys":[],"keys":[]}"#), Err(JwkError::Json(_))));
}
