//! One trust domain's folder with everything in it, checked: what `marque check` reads is what an issuer serves.

use std::path::{Path, PathBuf};

use marque_exchange::IssuerUrl;
use marque_intent::{GroupName, PlaybookFinding, PlaybookSet};
use marque_policy::{CaseResult, CedarDecisionPoint, PolicyFinding, run_cases};
use marque_registry::{Finding, TrustDomainFolder, boundary};
use marque_spiffe::Environment;

/// The document that makes a folder a trust domain's.
const DOCUMENT: &str = "trust-domain.toml";

/// A trust domain's folder without a finding.
#[derive(Debug)]
pub struct CheckedFolder {
    /// The document and the registration entries.
    pub folder: TrustDomainFolder,
    /// The playbooks.
    pub playbooks: PlaybookSet,
    /// The policy sets.
    pub policy: CedarDecisionPoint,
}

/// Reads one trust domain's folder.
///
/// # Errors
/// Every finding, with file and line.
pub fn check(path: &Path) -> Result<CheckedFolder, Vec<Finding>> {
    let folder = TrustDomainFolder::load(path)?;
    let mut findings = Vec::new();
    let document = &folder.document;
    let playbooks =
        PlaybookSet::load(&path.join("playbooks"), document.name(), document.environment());
    let playbooks = keep(playbooks, &mut findings, |found: PlaybookFinding| {
        let PlaybookFinding { file, line, message } = found;
        Finding { file, line, message }
    });
    let policy = keep(CedarDecisionPoint::load(&path.join("policy")), &mut findings, of_policy);
    if let (Some(playbooks), Some(policy)) = (&playbooks, &policy) {
        match run_cases(&path.join("policy"), policy, playbooks) {
            Ok(results) => {
                findings.extend(results.iter().filter_map(CaseResult::finding).map(of_policy));
            }
            Err(found) => findings.extend(found.into_iter().map(of_policy)),
        }
        findings.extend(foreign_tenants(&folder, playbooks));
    }
    findings.extend(unusable_groups(&folder));
    findings.extend(unusable_url(&folder));
    match (playbooks, policy) {
        (Some(playbooks), Some(policy)) if findings.is_empty() => {
            Ok(CheckedFolder { folder, playbooks, policy })
        }
        _ => Err(findings),
    }
}

/// The folders of trust domains at `path`: itself if it holds a `trust-domain.toml`, else each folder in it that does.
///
/// # Errors
/// When there is none, or the folder cannot be read.
pub fn find(path: &Path) -> Result<Vec<PathBuf>, Finding> {
    if path.join(DOCUMENT).is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let finding = |message: String| Finding { file: path.to_owned(), line: None, message };
    let entries = std::fs::read_dir(path)
        .map_err(|error| finding(format!("cannot read the folder: {error}")))?;
    let mut folders = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| finding(format!("cannot read the folder: {error}")))?;
        if entry.path().join(DOCUMENT).is_file() {
            folders.push(entry.path());
        }
    }
    if folders.is_empty() {
        return Err(finding(format!("no trust domain here: no folder in it holds a `{DOCUMENT}`")));
    }
    folders.sort();
    Ok(folders)
}

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

/// Federations across the firebreak between the trust domains of one folder, whatever their documents say of each other.
pub fn across_the_firebreak(folders: &[CheckedFolder]) -> Vec<Finding> {
    let environment_of = |name| {
        let documents = folders.iter().map(|checked| &checked.folder.document);
        documents.filter(|document| document.name() == name).map(|d| d.environment()).next()
    };
    let mut findings = Vec::new();
    for TrustDomainFolder { path, document, .. } in folders.iter().map(|checked| &checked.folder) {
        for federation in document.federation() {
            let other = environment_of(federation.trust_domain());
            if let Some(other) = other.filter(|other| *other != document.environment()) {
                let message = boundary(federation.trust_domain(), other);
                findings.push(Finding::at(&path.join(DOCUMENT), federation.line(), message));
            }
        }
    }
    findings
}

fn of_policy(found: PolicyFinding) -> Finding {
    let PolicyFinding { file, line, message } = found;
    Finding { file, line, message }
}

/// A tenant is one along a whole chain, so a playbook cannot have another than its trust domain.
fn foreign_tenants(folder: &TrustDomainFolder, playbooks: &PlaybookSet) -> Vec<Finding> {
    let tenant = folder.document.tenant().as_str();
    playbooks
        .iter()
        .filter(|playbook| playbook.tenant() != tenant)
        .map(|playbook| {
            let file = folder.path.join("playbooks").join(format!("{}.toml", playbook.id()));
            let message =
                format!("tenant `{}` is not the trust domain's `{tenant}`", playbook.tenant());
            Finding { file, line: None, message }
        })
        .collect()
}

/// Approver groups that no playbook could name: an operator in one would silently be in none.
fn unusable_groups(folder: &TrustDomainFolder) -> Vec<Finding> {
    let groups = folder.document.operators().iter().flat_map(|rule| rule.groups());
    groups
        .filter_map(|group| group.parse::<GroupName>().err().map(|error| (group, error)))
        .map(|(group, error)| Finding {
            file: folder.path.join(DOCUMENT),
            line: None,
            message: format!("operator group `{group}`: {error}"),
        })
        .collect()
}

