//! What is remembered of a verified JWT-SVID stands for its signature and for nothing else.

use std::time::Duration;

use marque_jose::base64url;

use crate::{OAuthErrorCode, fixture::Rig};

/// The same token with one bit of its signature changed.
fn forged(svid: &str) -> String {
    let (signed, signature) = svid.rsplit_once('.').unwrap();
    let mut signature = base64url::decode(signature).unwrap();
    *signature.last_mut().unwrap() ^= 1;
    format!("{signed}.{}", base64url::encode(signature))
}

fn authenticate(rig: &Rig, svid: &str) -> Result<(), OAuthErrorCode> {
    rig.service.authenticator().authenticate(svid).map(drop).map_err(|error| error.code())
}

#[test]
fn a_known_svid_ends_when_it_says() {
    let rig = Rig::new();
    let svid = rig.svid();
    assert_eq!(authenticate(&rig, &svid), Ok(()));
    rig.clock.advance(Duration::from_secs(299));
    assert_eq!(authenticate(&rig, &svid), Ok(()));
    rig.clock.advance(Duration::from_secs(1));
    assert_eq!(authenticate(&rig, &svid), Err(OAuthErrorCode::InvalidClient));
}

#[test]
fn another_signature_over_the_same_claims_is_not_known() {
    let rig = Rig::new();
    let svid = rig.svid();
    assert_eq!(authenticate(&rig, &svid), Ok(()));
    assert_eq!(authenticate(&rig, &forged(&svid)), Err(OAuthErrorCode::InvalidClient));
    assert_eq!(authenticate(&rig, &svid), Ok(()));
}

#[test]
fn a_known_svid_is_refused_once_its_key_has_left_the_bundle() {
    let rig = Rig::new();
    let svid = rig.svid();
    assert_eq!(authenticate(&rig, &svid), Ok(()));
    rig.replace_own_bundle();
    assert_eq!(authenticate(&rig, &svid), Err(OAuthErrorCode::InvalidClient));
}

#[test]
fn an_svid_known_as_subject_for_several_audiences_still_authenticates_nobody() {
    let rig = Rig::new();
    let audiences = [crate::fixture::ISSUER, "https://other.example.org"];
    let end = rig.now() + Duration::from_secs(60);
    let svid = rig.own.jwt_svid(&rig.agent, &audiences, end);
    assert!(rig.service.authenticator().verify_subject(svid.expose_token()).is_ok());
    assert_eq!(authenticate(&rig, svid.expose_token()), Err(OAuthErrorCode::InvalidClient));
}
