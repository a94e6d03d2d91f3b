//! What the folders of several trust domains may not do across the firebreak.

use marque_registry::{
    Finding, TrustDomainFolder, boundary, chain_boundary, shared_approvers, shared_root,
};
use marque_spiffe::Environment;

use super::{CheckedFolder, DOCUMENT, is_at};

/// The one environment of a set of trust domains; an issuer process never serves two (the firebreak).
///
/// # Errors
/// When the trust domains are of both environments.
pub fn one_environment<'a>(
    folders: impl IntoIterator<Item = &'a CheckedFolder>,
) -> Result<Option<Environment>, MixedEnvironments> {
    let mut first: Option<(&str, Environment)> = None;
    for checked in folders {
        let document = &checked.folder.document;
        match first {
            None => first = Some((document.name().as_str(), document.environment())),
            Some((_, environment)) if environment == document.environment() => {}
            Some((name, environment)) => {
                return Err(MixedEnvironments {
                    first: format!("`{name}` ({environment})"),
                    second: format!("`{}` ({})", document.name(), document.environment()),
                });
            }
        }
    }
    Ok(first.map(|(_, environment)| environment))
}

/// Trust domains of both environments were given to one issuer process.
#[derive(Debug, thiserror::Error)]
#[error(
    "one issuer process serves one environment, but {first} and {second} differ; \
     run one `marque issuer` for each environment, or `marque dev` on a laptop"
)]
pub struct MixedEnvironments {
    first: String,
    second: String,
}

/// Federations and chains across the firebreak between the trust domains of one folder, whatever their documents say of
/// each other.
pub fn across_the_firebreak(folders: &[CheckedFolder]) -> Vec<Finding> {
    let folders: Vec<&TrustDomainFolder> = folders.iter().map(|checked| &checked.folder).collect();
    across_the_firebreak_of(&folders)
}

/// As [`across_the_firebreak`], of folders of which no more is known.
pub(in crate::issuer) fn across_the_firebreak_of(folders: &[&TrustDomainFolder]) -> Vec<Finding> {
    let environment_of = |name| {
        let documents = folders.iter().map(|folder| &folder.document);
        documents.filter(|document| document.name() == name).map(|d| d.environment()).next()
    };
    let mut findings = Vec::new();
    for TrustDomainFolder { path, document, .. } in folders {
        for federation in document.federation() {
            let other = environment_of(federation.trust_domain());
            if let Some(other) = other.filter(|other| *other != document.environment()) {
                let message = boundary(federation.trust_domain(), other);
                findings.push(Finding::at(&path.join(DOCUMENT), federation.line(), message));
            }
        }
        if let Some(login) = document.approver_login() {
            let others = folders.iter().map(|folder| &folder.document);
            let mut across = others.filter(|other| other.environment() != document.environment());
            let same = across.find(|other| {
                other.approver_login().is_some_and(|other| {
                    (other.issuer(), other.client_id()) == (login.issuer(), login.client_id())
                })
            });
            if let Some(other) = same {
                let message = shared_approvers(login.client_id(), other.environment());
                findings.push(Finding::at(&path.join(DOCUMENT), login.line(), message));
            }
        }
        for server in document.authorization_servers() {
            let others = folders.iter().map(|folder| &folder.document);
            let mut others = others.filter(|other| other.environment() != document.environment());
            if let Some(other) = others.find(|other| is_at(other, server.issuer())) {
                let message = chain_boundary(server.name(), other.environment());
                findings.push(Finding::at(&path.join(DOCUMENT), server.line(), message));
            }
        }
    }
    findings.extend(shared_roots(folders));
    findings
}

/// Roots that trust domains of both environments have pinned: they are what keeps the environments apart where no certificate
/// names one.
fn shared_roots<'a>(folders: &'a [&'a TrustDomainFolder]) -> impl Iterator<Item = Finding> + 'a {
    folders.iter().filter_map(|folder| {
        let upstream = folder.document.upstream()?;
        let environment = folder.document.environment();
        let others = folders.iter().map(|other| &other.document);
        let mut across = others.filter(|other| other.environment() != environment);
        across.find_map(|other| {
            let theirs = other.upstream()?.pinned_roots();
            let root = upstream.pinned_roots().intersection(theirs).next()?;
            let message = shared_root(root, other.environment());
            Some(Finding::at(&folder.path.join(DOCUMENT), upstream.line(), message))
        })
    })
}
