use serde_json::json;

use super::*;
use crate::{UnverifiedJws, sign_compact};

fn members(jwk: &PrivateJwk) -> Value {
    serde_json::from_str(jwk.expose_json()).unwrap()
}

fn read(jwk: &Value) -> Result<HolderKey, HolderKeyError> {
    HolderKey::from_private_jwk(&PrivateJwk::from_string(jwk.to_string()))
}

#[test]
fn a_new_key_is_written_as_a_private_jwk_named_by_its_thumbprint() {
    let key = HolderKey::generate().unwrap();
    let jwk = members(&key.to_private_jwk());
    let mut names: Vec<_> = jwk.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["alg", "crv", "d", "kid", "kty", "x", "y"]);
    assert_eq!(
        (&jwk["kty"], &jwk["crv"], &jwk["alg"]),
        (&json!("EC"), &json!("P-256"), &json!("ES256"))
    );
    assert_eq!(jwk["kid"], base64url::encode(key.public_key().thumbprint()));
    assert_eq!(base64url::decode(jwk["d"].as_str().unwrap()).unwrap().len(), 32);
}

#[test]
fn what_a_key_read_back_signs_verifies_by_the_public_half_of_the_first() {
    let made = HolderKey::generate().unwrap();
    let read = HolderKey::from_private_jwk(&made.to_private_jwk()).unwrap();
    assert_eq!((read.key_id(), read.public_key()), (made.key_id(), made.public_key()));
    let token = sign_compact(None, &json!({"a": 1}), &read).unwrap();
    let jws = UnverifiedJws::parse(token.expose_token()).unwrap();
    jws.verify(made.public_key(), &[Algorithm::Es256]).unwrap();
}

#[test]
fn the_public_half_says_its_algorithm_and_nothing_private() {
    let key = HolderKey::generate().unwrap();
    let jwk = key.to_confirmation_jwk().to_value();
    let mut names: Vec<_> = jwk.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["alg", "crv", "kty", "x", "y"]);
}

#[test]
fn the_example_of_rfc_7517_reads_as_a_key_that_is_named_1() {
    // RFC 7517 appendix A.2, with the algorithm ES256 in place of the use `enc`.
    let key = read(&json!({
        "kty": "EC", "crv": "P-256", "kid": "1", "alg": "ES256",
        "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        "d": "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE",
    }))
    .unwrap();
    assert_eq!(key.key_id().as_str(), "1");
    let signature = key.sign(b"message").unwrap();
    assert!(key.public_key().verifies(Algorithm::Es256, b"message", &signature));
}

#[test]
fn a_key_whose_halves_do_not_belong_together_is_refused() {
    let (one, other) = (HolderKey::generate().unwrap(), HolderKey::generate().unwrap());
    let mut mixed = members(&one.to_private_jwk());
    mixed["d"] = members(&other.to_private_jwk())["d"].clone();
    assert!(matches!(read(&mixed), Err(HolderKeyError::Halves)));
    for scalar in [[0; 32], [0xff; 32]] {
        mixed["d"] = base64url::encode(scalar).into();
        assert!(matches!(read(&mixed), Err(HolderKeyError::Halves)), "{scalar:?}");
    }
}

#[test]
fn a_private_key_of_another_form_is_refused() {
    let good = members(&HolderKey::generate().unwrap().to_private_jwk());
    let with = |name: &str, value: Value| {
        let mut jwk = good.clone();
        jwk[name] = value;
        read(&jwk)
    };
    let mut public = good.clone();
    public.as_object_mut().unwrap().remove("d");
    assert!(matches!(read(&public), Err(HolderKeyError::Scalar)));
    for d in [json!(1), json!(null), json!(""), json!("AA"), json!("!"), json!("A".repeat(44))] {
        assert!(matches!(with("d", d.clone()), Err(HolderKeyError::Scalar)), "{d}");
    }
    for (name, value) in [
        ("kty", json!("RSA")),
        ("kty", json!("oct")),
        ("crv", json!("P-521")),
        ("alg", json!("ES384")),
        ("alg", json!("none")),
        ("use", json!("enc")),
        ("x", good["y"].clone()),
        ("kid", json!("")),
    ] {
        let refused = with(name, value.clone());
        assert!(matches!(refused, Err(HolderKeyError::Public(_))), "{name} {value}: {refused:?}");
    }
    for text in ["", "[]", r#"{"d":"a","d":"b"}"#, &format!("{{\"a\":\"{}\"}}", "a".repeat(4096))] {
        let refused = HolderKey::from_private_jwk(&PrivateJwk::from_string(text.to_owned()));
        assert!(matches!(refused, Err(HolderKeyError::Json(_))), "{text}");
    }
}

#[test]
fn neither_the_key_nor_an_error_about_it_prints_the_private_half() {
    let key = HolderKey::generate().unwrap();
    let private = key.to_private_jwk();
    let d = members(&private)["d"].as_str().unwrap().to_owned();
    for printed in [format!("{key:?}"), format!("{private:?}")] {
        assert!(!printed.contains(&d), "{printed}");
    }
    let mut broken = members(&private);
    broken["x"] = "AA".into();
    assert!(!format!("{:?}", read(&broken).unwrap_err()).contains(&d));
}
