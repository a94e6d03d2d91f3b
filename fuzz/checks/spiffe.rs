//! Identities, SVIDs and bundles.

use std::str::from_utf8;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use marque_authority::{DownstreamRequest, DownstreamRequestError, SignedAuthority};
use marque_spiffe::{
    Bundle, BundleMap, BundleSource as _, SpiffeId, TrustDomain, UnverifiedJwtSvid,
    UnverifiedWitSvid, UnverifiedX509Svid,
};

/// A SPIFFE ID that is accepted is written as it was read, and keeps its limits (ID-7, ID-8, ID-9).
pub(crate) fn spiffe_id(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let Ok(id) = text.parse::<SpiffeId>() else { return };
    assert_eq!(id.to_string(), text, "nothing is folded or normalised");
    assert!(text.len() <= 2048 && id.trust_domain().as_str().len() <= 255);
    let name = id.trust_domain().as_str();
    assert!(!name.is_empty() && !name.bytes().any(|byte| byte.is_ascii_uppercase()));
    assert_eq!(id.trust_domain().id().to_string(), format!("spiffe://{name}"));
    assert!(id.segments().all(|segment| !matches!(segment, "" | "." | "..")));
    let segments: Vec<_> = id.segments().collect();
    let again = SpiffeId::from_segments(id.trust_domain(), &segments);
    assert_eq!(again.as_ref(), Ok(&id), "the parts make the whole");
}

/// A bundle that is accepted and written is the same bundle (TB-1 to TB-5), and within its limits.
pub(crate) fn bundle(bytes: &[u8]) {
    let trust_domain: TrustDomain = "fuzz.example.org".parse().expect("a trust domain");
    let Ok(bundle) = Bundle::parse(trust_domain.clone(), bytes) else { return };
    let keys = bundle.x509_authorities().len()
        + bundle.jwt_authorities().len()
        + bundle.wit_authorities().len();
    assert!(keys <= Bundle::MAX_KEYS);
    assert!(bundle.jwt_authorities().keys().all(|kid| !bundle.wit_authorities().contains_key(kid)));
    let written = bundle.to_document().to_string();
    let again = Bundle::parse(trust_domain, written.as_bytes()).expect("what we write we can read");
    assert_eq!(again, bundle);
}

/// A chain that is accepted has the identity of its first certificate, whichever way it came in (X5-1, X5-2).
pub(crate) fn x509_svid(bytes: &[u8]) {
    let Ok(svid) = UnverifiedX509Svid::parse_der_concat(bytes) else { return };
    let id = svid.id().clone();
    assert!(id.has_path(), "a leaf's ID has a path");
    // No authority stands behind bytes that were made up.
    let bundle = Bundle::builder(id.trust_domain().clone()).build();
    assert!(svid.verify(&bundle, jiff::Timestamp::UNIX_EPOCH).is_err());
}

/// A token that is accepted names a workload and is verified by nobody's key (JW-1 to JW-6).
pub(crate) fn jwt_svid(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let Ok(svid) = UnverifiedJwtSvid::parse(text) else { return };
    assert!(svid.id().has_path());
    assert_eq!(text.bytes().filter(|byte| *byte == b'.').count(), 2, "compact serialisation");
    let bundle = Bundle::builder(svid.trust_domain().clone()).build();
    assert!(svid.verify(&bundle, "https://fuzz.example.org", jiff::Timestamp::UNIX_EPOCH).is_err());
}

/// A token that is accepted names a workload and is verified by nobody's key (WI-1 to WI-4).
pub(crate) fn wit_svid(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let Ok(svid) = UnverifiedWitSvid::parse(text) else { return };
    assert!(svid.id().has_path());
    assert!(UnverifiedJwtSvid::parse(text).is_err(), "no token is of both kinds");
    let bundle = Bundle::builder(svid.trust_domain().clone()).build();
    assert!(svid.verify(&bundle, jiff::Timestamp::UNIX_EPOCH).is_err());
}

/// A bundle map that is accepted and written is the same map, each bundle under its own name (TB-6, TB-7).
pub(crate) fn bundle_map(bytes: &[u8]) {
    let Ok(map) = BundleMap::parse(bytes) else { return };
    assert!(map.bundles().len() <= BundleMap::MAX_TRUST_DOMAINS);
    for bundle in map.bundles() {
        assert_eq!(map.bundle(bundle.trust_domain()).as_ref(), Some(bundle));
    }
    let written = map.to_document().to_string();
    assert_eq!(BundleMap::parse(written.as_bytes()).expect("what we write we can read"), map);
}

/// A request that is accepted is within its limits, has a name that a certificate may have, and is that one request alone.
pub(crate) fn downstream_request(bytes: &[u8]) {
    let Ok(request) = DownstreamRequest::from_der(bytes) else { return };
    assert!(bytes.len() <= DownstreamRequest::MAX_BYTES);
    let name = request.common_name();
    assert!((1..=64).contains(&name.chars().count()) && !name.chars().any(char::is_control));
    assert_eq!(DownstreamRequest::from_der(bytes).as_ref(), Ok(&request));
    let more = [bytes, &[0]].concat();
    assert_eq!(DownstreamRequest::from_der(&more), Err(DownstreamRequestError::Malformed));
}

/// Certificates that are accepted for an authority are within their limits, and each stands once, below the roots or among
/// them: written anew they are the same.
pub(crate) fn signed_authority(bytes: &[u8]) {
    let Ok(signed) = SignedAuthority::from_pem(bytes) else { return };
    assert!(bytes.len() <= SignedAuthority::MAX_PEM_BYTES);
    assert!((1..=SignedAuthority::MAX_CHAIN).contains(&signed.chain.len()));
    assert!((1..=SignedAuthority::MAX_ROOTS).contains(&signed.roots.len()));
    assert!(signed.chain.iter().all(|certificate| !signed.roots.contains(certificate)));
    let blocks = signed.chain.iter().chain(&signed.roots).map(|certificate| {
        let text = STANDARD.encode(certificate);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    });
    let written = SignedAuthority::from_pem(blocks.collect::<String>().as_bytes());
    assert_eq!(written.as_ref(), Ok(&signed), "what we write we can read");
}
