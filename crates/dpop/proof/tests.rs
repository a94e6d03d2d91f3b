use marque_jose::Signer as _;
use marque_testkit::{START, ScratchProof, ScratchSigner};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const URI: &str = "https://issuer.example.org:8443/oauth2/token";

fn verify_at(proof: &str, uri: &str, token: Option<&str>, now: Timestamp) -> Result<Proof, String> {
    let uri = uri.parse().unwrap();
    let request = ProofRequest { method: "POST", uri: &uri, access_token: token, now };
    let verified = UnverifiedProof::parse(proof).and_then(|proof| proof.verify(&request));
    // The name of the variant, and of what is inside of it.
    verified.map_err(|error| match error {
        ProofError::Jws(source) => name(&source),
        other => name(&other),
    })
}

fn name(error: &impl std::fmt::Debug) -> String {
    format!("{error:?}").chars().take_while(char::is_ascii_alphanumeric).collect()
}

fn verify(proof: &str) -> Result<Proof, String> {
    verify_at(proof, URI, None, START)
}

fn key() -> ScratchSigner {
    ScratchSigner::generate("dpop-1")
}

fn proof(key: &ScratchSigner) -> ScratchProof {
    ScratchProof::new(key, "POST", URI, START)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// RFC 9449 §4.1, §7.1 and §6.1: proofs by the key whose thumbprint is `0ZcOCORZ…`.
const RFC_TOKEN_PROOF: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
const RFC_RESOURCE_PROOF: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
const RFC_TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
const RFC_JKT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

#[test]
fn oauth_7_2_the_proofs_of_the_rfc_verify() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let proof =
        verify_at(RFC_TOKEN_PROOF, "https://server.example.com/token", None, at(1_562_262_620));
    assert_eq!(proof.unwrap().key().to_string(), RFC_JKT);
    let uri: HttpUri = "https://resource.example.org/protectedresource".parse().unwrap();
    let request = |token| ProofRequest {
        method: "GET",
        uri: &uri,
        access_token: Some(token),
        now: at(1_562_262_620),
    };
    let parsed = || UnverifiedProof::parse(RFC_RESOURCE_PROOF).unwrap();
    let proof = parsed().verify(&request(RFC_TOKEN)).unwrap();
    assert_eq!((proof.key().to_string().as_str(), proof.jti()), (RFC_JKT, "e1j3V_bKic8-LAEB"));
    let other = parsed().verify(&request("another")).unwrap_err();
    assert!(matches!(other, ProofError::AccessToken));
}

#[test]
fn a_proof_says_which_key_signed_which_request_when() {
    let key = key();
    let verified = verify(&proof(&key).claim("jti", "one").claim("nonce", "n").sign(&key)).unwrap();
    assert_eq!(*verified.key(), key.public_key().jkt());
    assert_eq!((verified.jti(), verified.nonce()), ("one", Some("n")));
    assert_eq!(verified.accepted_until(), START + MAX_PROOF_AGE);
}

