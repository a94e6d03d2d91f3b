//! From what `marque-workload` serves to messages of the Broker API, which are those of the Workload API by other names.

use std::sync::Arc;

use marque_spiffe::Hint;
use marque_workload::{BundleUpdate, JwtSvidMaterial, X509Update};

use super::super::proto::{broker as proto, workload};
use super::super::workload::messages;

pub(super) fn x509_svids(update: &X509Update) -> proto::SubscribeToX509svidResponse {
    let workload::X509svidResponse { svids, crl, federated_bundles } = messages::x509_svids(update);
    let svids = svids.into_iter().map(x509_svid).collect();
    proto::SubscribeToX509svidResponse { svids, crl, federated_bundles }
}

pub(super) fn x509_bundles(update: &BundleUpdate) -> proto::SubscribeToX509BundlesResponse {
    let workload::X509BundlesResponse { crl, bundles } = messages::x509_bundles(update);
    proto::SubscribeToX509BundlesResponse { crl, bundles }
}

pub(super) fn jwt_bundles(update: &BundleUpdate) -> proto::SubscribeToJwtBundlesResponse {
    let workload::JwtBundlesResponse { bundles } = messages::jwt_bundles(update);
    proto::SubscribeToJwtBundlesResponse { bundles }
}

pub(super) fn jwt_svids(
    svids: &[(Arc<JwtSvidMaterial>, Option<Hint>)],
) -> proto::FetchJwtsvidResponse {
    let workload::JwtsvidResponse { svids } = messages::jwt_svids(svids);
    let jwt_svid =
        |workload::Jwtsvid { spiffe_id, svid, hint }| proto::Jwtsvid { spiffe_id, svid, hint };
    proto::FetchJwtsvidResponse { svids: svids.into_iter().map(jwt_svid).collect() }
}

fn x509_svid(svid: workload::X509svid) -> proto::X509svid {
    let workload::X509svid { spiffe_id, x509_svid, x509_svid_key, bundle, hint } = svid;
    proto::X509svid { spiffe_id, x509_svid, x509_svid_key, bundle, hint }
}
