//! From what `marque-workload` serves to messages of the Workload API.

use std::collections::HashMap;
use std::sync::Arc;

use marque_spiffe::{Bundle, Hint, JwtSvid, TrustDomain};
use marque_workload::{
    BundleUpdate, JwtSvidMaterial, WitIdentity, WitSvidMaterial, WitUpdate, X509Identity,
    X509SvidMaterial, X509Update,
};
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};

use super::super::proto::workload as proto;

pub(in super::super) fn x509_svids(update: &X509Update) -> proto::X509svidResponse {
    let X509Update { svids, bundle, federated, crls, epoch: _ } = update;
    let own = bundle.x509_der();
    proto::X509svidResponse {
        svids: svids.iter().map(|identity| x509_svid(identity, own.clone())).collect(),
        crl: revocation_lists(crls),
        federated_bundles: by_trust_domain(federated, Bundle::x509_der),
    }
}

pub(in super::super) fn x509_bundles(update: &BundleUpdate) -> proto::X509BundlesResponse {
    proto::X509BundlesResponse {
        crl: revocation_lists(&update.crls),
        bundles: by_trust_domain(all(update), Bundle::x509_der),
    }
}

pub(in super::super) fn jwt_bundles(update: &BundleUpdate) -> proto::JwtBundlesResponse {
    proto::JwtBundlesResponse {
        bundles: by_trust_domain(all(update), |bundle| bundle.jwt_jwks().to_string().into_bytes()),
    }
}

pub(in super::super) fn jwt_svids(
    svids: &[(Arc<JwtSvidMaterial>, Option<Hint>)],
) -> proto::JwtsvidResponse {
    let svid = |(material, hint): &(Arc<JwtSvidMaterial>, Option<Hint>)| {
        let JwtSvidMaterial { spiffe_id, token, issued_at: _, expires_at: _ } = &**material;
        proto::Jwtsvid {
            spiffe_id: spiffe_id.to_string(),
            svid: token.expose_token().to_owned(),
            hint: hint_text(hint.as_ref()),
        }
    };
    proto::JwtsvidResponse { svids: svids.iter().map(svid).collect() }
}

pub(in super::super) fn wit_svids(update: &WitUpdate) -> proto::WitsvidResponse {
    let WitUpdate { svids, epoch: _ } = update;
    proto::WitsvidResponse { svids: svids.iter().map(wit_svid).collect() }
}

/// Key ids are unique within each set, which is of one trust domain (WI-11).
pub(in super::super) fn wit_bundles(update: &BundleUpdate) -> proto::WitBundlesResponse {
    let bundles = all(update)
        .map(|bundle| (key(bundle.trust_domain()), bundle.wit_jwks().to_string()))
        .collect();
    proto::WitBundlesResponse { bundles }
}

/// All claims of the token; `aud` is a list even where the token has one text.
pub(super) fn validated(svid: &JwtSvid) -> proto::ValidateJwtsvidResponse {
    let mut claims: Struct = structure(svid.claims());
    let audiences = svid.audiences().iter().map(text).collect();
    claims.fields.insert("aud".to_owned(), list(audiences));
    proto::ValidateJwtsvidResponse { spiffe_id: svid.id().to_string(), claims: Some(claims) }
}

fn x509_svid(identity: &X509Identity, bundle: Vec<u8>) -> proto::X509svid {
    let X509Identity { material, hint } = identity;
    let X509SvidMaterial { spiffe_id, chain, private_key, not_before: _, not_after: _ } =
        &**material;
    proto::X509svid {
        spiffe_id: spiffe_id.to_string(),
        x509_svid: chain.iter().flat_map(|certificate| certificate.iter().copied()).collect(),
        x509_svid_key: private_key.expose_der().to_vec(),
        bundle,
        hint: hint_text(hint.as_ref()),
    }
}

fn wit_svid(identity: &WitIdentity) -> proto::Witsvid {
    let WitIdentity { material, hint } = identity;
    let WitSvidMaterial { spiffe_id, token, private_key, issued_at: _, expires_at: _ } =
        &**material;
    proto::Witsvid {
        spiffe_id: spiffe_id.to_string(),
        wit_svid: token.expose_token().to_owned(),
        wit_svid_key: private_key.expose_json().to_owned(),
        hint: hint_text(hint.as_ref()),
    }
}

fn all(update: &BundleUpdate) -> impl Iterator<Item = &Arc<Bundle>> {
    let BundleUpdate { own, federated, crls: _, epoch: _ } = update;
    federated.iter().chain([own])
}

fn by_trust_domain<'a>(
    bundles: impl IntoIterator<Item = &'a Arc<Bundle>>,
    encode: impl Fn(&Bundle) -> Vec<u8>,
) -> HashMap<String, Vec<u8>> {
    bundles.into_iter().map(|bundle| (key(bundle.trust_domain()), encode(bundle))).collect()
}

fn revocation_lists(crls: &[Arc<[u8]>]) -> Vec<Vec<u8>> {
    crls.iter().map(|crl| crl.to_vec()).collect()
}

/// The Workload API names a trust domain by its id (`spiffe://example.org`).
fn key(trust_domain: &TrustDomain) -> String {
    trust_domain.id().to_string()
}

fn hint_text(hint: Option<&Hint>) -> String {
    hint.map(ToString::to_string).unwrap_or_default()
}

fn structure(members: &serde_json::Map<String, serde_json::Value>) -> Struct {
    Struct { fields: members.iter().map(|(name, member)| (name.clone(), value(member))).collect() }
}

fn value(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => kind(Kind::NullValue(0)),
        serde_json::Value::Bool(flag) => kind(Kind::BoolValue(*flag)),
        // Beyond 2^53 a Struct cannot hold an integer exactly: it knows doubles only.
        serde_json::Value::Number(number) => {
            kind(Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)))
        }
        serde_json::Value::String(string) => text(string),
        serde_json::Value::Array(values) => list(values.iter().map(value).collect()),
        serde_json::Value::Object(members) => kind(Kind::StructValue(structure(members))),
    }
}

fn text(text: &str) -> Value {
    kind(Kind::StringValue(text.to_owned()))
}

fn list(values: Vec<Value>) -> Value {
    kind(Kind::ListValue(ListValue { values }))
}

fn kind(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}