/// Section 7's negative list, as far as one proof by itself goes.
#[test]
fn oauth_21_dpop_a_proof_with_anything_wrong_is_refused() {
    let (key, other) = (key(), key());
    let good = || proof(&key);
    let private = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let oct = json!({"kty": "oct", "k": private});
    let okp = json!({"kty": "OKP", "crv": "Ed25519", "x": private});
    let off_curve = |proof: ScratchProof| proof.jwk("y", private);
    for (name, proof, error) in [
        ("typ missing", good().header("typ", Value::Null), "Type"),
        ("typ wrong", good().header("typ", "JWT"), "Type"),
        ("typ in other case", good().header("typ", "DPoP+JWT"), "Type"),
        ("typ with prefix", good().header("typ", "application/dpop+jwt"), "Type"),
        ("typ no string", good().header("typ", 1), "MemberType"),
        ("alg none", good().header("alg", "none"), "Algorithm"),
        ("alg nOnE", good().header("alg", "nOnE"), "Algorithm"),
        ("alg HS256", good().header("alg", "HS256"), "Algorithm"),
        ("alg of another key", good().header("alg", "RS256"), "Signature"),
        ("alg missing", good().header("alg", Value::Null), "NoAlgorithm"),
        ("jwk missing", good().header("jwk", Value::Null), "NoKey"),
        ("jwk no object", good().header("jwk", "x"), "Key"),
        ("jwk symmetric", good().header("jwk", oct), "Key"),
        ("jwk of a type that is not supported", good().header("jwk", okp), "Key"),
        ("jwk with private d", good().jwk("d", private), "Key"),
        ("jwk with RSA private p", good().jwk("p", private), "Key"),
        ("jwk with symmetric k", good().jwk("k", private), "Key"),
        ("jwk with x5c", good().jwk("x5c", json!(["MII"])), "ForbiddenMember"),
        ("jwk with x5u", good().jwk("x5u", "https://a.example.org"), "ForbiddenMember"),
        ("jwk for encryption", good().jwk("use", "enc"), "Key"),
        ("jwk for another algorithm", good().jwk("alg", "ES384"), "Key"),
        ("jwk off the curve", off_curve(good()), "Key"),
        ("crit", good().header("crit", json!(["exp"])), "ForbiddenMember"),
        ("b64", good().header("b64", false), "ForbiddenMember"),
        ("x5c in the header", good().header("x5c", json!(["MII"])), "ForbiddenMember"),
        ("jku", good().header("jku", "https://a.example.org"), "ForbiddenMember"),
        ("jti missing", good().claim("jti", Value::Null), "Claims"),
        ("jti empty", good().claim("jti", ""), "Length"),
        ("jti too long", good().claim("jti", "x".repeat(MAX_JTI_BYTES + 1)), "Length"),
        ("jti no string", good().claim("jti", 1), "Claims"),
        ("nonce too long", good().claim("nonce", "x".repeat(MAX_NONCE_BYTES + 1)), "Length"),
        ("nonce no string", good().claim("nonce", 1), "Claims"),
        ("htm missing", good().claim("htm", Value::Null), "Claims"),
        ("htm of another method", good().claim("htm", "GET"), "Method"),
        ("htm in other case", good().claim("htm", "post"), "Method"),
        ("htu missing", good().claim("htu", Value::Null), "Claims"),
        ("htu of another host", uri(good(), "https://other.example.org:8443/oauth2/token"), "Uri"),
        ("htu of another port", uri(good(), "https://issuer.example.org/oauth2/token"), "Uri"),
        (
            "htu of another scheme",
            uri(good(), "http://issuer.example.org:8443/oauth2/token"),
            "Uri",
        ),
        (
            "htu of another path",
            uri(good(), "https://issuer.example.org:8443/oauth2/introspect"),
            "Uri",
        ),
        (
            "htu path in other case",
            uri(good(), "https://issuer.example.org:8443/OAuth2/token"),
            "Uri",
        ),
        ("htu with a trailing slash", uri(good(), &format!("{URI}/")), "Uri"),
        ("htu with a query", uri(good(), &format!("{URI}?x=1")), "MalformedUri"),
        ("htu with a fragment", uri(good(), &format!("{URI}#x")), "MalformedUri"),
        (
            "htu with user information",
            uri(good(), "https://a@issuer.example.org:8443/oauth2/token"),
            "MalformedUri",
        ),
        ("htu relative", uri(good(), "/oauth2/token"), "MalformedUri"),
        ("iat missing", good().claim("iat", Value::Null), "Claims"),
        ("iat a string", good().claim("iat", START.as_second().to_string()), "Claims"),
        ("iat a fraction", good().claim("iat", 1.5), "Claims"),
        ("iat negative", good().claim("iat", -1), "Claims"),
        ("iat one second too old", good().claim("iat", START.as_second() - 61), "TooOld"),
        ("iat one second too far ahead", good().claim("iat", START.as_second() + 11), "Future"),
        ("exp passed", good().claim("exp", START.as_second()), "TooOld"),
        ("exp a string", good().claim("exp", "9999999999"), "Claims"),
        ("nbf ahead", good().claim("nbf", START.as_second() + 11), "Future"),
    ] {
        assert_eq!(verify(&proof.sign(&key)), Err(error.to_owned()), "{name}");
    }
    assert_eq!(verify(&good().sign(&other)), Err("Signature".to_owned()), "signed by another key");
}

fn uri(proof: ScratchProof, htu: &str) -> ScratchProof {
    proof.claim("htu", htu)
}

