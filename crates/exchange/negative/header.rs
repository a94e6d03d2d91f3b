//! What a token says of itself before its claims: algorithm, key, type, form.

use marque_jose::{PublicKey, Signer as _, base64url};
use marque_spiffe::{Bundle, UnverifiedJwtSvid};
use marque_testkit::{START, ScratchSigner};
use serde_json::{Value, json};

use super::{Forge, signed};
use crate::fixture::ISSUER;

/// Header and payload with this signature.
fn with_signature(token: &str, signature: &[u8]) -> String {
    let (input, _) = token.rsplit_once('.').unwrap();
    format!("{input}.{}", base64url::encode(signature))
}

#[tokio::test]
async fn oauth_21_alg_none() {
    let forge = Forge::new();
    for name in ["none", "None", "NONE", "NoNe", "noNE", "", " none", "nonE\0"] {
        let token = forge.with_header("alg", json!(name));
        forge.refuses(name, &token).await;
        forge.refuses(name, &with_signature(&token, b"")).await;
    }
    for value in [Value::Null, json!(["ES256"]), json!(0), json!({})] {
        forge.refuses("alg of another type", &forge.with_header("alg", value)).await;
    }
    let claims = forge.claims().to_string();
    forge.refuses("no alg", &forge.svid(r#"{"kid":"scratch-jwt-1","typ":"JWT"}"#, &claims)).await;
}

/// What stands before the point of a P-256 key in its DER (RFC 5480).
const SPKI_P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Every form in which somebody could take the public key for a secret.
fn public_forms(key: &PublicKey) -> Vec<Vec<u8>> {
    let point = key.point().unwrap().to_vec();
    let jwk = Value::from(key.to_jwk()).to_string();
    let mut der = SPKI_P256.to_vec();
    der.extend_from_slice(&point);
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        base64url::encode(&der)
    );
    vec![Vec::new(), point[1..].to_vec(), point, jwk.into_bytes(), der, pem.into_bytes()]
}

#[tokio::test]
async fn oauth_21_hmac_with_public_key() {
    use ring::hmac;
    let forge = Forge::new();
    let key = forge.rig.own.signer().public_key().clone();
    for (alg, algorithm) in
        [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)]
    {
        let token = forge.with_header("alg", json!(alg));
        let (input, _) = token.rsplit_once('.').unwrap();
        for secret in public_forms(&key) {
            let tag = hmac::sign(&hmac::Key::new(algorithm, &secret), input.as_bytes());
            forge.refuses(alg, &with_signature(&token, tag.as_ref())).await;
        }
    }
}

#[tokio::test]
async fn oauth_21_alg_of_another_key() {
    let forge = Forge::new();
    for alg in ["RS256", "PS256", "ES384", "ES512", "ES256K", "EdDSA", "Ed25519", "es256"] {
        forge.refuses(alg, &forge.with_header("alg", json!(alg))).await;
    }
    // The other way round: a bundle whose key of that name is of RSA.
    let rsa = json!({
        "kty": "RSA", "use": "jwt-svid", "kid": "scratch-jwt-1", "e": "AQAB",
        "n": base64url::encode([vec![0xC5; 255], vec![0x01]].concat()),
    });
    let document = json!({ "keys": [rsa] }).to_string();
    let name = forge.rig.own.trust_domain().clone();
    let bundle = Bundle::parse(name, document.as_bytes()).unwrap();
    assert_eq!(bundle.jwt_authorities().len(), 1);
    let svid = UnverifiedJwtSvid::parse(&forge.rig.svid()).unwrap();
    assert!(svid.verify(&bundle, ISSUER, START).is_err());
}

/// A bundle with this key for JWT-SVIDs.
fn bundle_of(forge: &Forge, key: &Value) -> Bundle {
    let document = json!({ "keys": [key] }).to_string();
    Bundle::parse(forge.rig.own.trust_domain().clone(), document.as_bytes()).unwrap()
}

#[tokio::test]
async fn oauth_21_jwk_without_alg() {
    let forge = Forge::new();
    let mut key: Value = forge.rig.own.signer().public_key().to_jwk().into();
    key["use"] = json!("jwt-svid");
    key["kid"] = json!("scratch-jwt-1");
    assert!(key.get("alg").is_none());
    let bundle = bundle_of(&forge, &key);
    let verify =
        |token: &str| UnverifiedJwtSvid::parse(token).ok()?.verify(&bundle, ISSUER, START).ok();
    assert!(verify(&forge.rig.svid()).is_some(), "the algorithm follows from the type of the key");
    for alg in ["HS256", "none", "RS256", "ES384"] {
        assert!(verify(&forge.with_header("alg", json!(alg))).is_none(), "{alg}");
    }
    // A secret is no key of a bundle, with or without an algorithm.
    for secret in [
        json!({"kty": "oct", "use": "jwt-svid", "kid": "scratch-jwt-1", "k": ""}),
        json!({"kty": "oct", "use": "jwt-svid", "kid": "scratch-jwt-1", "k": "eA", "alg": "HS256"}),
    ] {
        assert!(bundle_of(&forge, &secret).jwt_authorities().is_empty());
    }
}

