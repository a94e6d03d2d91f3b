//! The Workload API as `marque svid` and `marque intent` use it: what every workload could do with any client.

use std::collections::BTreeMap;
use std::path::Path;

use futures::{Stream, StreamExt};
use marque_jose::PrivateJwk;
use rustls_pki_types::CertificateDer;
use serde::Serialize;
use tonic::Request;
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use zeroize::Zeroizing;

use super::super::client::{CallError, connect};
use super::super::proto::workload as proto;
use super::super::proto::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use super::SECURITY_HEADER;
use crate::config;

/// A client of one Workload API socket.
#[derive(Debug)]
pub struct WorkloadClient {
    inner: SpiffeWorkloadApiClient<InterceptedService<Channel, SecurityHeader>>,
}

/// One message of the X.509 stream.
#[derive(Debug)]
pub struct FetchedX509 {
    /// The caller's identities, the default first.
    pub svids: Vec<FetchedX509Svid>,
    /// How many trust domains came along as federated.
    pub federated: usize,
}

/// One X.509-SVID as it came, not yet verified.
#[derive(Debug)]
pub struct FetchedX509Svid {
    /// Whose it is said to be.
    pub spiffe_id: String,
    /// What it is for; empty when not said.
    pub hint: String,
    /// The chain, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The private key, PKCS#8 DER.
    pub key_der: Zeroizing<Vec<u8>>,
    /// The certificates of its trust domain.
    pub bundle: Vec<CertificateDer<'static>>,
}

/// One JWT-SVID as it came.
#[derive(Serialize)]
pub struct FetchedJwtSvid {
    /// Whose it is.
    pub spiffe_id: String,
    /// What it is for; empty when not said.
    pub hint: String,
    /// The token. A bearer of it is the workload, until it expires.
    pub svid: String,
}

impl std::fmt::Debug for FetchedJwtSvid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { spiffe_id, hint, svid: _ } = self;
        f.debug_struct("FetchedJwtSvid")
            .field("spiffe_id", spiffe_id)
            .field("hint", hint)
            .finish_non_exhaustive()
    }
}

/// One WIT-SVID as it came, not yet verified.
#[derive(Serialize)]
pub struct FetchedWitSvid {
    /// Whose it is said to be.
    pub spiffe_id: String,
    /// What it is for; empty when not said.
    pub hint: String,
    /// The token. It authenticates nobody without a proof of possession by the key (WI-10).
    pub svid: String,
    /// The private key that the token is bound to; it does not become part of any output by itself.
    #[serde(skip)]
    pub key: PrivateJwk,
}

impl std::fmt::Debug for FetchedWitSvid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { spiffe_id, hint, svid: _, key: _ } = self;
        f.debug_struct("FetchedWitSvid")
            .field("spiffe_id", spiffe_id)
            .field("hint", hint)
            .finish_non_exhaustive()
    }
}

