use marque_jose::{Audiences, UnverifiedJws};
use marque_keys::{KeyAlgorithm, KeyManager, KeyPurpose, MemoryKeys};
use marque_spiffe::JwtSvidError;
use marque_testkit::START;
use serde_json::json;

use super::*;
use crate::{
    Authority,
    testing::{HOUR, House, authority, id, jwt_template, later},
};

const AUDIENCE: &str = "https://issuer.example.org";

fn refusal(template: &JwtSvidTemplate) -> TemplateError {
    match authority().mint_jwt_svid(template, START).unwrap_err() {
        AuthorityError::Template(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

fn mint(authority: &Authority, template: &JwtSvidTemplate, now: Timestamp) -> MintedJwtSvid {
    authority.mint_jwt_svid(template, now).unwrap()
}

#[test]
fn a_jwt_svid_names_its_key_and_says_nothing_but_the_five_claims() {
    let authority = authority();
    let minted = mint(&authority, &jwt_template("/agent/a"), START);
    let jws = UnverifiedJws::parse(minted.token.expose_token()).unwrap();
    assert_eq!(jws.header().alg(), marque_jose::Algorithm::Es256);
    assert_eq!(jws.header().typ(), Some("JWT"));
    let kid = jws.header().kid().unwrap();
    assert!(kid.as_str().starts_with("jwt-svid-a-1-"), "{kid}");
    assert!(authority.bundle().jwt_authorities().contains_key(kid));
    let claims = serde_json::Value::from(jws.dangerous_unverified_claims().clone());
    let (iat, jti) = (START.as_second(), claims["jti"].clone());
    let expected = json!({
        "sub": "spiffe://prod.example.org/agent/a", "aud": [AUDIENCE], "iat": iat, "exp": iat + 300, "jti": jti
    });
    assert_eq!(claims, expected);
    assert_eq!(jti.as_str().unwrap().len(), 36);
    assert_eq!(
        (minted.issued_at, minted.expires_at, minted.spiffe_id),
        (START, later(300), id("/agent/a"))
    );
}

#[test]
fn several_audiences_stay_in_their_order() {
    let authority = authority();
    let audience: Vec<_> =
        ["b", "a", "https://c.example.org/\"quoted\""].map(str::to_owned).to_vec();
    let template = JwtSvidTemplate { audience: audience.clone(), ..jwt_template("/agent/a") };
    let token = mint(&authority, &template, START).token;
    let svid = UnverifiedJwtSvid::parse(token.expose_token())
        .unwrap()
        .verify(&authority.bundle(), "a", START)
        .unwrap();
    assert_eq!(*svid.audiences(), Audiences::new(audience).unwrap());
}

#[test]
fn no_two_tokens_have_one_id() {
    let authority = authority();
    let id = || {
        let token = mint(&authority, &jwt_template("/agent/a"), START).token;
        UnverifiedJws::parse(token.expose_token()).unwrap().dangerous_unverified_claims()["jti"]
            .to_string()
    };
    assert_ne!(id(), id());
}

#[test]
fn a_lifetime_is_capped_by_the_ceiling_and_by_the_end_of_the_key() {
    let authority = authority();
    let ends = |lifetime, now| {
        mint(&authority, &JwtSvidTemplate { lifetime, ..jwt_template("/agent/a") }, now).expires_at
    };
    assert_eq!(ends(Duration::from_secs(1), START), later(1));
    assert_eq!(ends(Duration::from_millis(1999), START + Duration::from_millis(500)), later(1));
    assert_eq!(ends(Duration::from_secs(300), START), later(300));
    assert_eq!(ends(Duration::from_secs(301), START), later(300));
    assert_eq!(ends(Duration::MAX, START), later(300));
    assert_eq!(ends(Duration::from_secs(300), later(24 * 3600 - 1)), later(24 * 3600));
    let error = authority.mint_jwt_svid(&jwt_template("/agent/a"), later(24 * 3600)).unwrap_err();
    assert!(
        matches!(&error, AuthorityError::Ended { slot, .. } if slot.purpose() == KeyPurpose::JwtSvid),
        "{error:?}"
    );
}

#[test]
fn a_template_that_asks_for_what_is_not_minted_is_refused() {
    let good = jwt_template("/agent/a");
    let foreign = "spiffe://dev.example.org/agent/a".parse().unwrap();
    assert!(matches!(
        refusal(&JwtSvidTemplate { spiffe_id: foreign, ..good.clone() }),
        TemplateError::OtherTrustDomain { .. }
    ));
    let bare = "spiffe://prod.example.org".parse().unwrap();
    assert_eq!(
        refusal(&JwtSvidTemplate { spiffe_id: bare, ..good.clone() }),
        TemplateError::NoPath
    );
    let short = Duration::from_millis(999);
    assert_eq!(
        refusal(&JwtSvidTemplate { lifetime: short, ..good.clone() }),
        TemplateError::Lifetime
    );
    let of = |audience: &[&str]| JwtSvidTemplate {
        audience: audience.iter().map(ToString::to_string).collect(),
        ..good.clone()
    };
    assert_eq!(refusal(&of(&[])), TemplateError::NoAudience);
    for wrong in ["", "a\nb", "a\0", "\u{85}", &"a".repeat(JwtSvidTemplate::MAX_AUDIENCE_BYTES + 1)]
    {
        assert_eq!(refusal(&of(&["good", wrong])), TemplateError::Audience, "{wrong:?}");
    }
}

#[test]
fn the_most_and_longest_audiences_fit_and_one_more_does_not() {
    let authority = authority();
    let mut audience = Vec::new();
    // JSON writes the latter two with twice as many bytes.
    for (character, bytes) in [("a", 1), ("\"", 2), ("\\", 2)] {
        let longest = character.repeat(JwtSvidTemplate::MAX_AUDIENCE_BYTES / bytes);
        let longer = format!("{longest}{character}");
        audience = vec![longest; JwtSvidTemplate::MAX_AUDIENCES];
        let template =
            JwtSvidTemplate { audience: audience.clone(), ..jwt_template(&"/a".repeat(1000)) };
        mint(&authority, &template, START);
        let template = JwtSvidTemplate { audience: vec![longer], ..jwt_template("/agent/a") };
        assert_eq!(refusal(&template), TemplateError::Audience);
    }
    audience.push("a".to_owned());
    assert_eq!(
        refusal(&JwtSvidTemplate { audience, ..jwt_template("/agent/a") }),
        TemplateError::Audiences
    );
}

/// A key for JWT-SVIDs with a bundle that holds its public half.
struct Desk {
    authority: JwtAuthority,
    bundle: Bundle,
}

impl Desk {
    fn new() -> Self {
        Self::with(KeyAlgorithm::EcdsaP256)
    }

    fn with(algorithm: KeyAlgorithm) -> Self {
        let slot = SlotId::first(KeyPurpose::JwtSvid);
        let key = MemoryKeys::new().generate(&slot, algorithm).unwrap();
        let signer = Arc::new(TokenSigner::new(key).unwrap());
        let bundle = Bundle::builder("prod.example.org".parse().unwrap())
            .jwt_authority(signer.key_id().clone(), signer.public_key().clone())
            .unwrap()
            .build();
        Self { authority: JwtAuthority::new(slot, signer, later(3600)), bundle }
    }

    /// Signs a right token in which the members of `spoil` take the place of the right ones; `null` removes one.
    fn issue_spoiled(&self, spoil: &serde_json::Value) -> Result<CompactToken, SelfCheckError> {
        let template = jwt_template("/agent/a");
        let iat = START.as_second();
        let mut claims = json!({ "sub": template.spiffe_id, "aud": template.audience, "iat": iat, "exp": iat + 300, "jti": "x" });
        for (name, value) in spoil.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        match self.authority.issue(&claims, (&template, None), later(300), &self.bundle, START) {
            Ok(token) => Ok(token),
            Err(AuthorityError::SelfCheck { source, .. }) => Err(source),
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_token_signed_with_the_wrong_key_does_not_leave() {
    // The bundle knows a key of that id, and it is another one.
    let (ours, other) = (Desk::new(), Desk::new());
    let bundle = Bundle::builder("prod.example.org".parse().unwrap())
        .jwt_authority(
            ours.authority.signer.key_id().clone(),
            other.authority.signer.public_key().clone(),
        )
        .unwrap()
        .build();
    let desk = Desk { bundle, ..ours };
    let refused = desk.issue_spoiled(&json!({})).unwrap_err();
    assert!(matches!(refused, SelfCheckError::Jwt(JwtSvidError::Jws(_))), "{refused:?}");

    // The bundle does not know the key at all.
    let stranger = Desk { bundle: other.bundle, ..Desk::new() };
    let refused = stranger.issue_spoiled(&json!({})).unwrap_err();
    assert!(matches!(refused, SelfCheckError::Jwt(JwtSvidError::UnknownKey(_))), "{refused:?}");
}

#[test]
fn a_token_that_was_not_asked_for_does_not_leave() {
    let desk = Desk::new();
    desk.issue_spoiled(&json!({})).unwrap();
    let iat = START.as_second();
    for (fact, spoil) in [
        ("SPIFFE ID", json!({ "sub": "spiffe://prod.example.org/agent/b" })),
        ("set of audiences", json!({ "aud": [AUDIENCE, "https://other.example.org"] })),
        ("expiry", json!({ "exp": iat + 301 })),
        ("expiry", json!({ "exp": iat + 299 })),
        ("time of issue", json!({ "iat": iat - 1 })),
        ("time of issue", json!({ "iat": null })),
        ("set of claims", json!({ "jti": null })),
        ("set of claims", json!({ "iss": AUDIENCE })),
        ("set of claims", json!({ "jti": null, "act": { "sub": "x" } })),
    ] {
        match desk.issue_spoiled(&spoil) {
            Err(SelfCheckError::Differs(found)) => assert_eq!(found, fact, "{spoil}"),
            other => panic!("{spoil}: {other:?}"),
        }
    }
}

#[test]
fn a_token_that_no_verifier_should_take_does_not_leave() {
    let desk = Desk::new();
    let iat = START.as_second();
    for spoil in [
        json!({ "sub": "spiffe://dev.example.org/agent/a" }),
        json!({ "sub": "somebody" }),
        json!({ "aud": ["https://other.example.org"] }),
        json!({ "aud": [] }),
        json!({ "aud": null }),
        json!({ "exp": null }),
        json!({ "exp": iat }),
        json!({ "exp": (iat + 300).to_string() }),
    ] {
        let refused = desk.issue_spoiled(&spoil);
        assert!(matches!(refused, Err(SelfCheckError::Jwt(_))), "{spoil}: {refused:?}");
    }
}

#[test]
fn a_token_is_never_printed() {
    let minted = mint(&House::default().open().unwrap(), &jwt_template("/agent/a"), START);
    let token = minted.token.expose_token();
    let signature = token.rsplit('.').next().unwrap();
    let printed = format!("{minted:?}");
    assert!(!printed.contains(signature) && printed.contains("/agent/a"), "{printed}");
}

#[test]
fn a_token_names_its_issuer_only_where_that_is_asked_for_and_a_long_subject_by_its_digest() {
    let (authority, issuer) = (authority(), "https://issuer.example.org/svid");
    for (path, long) in
        [("/agent/a".to_owned(), false), (format!("/agent/{}", "a".repeat(150)), true)]
    {
        let template = jwt_template(&path);
        let claims = |token: &CompactToken| {
            let svid = UnverifiedJwtSvid::parse(token.expose_token()).unwrap();
            let svid = svid.verify(&authority.bundle(), AUDIENCE, START).unwrap();
            svid.claims().clone()
        };
        let bare = claims(&mint(&authority, &template, START).token);
        assert!(!bare.contains_key("iss") && !bare.contains_key("sub_sha256"));
        let named = claims(&authority.mint_jwt_svid_of(issuer, &template, START).unwrap().token);
        assert_eq!(named["iss"], issuer);
        assert_eq!(named["sub"], template.spiffe_id.as_str(), "the standard's `sub` stays");
        let digest = template.spiffe_id.subject_digest();
        assert_eq!(digest.is_some(), long);
        assert_eq!(named.get("sub_sha256").and_then(|value| value.as_str()), digest.as_deref());
    }
}

#[test]
fn a_key_for_rs256_mints_what_the_bundle_and_its_published_jwk_verify() {
    let desk = Desk::with(KeyAlgorithm::Rsa2048);
    let template = jwt_template("/agent/a");
    let random = marque_testkit::SeededRandom::new(1);
    let minted =
        desk.authority.mint((&template, None), HOUR, &desk.bundle, &random, START).unwrap();
    let jwk = desk.authority.signer.jwk();
    assert_eq!(jwk.alg, Some(marque_jose::Algorithm::Rs256));
    let published = marque_jose::Jwk::parse(&jwk.to_value()).unwrap();
    let jws = marque_jose::UnverifiedJws::parse(minted.token.expose_token()).unwrap();
    jws.verify(&published.key, &[marque_jose::Algorithm::Rs256]).unwrap();
    // The bundle reads back from the document that others fetch, and verifies too.
    let document = desk.bundle.to_document().to_string();
    let document = Bundle::parse("prod.example.org".parse().unwrap(), document.as_bytes()).unwrap();
    let audience = template.audience[0].as_str();
    let svid = UnverifiedJwtSvid::parse(minted.token.expose_token()).unwrap();
    svid.verify(&document, audience, START).unwrap();
}