#[test]
fn oauth_7_1_a_header_value_that_is_no_single_jws_is_refused() {
    let key = key();
    let good = proof(&key).sign(&key);
    let unsigned = good.rsplit_once('.').unwrap().0;
    for (name, value) in [
        ("empty", String::new()),
        ("a comma list", format!("{good},{good}")),
        ("a comma list with blanks", format!("{good}, {good}")),
        ("a comma at the end", format!("{good},")),
        ("a blank before", format!(" {good}")),
        ("a newline at the end", format!("{good}\n")),
        ("padding", format!("{good}=")),
        ("a scheme before", format!("DPoP {good}")),
        ("no signature", format!("{unsigned}.")),
        ("no signature part", unsigned.to_owned()),
        ("a fourth part", format!("{good}.")),
        ("ten thousand dots", ".".repeat(10_000)),
        ("JSON serialisation", r#"{"payload":"","signatures":[]}"#.to_owned()),
        ("too long", format!("{good}{}", "A".repeat(marque_jose::MAX_PROOF_BYTES))),
    ] {
        assert!(verify(&value).is_err(), "{name}");
    }
    assert!(verify(&good).is_ok());
}

#[test]
fn oauth_7_4_the_window_of_iat_is_closed_on_both_sides() {
    let key = key();
    let value = proof(&key).sign(&key);
    let at = |now| verify_at(&value, URI, None, now).map(drop);
    let nanosecond = Duration::from_nanos(1);
    let last = START + MAX_PROOF_AGE;
    assert_eq!(at(last), Ok(()));
    assert_eq!(at(last + nanosecond), Err("TooOld".to_owned()));
    let first = START - MAX_PROOF_AHEAD;
    assert_eq!(at(first), Ok(()));
    assert_eq!(at(first - nanosecond), Err("Future".to_owned()));
    // For as long as it is accepted it is remembered, from whichever end of the window it came.
    assert_eq!(verify_at(&value, URI, None, first).unwrap().accepted_until(), last);
    assert_eq!(MAX_PROOF_AGE + MAX_PROOF_AHEAD, seconds(70));
}

#[test]
fn oauth_7_7_a_proof_for_a_resource_names_the_token_that_it_comes_with() {
    let key = key();
    let ath = base64url::encode(sha256(b"token"));
    let with = |ath: Value| proof(&key).claim("ath", ath).sign(&key);
    let at_resource = |proof: &str| verify_at(proof, URI, Some("token"), START).map(drop);
    assert_eq!(at_resource(&with(ath.as_str().into())), Ok(()));
    for (name, value) in [
        ("missing", Value::Null),
        ("of another token", base64url::encode(sha256(b"other")).into()),
        ("padded", format!("{ath}=").into()),
        ("the token itself", "token".into()),
        ("empty", "".into()),
    ] {
        assert_eq!(at_resource(&with(value)), Err("AccessToken".to_owned()), "{name}");
    }
    assert_eq!(at_resource(&with(1.into())), Err("Claims".to_owned()));
    // The token endpoint has no token to compare with (RFC 9449 §4.2).
    assert!(verify(&with("any".into())).is_ok());
}

#[test]
fn oauth_7_3_the_uri_is_compared_in_its_normal_form() {
    let key = key();
    for same in [
        "HTTPS://Issuer.Example.ORG:8443/oauth2/token",
        "https://issuer.example.org:8443/./oauth2/%74oken",
        "https://issuer.example.org:8443/x/../oauth2/token",
    ] {
        assert!(verify(&uri(proof(&key), same).sign(&key)).is_ok(), "{same}");
    }
}

#[test]
fn nothing_of_a_proof_is_printed() {
    let key = key();
    let value = proof(&key).claim("jti", "secret-jti").sign(&key);
    let parsed = UnverifiedProof::parse(&value).unwrap();
    assert!(!format!("{parsed:?}").contains("secret-jti"));
}

proptest! {
    #[test]
    fn a_changed_byte_anywhere_makes_a_proof_worthless(at in 0_usize..400, bit in 0_u8..7) {
        let key = key();
        let mut value = proof(&key).sign(&key).into_bytes();
        let at = at % value.len();
        value[at] ^= 1 << bit;
        if let Ok(text) = String::from_utf8(value) {
            prop_assert!(verify(&text).is_err());
        }
    }
}
