use std::collections::BTreeSet;

use marque_jose::UnverifiedJws;
use marque_keys::{KeyAlgorithm, KeyManager, KeyPurpose, MemoryKeys};
use marque_spiffe::WitSvidError;
use marque_testkit::START;

use super::*;
use crate::{
    Authority, AuthorityConfig,
    testing::{HOUR, House, authority, config, id, jwt_template, later, wit_template},
};

fn mint(authority: &Authority, template: &WitSvidTemplate, now: Timestamp) -> MintedWitSvid {
    authority.mint_wit_svid(template, now).unwrap()
}

fn claims(minted: &MintedWitSvid) -> Value {
    let jws = UnverifiedJws::parse(minted.token.expose_token()).unwrap();
    jws.dangerous_unverified_claims().clone().into()
}

#[test]
fn a_wit_svid_names_its_key_and_says_nothing_but_the_six_claims() {
    let authority = authority();
    let minted = mint(&authority, &wit_template("/agent/a"), START);
    let jws = UnverifiedJws::parse(minted.token.expose_token()).unwrap();
    assert_eq!(jws.header().alg(), marque_jose::Algorithm::Es256);
    assert_eq!((jws.header().typ(), jws.header().other_members().len()), (Some("wit+jwt"), 0));
    let kid = jws.header().kid().unwrap();
    assert!(kid.as_str().starts_with("wit-svid-a-1-"), "{kid}");
    assert!(authority.bundle().wit_authorities().contains_key(kid));
    let (claims, iat) = (claims(&minted), START.as_second());
    let expected = json!({
        "sub": "spiffe://prod.example.org/agent/a", "cnf": claims["cnf"], "iat": iat, "nbf": iat - 10,
        "exp": iat + 3600, "jti": claims["jti"],
    });
    assert_eq!(claims, expected);
    assert_eq!(
        (minted.issued_at, minted.expires_at, &minted.spiffe_id),
        (START, later(3600), &id("/agent/a"))
    );
}

#[test]
fn wi_1_each_kind_of_token_is_signed_by_a_key_of_its_own_name() {
    let authority = authority();
    let kid = |token: &CompactToken| {
        UnverifiedJws::parse(token.expose_token()).unwrap().header().kid().unwrap().clone()
    };
    let wit = kid(&mint(&authority, &wit_template("/agent/a"), START).token);
    let jwt = kid(&authority.mint_jwt_svid(&jwt_template("/agent/a"), START).unwrap().token);
    assert_ne!(wit, jwt);
    let bundle = authority.bundle();
    let (wit_key, jwt_key) = (&bundle.wit_authorities()[&wit], &bundle.jwt_authorities()[&jwt]);
    assert_ne!(wit_key, jwt_key);
}

#[test]
fn wi_5_the_private_key_that_comes_along_is_the_one_in_the_token() {
    let minted = mint(&authority(), &wit_template("/agent/a"), START);
    let holder = HolderKey::from_private_jwk(&minted.private_key).unwrap();
    let claims = claims(&minted);
    assert_eq!(claims["cnf"]["jwk"], holder.to_confirmation_jwk().to_value());
    assert_eq!(claims["cnf"]["jwk"]["alg"], "ES256");
    assert!(claims["cnf"]["jwk"].get("d").is_none());
}

#[test]
fn wi_7_no_two_tokens_have_one_id_or_one_key() {
    let authority = authority();
    let minted: Vec<_> =
        (0..16).map(|_| claims(&mint(&authority, &wit_template("/agent/a"), START))).collect();
    for member in ["/jti", "/cnf/jwk/x"] {
        let values: BTreeSet<_> =
            minted.iter().map(|claims| claims.pointer(member).unwrap().to_string()).collect();
        assert_eq!(values.len(), 16, "{member}");
    }
}

#[test]
fn wi_8_a_wit_svid_has_no_issuer_that_could_be_discovered() {
    assert!(claims(&mint(&authority(), &wit_template("/agent/a"), START)).get("iss").is_none());
}

#[test]
fn wi_9_a_wit_svid_is_for_no_audience() {
    assert!(claims(&mint(&authority(), &wit_template("/agent/a"), START)).get("aud").is_none());
}