#[tokio::test]
async fn oauth_21_zero_signature() {
    let forge = Forge::new();
    let good = forge.rig.svid();
    let one = [vec![0; 31], vec![1], vec![0; 32]].concat();
    for signature in [vec![0; 64], vec![0; 32], vec![0; 96], one, vec![0xff; 64], Vec::new()] {
        forge.refuses("zeros", &with_signature(&good, &signature)).await;
    }
    let ed = with_signature(&forge.with_header("alg", json!("EdDSA")), &[0; 64]);
    forge.refuses("an Ed25519 signature of zeros", &ed).await;
}

#[tokio::test]
async fn oauth_21_kid_path() {
    let forge = Forge::new();
    for kid in
        ["../../dev/null", "/dev/null", "file:///etc/passwd", "..\\..\\x", "scratch-jwt-1/../x"]
    {
        forge.refuses(kid, &forge.with_header("kid", json!(kid))).await;
    }
}

#[tokio::test]
async fn oauth_21_kid_sql() {
    let forge = Forge::new();
    for kid in ["' OR '1'='1", "x' UNION SELECT 'AA'; --", "scratch-jwt-1'--", "scratch-jwt-_", "%"]
    {
        forge.refuses(kid, &forge.with_header("kid", json!(kid))).await;
    }
}

#[tokio::test]
async fn oauth_21_kid_long() {
    let forge = Forge::new();
    for length in [257, 12_000, 1_000_000] {
        forge.refuses("long", &forge.with_header("kid", json!("k".repeat(length)))).await;
    }
    for kid in
        [json!(""), json!(1), Value::Null, json!("scratch-jwt-1\n"), json!("scratch-jwt-1\0")]
    {
        forge.refuses("no key id", &forge.with_header("kid", kid)).await;
    }
}

#[tokio::test]
async fn oauth_21_kid_twice() {
    let forge = Forge::new();
    let claims = forge.claims().to_string();
    for header in [
        r#"{"alg":"ES256","kid":"x","kid":"scratch-jwt-1","typ":"JWT"}"#,
        r#"{"alg":"ES256","kid":"scratch-jwt-1","kid":"scratch-jwt-1","typ":"JWT"}"#,
        r#"{"alg":"none","kid":"scratch-jwt-1","alg":"ES256","typ":"JWT"}"#,
        r#"{"alg":"ES256","k\u0069d":"scratch-jwt-1","kid":"x","typ":"JWT"}"#,
    ] {
        forge.refuses(header, &forge.svid(header, &claims)).await;
    }
}

#[tokio::test]
async fn oauth_21_key_in_header() {
    let forge = Forge::new();
    let thief = ScratchSigner::generate("thief");
    let jwk: Value = thief.public_key().to_jwk().into();
    for (member, value) in [
        ("jwk", jwk),
        ("jku", json!("https://attacker.example.org/jwks")),
        ("x5u", json!("https://attacker.example.org/chain")),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("AAAA")),
        ("x5t#S256", json!("AAAA")),
        ("iss", json!("https://attacker.example.org")),
    ] {
        // Signed by the thief, and, so that nobody may count on it being ignored, by the right key too.
        let mut header = Forge::header();
        header[member] = value.clone();
        for kid in ["thief", "scratch-jwt-1"] {
            header["kid"] = json!(kid);
            let token = signed(&header.to_string(), &forge.claims().to_string(), &thief);
            forge.refuses(member, &token).await;
        }
        forge.refuses(member, &forge.with_header(member, value)).await;
    }
}

#[tokio::test]
async fn oauth_21_crit() {
    let forge = Forge::new();
    for crit in [json!(["x"]), json!([]), json!(["exp"]), json!(["b64"]), json!("exp"), Value::Null]
    {
        forge.refuses("crit", &forge.with_header("crit", crit)).await;
    }
}

#[tokio::test]
async fn oauth_21_b64_false() {
    let forge = Forge::new();
    for value in [json!(false), json!(true), Value::Null] {
        forge.refuses("b64", &forge.with_header("b64", value)).await;
    }
    // A payload that is not encoded, as RFC 7797 has it.
    let header = r#"{"alg":"ES256","b64":false,"crit":["b64"],"kid":"scratch-jwt-1"}"#;
    let input = format!("{}.{}", base64url::encode(header), forge.claims());
    let signature = forge.rig.own.signer().sign(input.as_bytes()).unwrap();
    forge.refuses("a plain payload", &format!("{input}.{}", base64url::encode(signature))).await;
}

