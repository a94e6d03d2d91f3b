//! What is remembered of a verified JWT-SVID stands for its signature and for nothing else.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use marque_dpop::Nonces;
use marque_jose::base64url;
use marque_spiffe::{Bundle, BundleSource, Environment, TrustDomain};
use marque_testkit::{FixedClock, START, ScratchBundles, ScratchTrustDomain};

use crate::{
    ClientAuthenticator, ClientRules, EnvironmentLookup, NoncePolicy, OAuthErrorCode, Offers,
    fixture::{ISSUER, Rig},
};

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

/// The bundle of a federated trust domain, which may be withdrawn because it was not refreshed for too long.
#[derive(Debug)]
struct Federated {
    bundles: ScratchBundles,
    withdrawn: AtomicBool,
}

impl BundleSource for Federated {
    fn bundle(&self, trust_domain: &TrustDomain) -> Option<Arc<Bundle>> {
        if self.withdrawn.load(Ordering::Relaxed) {
            None
        } else {
            self.bundles.bundle(trust_domain)
        }
    }
}

impl EnvironmentLookup for Federated {
    fn environment(&self, _trust_domain: &TrustDomain) -> Option<Environment> {
        Some(Environment::Production)
    }
}

#[test]
fn oauth_4_9_a_known_svid_authenticates_nobody_while_its_bundle_is_withdrawn() {
    let partner = ScratchTrustDomain::new("partner.example.org");
    let bundles = ScratchBundles::of(&[&partner]);
    let federated = Arc::new(Federated { bundles, withdrawn: AtomicBool::new(false) });
    let rules = ClientRules {
        issuer: ISSUER.parse().unwrap(),
        trust_domain: "prod.example.org".parse().unwrap(),
        environment: Environment::Production,
        max_assertion_lifetime: Duration::from_secs(3600),
        max_wit_svid_lifetime: Duration::from_secs(3600),
        leeway: Duration::from_secs(10),
        offers: Offers::ALL,
        attestation_challenge: NoncePolicy::Optional,
        verified_svids: 16,
    };
    let authenticator = ClientAuthenticator::new(
        rules,
        Arc::clone(&federated) as _,
        Arc::clone(&federated) as _,
        Nonces::new(&[7; 32], ISSUER),
        Arc::new(FixedClock::default()),
    );
    let ends = START + Duration::from_secs(300);
    let svid = partner.jwt_svid(&partner.id("/agent/x"), &[ISSUER], ends);
    let authenticates = || authenticator.authenticate(svid.expose_token()).is_ok();
    assert!(authenticates() && authenticates());
    federated.withdrawn.store(true, Ordering::Relaxed);
    assert!(!authenticates());
    // It comes back as the very bundle that it was.
    federated.withdrawn.store(false, Ordering::Relaxed);
    assert!(authenticates());
}