impl WorkloadClient {
    /// Connects to the socket.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn connect(socket: &Path) -> Result<Self, CallError> {
        let channel = connect(socket).await?;
        Ok(Self { inner: SpiffeWorkloadApiClient::with_interceptor(channel, SecurityHeader) })
    }

    /// The caller's X.509-SVIDs, at once and on every change.
    ///
    /// # Errors
    /// When the caller has no identity, or the daemon cannot answer; the stream ends with such an error too.
    pub async fn watch_x509(
        &mut self,
    ) -> Result<impl Stream<Item = Result<FetchedX509, CallError>> + Unpin + use<>, CallError> {
        let stream = self.inner.fetch_x509svid(proto::X509svidRequest {}).await?.into_inner();
        Ok(stream.map(|message| x509(message?)))
    }

    /// JWT-SVIDs for `audience`: of the identity named, or one for each of the caller's.
    ///
    /// # Errors
    /// When the caller has no such identity, or the daemon cannot answer.
    pub async fn jwt_svids(
        &mut self,
        audience: Vec<String>,
        spiffe_id: Option<String>,
    ) -> Result<Vec<FetchedJwtSvid>, CallError> {
        let request = proto::JwtsvidRequest { audience, spiffe_id: spiffe_id.unwrap_or_default() };
        let proto::JwtsvidResponse { svids } =
            self.inner.fetch_jwtsvid(request).await?.into_inner();
        Ok(svids
            .into_iter()
            .map(|proto::Jwtsvid { spiffe_id, svid, hint }| FetchedJwtSvid {
                spiffe_id,
                hint,
                svid,
            })
            .collect())
    }

    /// The caller's WIT-SVIDs, at once and on every change: of the identity named, or one for each.
    ///
    /// # Errors
    /// When the caller has no such identity, or the daemon cannot answer; the stream ends with such an error too.
    pub async fn watch_wit(
        &mut self,
        spiffe_id: Option<String>,
    ) -> Result<impl Stream<Item = Result<Vec<FetchedWitSvid>, CallError>> + Unpin + use<>, CallError>
    {
        let request = proto::WitsvidRequest { spiffe_id: spiffe_id.unwrap_or_default() };
        let stream = self.inner.fetch_witsvid(request).await?.into_inner();
        Ok(stream.map(|message| Ok(wit(message?))))
    }

    /// The caller's WIT-SVIDs as they are now, the default first.
    ///
    /// # Errors
    /// As [`WorkloadClient::watch_wit`].
    pub async fn wit_svids(
        &mut self,
        spiffe_id: Option<String>,
    ) -> Result<Vec<FetchedWitSvid>, CallError> {
        let mut stream = self.watch_wit(spiffe_id).await?;
        stream.next().await.ok_or(CallError::Malformed("WIT-SVIDs"))?
    }

    /// The WIT key set of each trust domain, JSON.
    ///
    /// # Errors
    /// When the caller has no identity, or the daemon cannot answer.
    pub async fn wit_bundles(&mut self) -> Result<BTreeMap<String, serde_json::Value>, CallError> {
        let mut stream =
            self.inner.fetch_wit_bundles(proto::WitBundlesRequest {}).await?.into_inner();
        let first = stream.message().await?.ok_or(CallError::Malformed("bundles"))?;
        let proto::WitBundlesResponse { bundles } = first;
        bundles.into_iter().map(|(name, keys)| key_set(name, keys.as_bytes())).collect()
    }

    /// The certificates of each trust domain, at once and on every change.
    ///
    /// # Errors
    /// When the caller has no identity, or the daemon cannot answer; the stream ends with such an error too.
    pub async fn watch_x509_bundles(
        &mut self,
    ) -> Result<
        impl Stream<Item = Result<BTreeMap<String, Vec<CertificateDer<'static>>>, CallError>>
        + Unpin
        + use<>,
        CallError,
    > {
        let request = proto::X509BundlesRequest {};
        let stream = self.inner.fetch_x509_bundles(request).await?.into_inner();
        Ok(stream.map(|message| {
            let proto::X509BundlesResponse { crl: _, bundles } = message?;
            bundles.into_iter().map(|(name, der)| Ok((name, certificates(&der)?))).collect()
        }))
    }

    /// The certificates of each trust domain as they are now.
    ///
    /// # Errors
    /// As [`WorkloadClient::watch_x509_bundles`].
    pub async fn x509_bundles(
        &mut self,
    ) -> Result<BTreeMap<String, Vec<CertificateDer<'static>>>, CallError> {
        let mut stream = self.watch_x509_bundles().await?;
        stream.next().await.ok_or(CallError::Malformed("bundles"))?
    }

    /// The JWT key set of each trust domain, JSON, at once and on every change.
    ///
    /// # Errors
    /// When the caller has no identity, or the daemon cannot answer; the stream ends with such an error too.
    pub async fn watch_jwt_bundles(
        &mut self,
    ) -> Result<
        impl Stream<Item = Result<BTreeMap<String, serde_json::Value>, CallError>> + Unpin + use<>,
        CallError,
    > {
        let request = proto::JwtBundlesRequest {};
        let stream = self.inner.fetch_jwt_bundles(request).await?.into_inner();
        Ok(stream.map(|message| {
            let proto::JwtBundlesResponse { bundles } = message?;
            bundles.into_iter().map(|(name, keys)| key_set(name, &keys)).collect()
        }))
    }

    /// The JWT key set of each trust domain as it is now, JSON.
    ///
    /// # Errors
    /// As [`WorkloadClient::watch_jwt_bundles`].
    pub async fn jwt_bundles(&mut self) -> Result<BTreeMap<String, serde_json::Value>, CallError> {
        let mut stream = self.watch_jwt_bundles().await?;
        stream.next().await.ok_or(CallError::Malformed("bundles"))?
    }

    /// Has a JWT-SVID checked: whose it is, and its claims.
    ///
    /// # Errors
    /// When it is not valid for `audience`, or the daemon cannot answer.
    pub async fn validate(
        &mut self,
        audience: String,
        svid: String,
    ) -> Result<(String, serde_json::Value), CallError> {
        let request = proto::ValidateJwtsvidRequest { audience, svid };
        let answer = self.inner.validate_jwtsvid(request).await?.into_inner();
        let proto::ValidateJwtsvidResponse { spiffe_id, claims } = answer;
        let claims = claims.ok_or(CallError::Malformed("claims"))?;
        Ok((spiffe_id, json(prost_types::value::Kind::StructValue(claims))))
    }
}

/// Says to the endpoint that a request is meant for it.
#[derive(Debug, Clone, Copy)]
struct SecurityHeader;

impl Interceptor for SecurityHeader {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, tonic::Status> {
        request.metadata_mut().insert(SECURITY_HEADER, MetadataValue::from_static("true"));
        // The trace that whoever runs the command has named.
        if let Some(named) = config::traceparent().and_then(|named| named.parse().ok()) {
            request.metadata_mut().insert("traceparent", named);
        }
        Ok(request)
    }
}

