//! A client with a WIT-SVID, and the proofs that it makes.

use std::time::Duration;

use marque_jose::{HolderKey, Signer, base64url, sha256, sign_compact};
use marque_testkit::{START, ScratchTrustDomain};
use serde_json::{Value, json};

use super::once;
use crate::{
    Presented,
    fixture::{Fields, ISSUER, Rig},
};

/// A client with the key of its WIT-SVID.
pub(super) struct Held {
    pub(super) key: HolderKey,
    pub(super) wit: String,
}

impl Held {
    pub(super) fn of(domain: &ScratchTrustDomain, path: &str) -> Self {
        let key = HolderKey::generate().unwrap();
        let wit = domain.wit_svid(&domain.id(path), &key, START + Duration::from_secs(300));
        Self { key, wit: wit.expose_token().to_owned() }
    }

    pub(super) fn agent(rig: &Rig) -> Self {
        Self::of(&rig.own, "/agent/rotator")
    }

    pub(super) fn attested(&self, proof: &str) -> Presented {
        Presented {
            client_attestation: once(&self.wit),
            client_attestation_pop: once(proof),
            ..Presented::default()
        }
    }

    pub(super) fn working(&self, proof: &str) -> Presented {
        Presented {
            workload_identity_token: once(&self.wit),
            workload_proof_token: once(proof),
            ..Presented::default()
        }
    }

    pub(super) fn attestation_claims(&self) -> Value {
        json!({ "aud": ISSUER, "jti": "d25d00ab-552b", "iat": START.as_second() })
    }

    pub(super) fn workload_claims(&self) -> Value {
        let wth = base64url::encode(sha256(self.wit.as_bytes()));
        let aud = format!("{ISSUER}/oauth2/token");
        json!({ "aud": aud, "exp": START.as_second() + 120, "jti": "bwc4ESC3acc2LTC1", "wth": wth })
    }
}

pub(super) fn sign(typ: Option<&str>, claims: &Value, signer: &dyn Signer) -> String {
    sign_compact(typ, claims, signer).unwrap().expose_token().to_owned()
}

pub(super) fn changed(claims: &Value, member: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    claims[member] = value;
    claims
}

pub(super) fn without(claims: &Value, member: &str) -> Value {
    let mut claims = claims.clone();
    claims.as_object_mut().unwrap().remove(member);
    claims
}

pub(super) fn request(rig: &Rig) -> Fields {
    rig.fields().unauthenticated()
}
