//! What others are verified by: the bundles of `[[federation]]`, the keys of `[[oidc_issuers]]` and
//! `[[authorization_servers]]`, and the revocation lists of `crls/`.
//!
//! Bundles and lists go to workloads in one message together with their SVIDs, and gRPC clients take messages of 4 MiB: hence the
//! limits on how much there may be in all.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use marque_jose::JwkSet;
use marque_spiffe::{Bundle, RevocationList};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::{files, read_bytes};
use crate::document::{
    BundleEndpointProfile, SsfDelivery, TrustDomainDocument, UpstreamSigner, boundary,
};
use crate::finding::Finding;

/// How many bytes all bundle documents may have together.
pub(super) const MAX_BUNDLE_BYTES: usize = 1024 * 1024;
/// How many bytes all revocation lists may have together.
pub(super) const MAX_CRL_BYTES: usize = 1024 * 1024;
/// How many revocation lists there may be.
pub(super) const MAX_CRLS: usize = 64;

/// The bundles that the document names, in its order; those that are only fetched are not among them.
pub(super) fn bundles(
    folder: &Path,
    document: &TrustDomainDocument,
    findings: &mut Vec<Finding>,
) -> Vec<Arc<Bundle>> {
    let mut bundles = Vec::new();
    let mut total = 0;
    for federation in document.federation() {
        let Some(file) = federation.bundle().map(|file| folder.join(file)) else { continue };
        let Some(bytes) = read_bytes(&file, findings) else { continue };
        total += bytes.len();
        match Bundle::parse(federation.trust_domain().clone(), &bytes) {
            Ok(bundle) => {
                let across = document.environment().other();
                if bundle.names_environment(across) {
                    let message = boundary(federation.trust_domain(), across);
                    findings.push(Finding::about(&file, message));
                }
                bundles.push(Arc::new(bundle));
            }
            Err(error) => findings.push(Finding::about(&file, chain(&error))),
        }
    }
    if total > MAX_BUNDLE_BYTES {
        let message =
            format!("the bundles of [federation] have {total} bytes, more than {MAX_BUNDLE_BYTES}");
        findings.push(Finding::about(&folder.join("trust-domain.toml"), message));
    }
    bundles
}

/// The keys of the issuers of ID tokens and of grants that have them in a file, by the issuer's name.
pub(super) fn issuer_keys(
    folder: &Path,
    document: &TrustDomainDocument,
    findings: &mut Vec<Finding>,
) -> BTreeMap<String, JwkSet> {
    let mut sets = BTreeMap::new();
    for (name, keys) in document.issuer_keys() {
        let Some(file) = keys.file().map(|file| folder.join(file)) else { continue };
        let Some(bytes) = read_bytes(&file, findings) else { continue };
        match JwkSet::parse(&bytes) {
            Ok(set) if set.keys.iter().any(|key| key.kid.is_some()) => {
                sets.insert(name.to_owned(), set);
            }
            Ok(_nameless) => {
                let message = "holds no key with a `kid` that can be used".to_owned();
                findings.push(Finding::about(&file, message));
            }
            Err(error) => findings.push(Finding::about(&file, chain(&error))),
        }
    }
    sets
}

impl TrustDomainDocument {
    /// The files below the folder that the document names and by which others are verified, each once and in order:
    /// bundles, key sets and certificates. None is secret.
    pub fn trust_files(&self) -> BTreeSet<&Path> {
        let bundles = self.federation().iter().filter_map(|federation| federation.bundle());
        let keys = self.issuer_keys().filter_map(|(_, keys)| keys.file());
        bundles.chain(keys).chain(own_authorities(self)).collect()
    }
}

/// The authorities of endpoints that lie in the folder; those elsewhere are of the host that will fetch.
pub(super) fn endpoint_authorities(
    folder: &Path,
    document: &TrustDomainDocument,
    findings: &mut Vec<Finding>,
) {
    for ca_file in own_authorities(document) {
        let file = folder.join(ca_file);
        let Some(bytes) = read_bytes(&file, findings) else { continue };
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        if !found.is_ok_and(|found| !found.is_empty()) {
            findings.push(Finding::about(&file, "holds no certificate in PEM".to_owned()));
        }
    }
}

/// Every `ca_file` that lies below the folder, whatever is spoken to by it.
fn own_authorities(document: &TrustDomainDocument) -> impl Iterator<Item = &Path> {
    let bundles = document.federation().iter().filter_map(|federation| {
        match &federation.endpoint()?.profile {
            BundleEndpointProfile::HttpsWeb { ca_file } => Some(ca_file.as_path()),
            BundleEndpointProfile::HttpsSpiffe { .. } => None,
        }
    });
    let keys = document.issuer_keys().filter_map(|(_, keys)| keys.ca_file());
    let login = document.approver_login().into_iter().map(|login| login.ca_file());
    let webhooks = document.webhooks().iter().filter_map(|webhook| webhook.ca_file());
    let streams = document.ssf_streams().iter().filter_map(|stream| match stream.delivery() {
        SsfDelivery::Push { ca_file, .. } => ca_file.as_deref(),
        SsfDelivery::Poll => None,
    });
    let of_others = bundles.chain(keys).chain(login).chain(webhooks).chain(streams);
    of_others.chain(of_helpers(document)).filter(|ca_file| !ca_file.is_absolute())
}

/// The authorities of whoever is asked before something is decided or signed, and of whoever is sent the log.
fn of_helpers(document: &TrustDomainDocument) -> impl Iterator<Item = &Path> {
    let points = document.decision_points().iter().filter_map(|point| point.ca_file());
    let tickets = document.ticket_systems().iter().filter_map(|system| system.ca_file());
    let post_checks = document.post_checks().ca_file().into_iter();
    let sinks = document.audit_sinks().iter().filter_map(|sink| sink.ca_file());
    let witnesses = document.audit().witnesses().witnesses().iter();
    let witnesses = witnesses.filter_map(|witness| witness.ca_file());
    let upstream = document.upstream().and_then(|upstream| match upstream.signer() {
        UpstreamSigner::Vault(vault) => vault.ca_file(),
        UpstreamSigner::Files | UpstreamSigner::Spire(_) => None,
    });
    points.chain(tickets).chain(post_checks).chain(sinks).chain(witnesses).chain(upstream)
}

/// The revocation lists of a folder; one that is not there has none.
pub(super) fn revocation_lists(folder: &Path, findings: &mut Vec<Finding>) -> Vec<RevocationList> {
    let mut lists = Vec::new();
    for file in files(folder, &["crl", "pem"], findings) {
        let Some(bytes) = read_bytes(&file, findings) else { continue };
        match RevocationList::parse_file(&bytes) {
            Ok(found) => lists.extend(found),
            Err(error) => findings.push(Finding::about(&file, error.to_string())),
        }
    }
    let total: usize = lists.iter().map(|list| list.der().len()).sum();
    if lists.len() > MAX_CRLS {
        findings.push(Finding::about(
            folder,
            format!("holds {} revocation lists, more than {MAX_CRLS}", lists.len()),
        ));
    }
    if total > MAX_CRL_BYTES {
        findings.push(Finding::about(
            folder,
            format!("the revocation lists have {total} bytes, more than {MAX_CRL_BYTES}"),
        ));
    }
    lists
}

/// An error with what led to it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