#[tokio::test]
async fn oauth_21_jwe() {
    let forge = Forge::new();
    let header = json!({ "alg": "RSA-OAEP", "enc": "A256GCM", "cty": "JWT", "zip": "DEF" });
    let part = |bytes: &[u8]| base64url::encode(bytes);
    let jwe = format!(
        "{}.{}.{}.{}.{}",
        part(header.to_string().as_bytes()),
        part(&[7; 256]),
        part(&[1; 12]),
        part(forge.claims().to_string().as_bytes()),
        part(&[2; 16])
    );
    forge.refuses("a JWE", &jwe).await;
    for (member, value) in [("enc", "A256GCM"), ("zip", "DEF"), ("cty", "JWT"), ("p2c", "1")] {
        forge.refuses(member, &forge.with_header(member, json!(value))).await;
    }
}

#[tokio::test]
async fn oauth_21_json_serialisation() {
    let forge = Forge::new();
    let good = forge.rig.svid();
    let parts: Vec<&str> = good.split('.').collect();
    let flat = json!({ "protected": parts[0], "payload": parts[1], "signature": parts[2] });
    let signatures = json!([{ "protected": parts[0], "signature": parts[2] }]);
    let general = json!({ "payload": parts[1], "signatures": signatures });
    for token in [
        flat.to_string(),
        general.to_string(),
        format!("\"{good}\""),
        format!("{{{good}}}"),
        format!("{{\"x\":\"{good}\"}}"),
        format!("[{good}]"),
    ] {
        forge.refuses("JSON", &token).await;
    }
}

#[tokio::test]
async fn oauth_21_five_parts() {
    let forge = Forge::new();
    let good = forge.rig.svid();
    let (input, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = input.split_once('.').unwrap();
    for token in [
        format!("{good}.a.b"),
        format!("{good}.{signature}"),
        format!("{good}."),
        format!(".{good}"),
        input.to_owned(),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        format!("{input}."),
        header.to_owned(),
    ] {
        forge.refuses("parts", &token).await;
    }
}

#[tokio::test]
async fn oauth_21_many_dots() {
    let forge = Forge::new();
    forge.refuses("dots", &".".repeat(10_000)).await;
    forge.refuses("a token and dots", &format!("{}{}", forge.rig.svid(), ".".repeat(10_000))).await;
}

#[tokio::test]
async fn oauth_21_trailing_newline() {
    let forge = Forge::new();
    let good = forge.rig.svid();
    let (input, signature) = good.rsplit_once('.').unwrap();
    for token in [
        format!("{good}\n"),
        format!("{good}\r\n"),
        format!("{good} "),
        format!(" {good}"),
        format!("\u{feff}{good}"),
        format!("{good}="),
        format!("{good}=="),
        format!("{input}.\n{signature}"),
        good.replacen('.', ".\t", 1),
        good.replace('_', "/").replace('-', "+") + "+",
    ] {
        forge.refuses("white space or padding", &token).await;
    }
}

#[tokio::test]
async fn oauth_21_typ() {
    let forge = Forge::new();
    for typ in [
        "at+jwt",
        "application/at+jwt",
        "wit+jwt",
        "dpop+jwt",
        "wpt+jwt",
        "oauth-client-attestation-pop+jwt",
        "txntoken+jwt",
        "secevent+jwt",
        "client-authentication+jwt+x",
        "",
    ] {
        forge.refuses(typ, &forge.with_header("typ", json!(typ))).await;
    }
    forge.refuses("typ of another type", &forge.with_header("typ", json!(["JWT"]))).await;
}

#[tokio::test]
async fn oauth_21_typ_of_an_access_token_is_demanded_of_one() {
    let forge = Forge::new();
    let token = forge.rig.exchange(&forge.rig.fields()).await.unwrap();
    let token = token.access_token().expose_token();
    let payload = token.split('.').nth(1).unwrap();
    let payload = String::from_utf8(base64url::decode(payload).unwrap()).unwrap();
    let signer = &*forge.rig.signer;
    let kid = signer.key_id().as_str();
    let answers = async |header: &Value| {
        let token = signed(&header.to_string(), &payload, signer);
        forge.rig.introspect(&forge.rig.svid(), &token).await.unwrap()["active"] == true
    };
    assert!(answers(&json!({ "alg": "ES256", "kid": kid, "typ": "at+jwt" })).await);
    assert!(!answers(&json!({ "alg": "ES256", "kid": kid })).await, "typ is missing");
    for typ in ["JWT", "wit+jwt", "txntoken+jwt", "token-introspection+jwt", "AT+JWT ", ""] {
        assert!(!answers(&json!({ "alg": "ES256", "kid": kid, "typ": typ })).await, "{typ}");
    }
}