#[test]
fn wi_6_a_lifetime_is_capped_by_the_ceiling_and_by_the_end_of_the_key() {
    let authority = authority();
    let ends = |lifetime, now| {
        mint(&authority, &WitSvidTemplate { lifetime, ..wit_template("/agent/a") }, now).expires_at
    };
    assert_eq!(ends(Duration::from_secs(1), START), later(1));
    assert_eq!(ends(HOUR, START), later(3600));
    assert_eq!(ends(HOUR + Duration::from_secs(1), START), later(3600));
    assert_eq!(ends(Duration::MAX, START), later(3600));
    assert_eq!(ends(HOUR, later(24 * 3600 - 1)), later(24 * 3600));
    let error = authority.mint_wit_svid(&wit_template("/agent/a"), later(24 * 3600)).unwrap_err();
    assert!(
        matches!(&error, AuthorityError::Ended { slot, .. } if slot.purpose() == KeyPurpose::WitSvid),
        "{error:?}"
    );
}

#[test]
fn a_template_that_asks_for_what_is_not_minted_is_refused() {
    let refusal = |template: &WitSvidTemplate| match authority().mint_wit_svid(template, START) {
        Err(AuthorityError::Template(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    let good = wit_template("/agent/a");
    let foreign = "spiffe://dev.example.org/agent/a".parse().unwrap();
    assert!(matches!(
        refusal(&WitSvidTemplate { spiffe_id: foreign, lifetime: HOUR }),
        TemplateError::OtherTrustDomain { .. }
    ));
    let bare = "spiffe://prod.example.org".parse().unwrap();
    assert_eq!(
        refusal(&WitSvidTemplate { spiffe_id: bare, lifetime: HOUR }),
        TemplateError::NoPath
    );
    let short = Duration::from_millis(999);
    assert_eq!(refusal(&WitSvidTemplate { lifetime: short, ..good }), TemplateError::Lifetime);
}

#[test]
fn a_trust_domain_that_issues_none_has_no_key_for_them() {
    let house = House::default();
    let off = || AuthorityConfig { wit_svids: false, ..config("prod.example.org") };
    let without = house.open_with(off(), START).unwrap();
    assert!(without.bundle().wit_authorities().is_empty());
    let refused = without.mint_wit_svid(&wit_template("/agent/a"), START);
    assert!(matches!(refused, Err(AuthorityError::NoWitSvids)), "{refused:?}");
    assert!(house.keys.load(&SlotId::first(KeyPurpose::WitSvid)).unwrap().is_none());

    // What was issued while they were stays verifiable: the bundle does not change without a new sequence.
    let with = house.open().unwrap();
    let without = house.open_with(off(), START).unwrap();
    assert_eq!(without.bundle(), with.bundle());
    assert!(without.mint_wit_svid(&wit_template("/agent/a"), START).is_err());
}

#[test]
fn the_key_of_a_data_folder_that_had_none_is_made_when_it_opens_and_the_bundle_goes_up() {
    let house = House::default();
    let before = AuthorityConfig { wit_svids: false, ..config("prod.example.org") };
    let before = house.open_with(before, START).unwrap().bundle();
    let after = house.open_with(config("prod.example.org"), later(3600)).unwrap();
    assert_eq!(after.created(), [SlotId::first(KeyPurpose::WitSvid)]);
    let bundle = after.bundle();
    bundle.supersedes(&before).unwrap();
    assert!(bundle.sequence() > before.sequence());
    assert_eq!(bundle.jwt_authorities(), before.jwt_authorities());
    assert_eq!(bundle.x509_authorities(), before.x509_authorities());
    assert_eq!(bundle.wit_authorities().len(), 1);
    // A key that is made later ends later, and the first end is still that of the root.
    assert_eq!(after.ends_at(), later(24 * 3600));
    let svid = mint(&after, &wit_template("/agent/a"), later(24 * 3600 - 60));
    assert_eq!(svid.expires_at, later(25 * 3600 - 60));
}

/// A key for WIT-SVIDs with a bundle that holds its public half.
struct Desk {
    authority: WitAuthority,
    bundle: Bundle,
    holder: HolderKey,
}

impl Desk {
    fn new() -> Self {
        let slot = SlotId::first(KeyPurpose::WitSvid);
        let signer = Arc::new(
            TokenSigner::new(MemoryKeys::new().generate(&slot, KeyAlgorithm::EcdsaP256).unwrap())
                .unwrap(),
        );
        let bundle = Bundle::builder("prod.example.org".parse().unwrap())
            .wit_authority(signer.key_id().clone(), signer.public_key().clone())
            .unwrap()
            .build();
        let authority = WitAuthority::new(slot, signer, later(3600));
        Self { authority, bundle, holder: HolderKey::generate().unwrap() }
    }

    /// Signs a right token in which the members of `spoil` take the place of the right ones; `null` removes one.
    fn issue_spoiled(&self, spoil: &Value) -> Result<CompactToken, SelfCheckError> {
        let spiffe_id = id("/agent/a");
        let wanted = Wanted {
            spiffe_id: &spiffe_id,
            holder: &self.holder,
            not_before: START,
            issued_at: START,
            expires_at: later(300),
        };
        let iat = START.as_second();
        let cnf = json!({ "jwk": self.holder.to_confirmation_jwk().to_value() });
        let mut claims = json!({ "sub": spiffe_id, "cnf": cnf, "iat": iat, "nbf": iat, "exp": iat + 300, "jti": "x" });
        for (name, value) in spoil.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        match self.authority.issue(&claims, &wanted, &self.bundle, START) {
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
        .wit_authority(
            ours.authority.signer.key_id().clone(),
            other.authority.signer.public_key().clone(),
        )
        .unwrap()
        .build();
    let desk = Desk { bundle, ..ours };
    let refused = desk.issue_spoiled(&json!({})).unwrap_err();
    assert!(matches!(refused, SelfCheckError::Wit(WitSvidError::Jws(_))), "{refused:?}");

    // The bundle does not know the key at all.
    let stranger = Desk { bundle: other.bundle, ..Desk::new() };
    let refused = stranger.issue_spoiled(&json!({})).unwrap_err();
    assert!(matches!(refused, SelfCheckError::Wit(WitSvidError::UnknownKey(_))), "{refused:?}");
}

#[test]
fn a_token_that_was_not_asked_for_does_not_leave() {
    let desk = Desk::new();
    desk.issue_spoiled(&json!({})).unwrap();
    let iat = START.as_second();
    let other = HolderKey::generate().unwrap().to_confirmation_jwk().to_value();
    for (fact, spoil) in [
        ("SPIFFE ID", json!({ "sub": "spiffe://prod.example.org/agent/b" })),
        ("holder's key", json!({ "cnf": { "jwk": other } })),
        ("expiry", json!({ "exp": iat + 301 })),
        ("expiry", json!({ "exp": iat + 299 })),
        ("beginning", json!({ "nbf": iat - 1 })),
        ("beginning", json!({ "nbf": null })),
        ("time of issue", json!({ "iat": iat - 1 })),
        ("time of issue", json!({ "iat": null })),
        ("set of claims", json!({ "jti": null })),
        ("set of claims", json!({ "iss": "https://issuer.example.org" })),
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
        json!({ "cnf": null }),
        json!({ "cnf": {} }),
        json!({ "exp": null }),
        json!({ "exp": iat - 5 }),
        json!({ "exp": (iat + 300).to_string() }),
        json!({ "nbf": iat + 1 }),
    ] {
        let refused = desk.issue_spoiled(&spoil);
        assert!(matches!(refused, Err(SelfCheckError::Wit(_))), "{spoil}: {refused:?}");
    }
}

#[test]
fn neither_the_token_nor_its_key_is_ever_printed() {
    let minted = mint(&authority(), &wit_template("/agent/a"), START);
    let signature = minted.token.expose_token().rsplit('.').next().unwrap();
    let key: Value = serde_json::from_str(minted.private_key.expose_json()).unwrap();
    let printed = format!("{minted:?}");
    assert!(!printed.contains(signature) && printed.contains("/agent/a"), "{printed}");
    assert!(!printed.contains(key["d"].as_str().unwrap()), "{printed}");
}