fn x509(message: proto::X509svidResponse) -> Result<FetchedX509, CallError> {
    let proto::X509svidResponse { svids, crl: _, federated_bundles } = message;
    let svids = svids.into_iter().map(x509_svid).collect::<Result<_, _>>()?;
    Ok(FetchedX509 { svids, federated: federated_bundles.len() })
}

fn x509_svid(message: proto::X509svid) -> Result<FetchedX509Svid, CallError> {
    let proto::X509svid { spiffe_id, x509_svid, x509_svid_key, bundle, hint } = message;
    let key_der = x509_svid_key.into();
    let (chain, bundle) = (certificates(&x509_svid)?, certificates(&bundle)?);
    Ok(FetchedX509Svid { spiffe_id, hint, chain, key_der, bundle })
}

fn wit(message: proto::WitsvidResponse) -> Vec<FetchedWitSvid> {
    let proto::WitsvidResponse { svids } = message;
    svids
        .into_iter()
        .map(|proto::Witsvid { spiffe_id, wit_svid, wit_svid_key, hint }| FetchedWitSvid {
            spiffe_id,
            hint,
            svid: wit_svid,
            key: PrivateJwk::from_string(wit_svid_key),
        })
        .collect()
}

fn key_set(name: String, keys: &[u8]) -> Result<(String, serde_json::Value), CallError> {
    match serde_json::from_slice(keys) {
        Ok(keys) => Ok((name, keys)),
        Err(_) => Err(CallError::Malformed("bundles")),
    }
}

/// Splits concatenated DER: each certificate is a SEQUENCE that says how long it is.
fn certificates(mut der: &[u8]) -> Result<Vec<CertificateDer<'static>>, CallError> {
    let mut split = Vec::new();
    while !der.is_empty() {
        let length = sequence_length(der).ok_or(CallError::Malformed("certificates"))?;
        let (one, rest) =
            der.split_at_checked(length).ok_or(CallError::Malformed("certificates"))?;
        split.push(CertificateDer::from(one.to_vec()));
        der = rest;
    }
    Ok(split)
}

/// How many bytes the SEQUENCE at the start takes, its header included (X.690 8.1.3).
fn sequence_length(der: &[u8]) -> Option<usize> {
    let (&[0x30, first], rest) = der.split_first_chunk::<2>()? else { return None };
    if first < 0x80 {
        return Some(2 + usize::from(first));
    }
    let width = usize::from(first & 0x7f);
    let length = rest.get(..width).filter(|_| (1..=4).contains(&width))?;
    let length = length.iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
    length.checked_add(2 + width)
}

fn json(kind: prost_types::value::Kind) -> serde_json::Value {
    use prost_types::value::Kind;
    let inner = |value: prost_types::Value| value.kind.map_or(serde_json::Value::Null, json);
    match kind {
        Kind::NullValue(_) => serde_json::Value::Null,
        Kind::BoolValue(flag) => flag.into(),
        Kind::NumberValue(number) => whole(number).map_or_else(|| number.into(), Into::into),
        Kind::StringValue(text) => text.into(),
        Kind::ListValue(list) => list.values.into_iter().map(inner).collect(),
        Kind::StructValue(members) => {
            let members = members.fields.into_iter().map(|(name, value)| (name, inner(value)));
            serde_json::Value::Object(members.collect())
        }
    }
}

/// Instants in claims are whole numbers, and a person wants to see them so.
fn whole(number: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "whole and within what both types hold exactly"
    )]
    (number.fract() == 0.0 && number.abs() < EXACT).then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concatenated_certificates_are_split_by_their_own_lengths() {
        let long = [&[0x30, 0x82, 0x01, 0x00][..], &[7; 256]].concat();
        let both = [&[0x30, 0x02, 1, 2][..], &long].concat();
        let split = certificates(&both).unwrap();
        assert_eq!(
            split,
            [CertificateDer::from(&[0x30, 0x02, 1, 2][..]), CertificateDer::from(&long[..])]
        );
    }

    #[test]
    fn what_is_no_row_of_certificates_is_refused() {
        let rows: [&[u8]; 6] = [
            &[0x30],
            &[0x31, 0],
            &[0x30, 2, 1],
            &[0x30, 0x80],
            &[0x30, 0x85, 1, 1, 1, 1, 1],
            &[0x30, 0x82, 1],
        ];
        for der in rows {
            assert!(certificates(der).is_err(), "{der:x?}");
        }
    }

    #[test]
    fn a_claim_that_is_a_whole_number_reads_as_one() {
        use prost_types::value::Kind;
        assert_eq!(json(Kind::NumberValue(1_893_456_000.0)).to_string(), "1893456000");
        assert_eq!(json(Kind::NumberValue(0.5)).to_string(), "0.5");
    }
}