/// An issuer identifier that the token service could not serve.
fn unusable_url(folder: &TrustDomainFolder) -> Option<Finding> {
    let url = folder.document.hosts().url()?;
    let error = url.parse::<IssuerUrl>().err()?;
    let message = format!("`url` in [issuer]: `{url}`: {error}");
    Some(Finding { file: folder.path.join(DOCUMENT), line: None, message })
}

fn keep<T, F>(
    result: Result<T, Vec<F>>,
    findings: &mut Vec<Finding>,
    finding: impl Fn(F) -> Finding,
) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(found) => {
            findings.extend(found.into_iter().map(finding));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn shipped() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("trust-domains")
    }

    /// A copy of a shipped trust domain with one text of its document replaced.
    fn changed(name: &str, from: &str, to: &str) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        let mut folders = vec![(shipped().join(name), copy.path().to_owned())];
        while let Some((source, target)) = folders.pop() {
            fs::create_dir_all(&target).unwrap();
            for entry in fs::read_dir(source).unwrap().map(Result::unwrap) {
                let into = target.join(entry.file_name());
                if entry.path().is_dir() {
                    folders.push((entry.path(), into));
                } else {
                    fs::copy(entry.path(), into).unwrap();
                }
            }
        }
        let document = copy.path().join(DOCUMENT);
        let text = fs::read_to_string(&document).unwrap();
        assert!(text.contains(from), "{from}");
        fs::write(document, text.replacen(from, to, 1)).unwrap();
        copy
    }

    fn messages(folder: &Path) -> String {
        let found = check(folder).unwrap_err();
        found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_shipped_trust_domains_have_no_finding_and_two_environments() {
        let folders = find(&shipped()).unwrap();
        assert_eq!(folders.len(), 2);
        let checked: Vec<_> = folders.iter().map(|folder| check(folder).unwrap()).collect();
        let mixed = one_environment(&checked).unwrap_err().to_string();
        assert!(mixed.contains("prod.example.org") && mixed.contains("dev.example.org"), "{mixed}");
        assert_eq!(
            one_environment(checked.iter().take(1)).unwrap(),
            Some(checked[0].folder.document.environment())
        );
    }

    /// A copy of a shipped trust domain that says it federates with another, with that one's bundle.
    fn federating(name: &str, with: &str, environment: &str) -> tempfile::TempDir {
        let tables = format!(
            "[[federation]]\ntrust_domain = \"{with}\"\nenvironment = \"{environment}\"\nbundle = \"other.json\"\n\n[tokens]"
        );
        let folder = changed(name, "[tokens]", &tables);
        let other = marque_testkit::ScratchTrustDomain::new(with).bundle();
        fs::write(folder.path().join("other.json"), other.to_document().to_string()).unwrap();
        folder
    }

    #[test]
    fn the_shipped_trust_domains_cannot_federate_whatever_is_said_of_them() {
        let (production, development) = ("prod.example.org", "dev.example.org");
        // By what it says of the other.
        let found = messages(federating(production, development, "non-production").path());
        assert!(found.contains("environment_boundary"), "{found}");
        let found = messages(federating(development, production, "production").path());
        assert!(found.contains("environment_boundary"), "{found}");
        // By what the other says of itself, where both are at hand.
        for (name, with, claimed) in
            [(production, development, "production"), (development, production, "non-production")]
        {
            let claiming = federating(name, with, claimed);
            let both = [check(claiming.path()), check(&shipped().join(with))].map(Result::unwrap);
            let [finding] = across_the_firebreak(&both).try_into().unwrap();
            let told = finding.to_string();
            assert!(told.contains("environment_boundary") && told.contains(with), "{told}");
            assert!(finding.line.is_some(), "{told}");
            // With nobody to say otherwise there is none.
            assert!(across_the_firebreak(&both[..1]).is_empty());
        }
    }

    #[test]
    fn trust_domains_of_one_environment_may_federate() {
        let folder = federating("prod.example.org", "partner.example.org", "production");
        let checked = check(folder.path()).unwrap();
        assert_eq!(checked.folder.federated.len(), 1);
        assert!(across_the_firebreak(&[checked]).is_empty());
    }

    #[test]
    fn a_folder_of_one_trust_domain_is_found_and_an_empty_one_is_not() {
        let one = shipped().join("prod.example.org");
        assert_eq!(find(&one).unwrap(), [one]);
        let empty = tempfile::tempdir().unwrap();
        assert!(find(empty.path()).unwrap_err().to_string().contains(DOCUMENT));
    }

    #[test]
    fn a_playbook_of_another_tenant_is_a_finding() {
        let folder = changed("prod.example.org", "tenant = \"example\"", "tenant = \"other\"");
        assert!(messages(folder.path()).contains("is not the trust domain's `other`"));
    }

    #[test]
    fn an_operator_group_that_no_playbook_could_name_is_a_finding() {
        let folder = changed("prod.example.org", "\"platform-sre\"]", "\"Platform.SRE!\"]");
        assert!(messages(folder.path()).contains("operator group `Platform.SRE!`"));
    }

    #[test]
    fn an_issuer_url_that_is_none_is_a_finding() {
        let folder = changed("prod.example.org", "listen =", "url = \"http://x\"\nlisten =");
        assert!(messages(folder.path()).contains("`http://x`"));
        let good = "url = \"https://issuer.prod.example.org\"\nlisten =";
        check(changed("prod.example.org", "listen =", good).path()).unwrap();
    }
}
