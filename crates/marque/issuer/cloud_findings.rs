//! What of `[oidc_discovery]` clouds could not use.

use marque_exchange::IssuerUrl;
use marque_registry::{EntrySource, Finding, TrustDomainFolder};
use marque_spiffe::SpiffeId;

use super::folder::local_url;
use crate::discovery::svid_issuer;

/// An issuer of JWT-SVIDs that could not be served.
pub(super) fn unusable(folder: &TrustDomainFolder) -> Option<Finding> {
    let document = &folder.document;
    let settings = document.oidc_discovery()?;
    let hosts = document.hosts();
    let tokens = hosts.url().map_or_else(|| local_url(hosts.listen()), ToOwned::to_owned);
    // What is wrong with that one is a finding of its own.
    let tokens: IssuerUrl = tokens.parse().ok()?;
    let message = match svid_issuer(document, &tokens) {
        Err(error) => error.to_string(),
        Ok(Some(issuer)) if issuer.path() == tokens.path() => {
            "has the path of the issuer of access tokens, whose documents are there: give it another path".to_owned()
        }
        Ok(_) => return None,
    };
    let message = format!("`issuer` in [oidc_discovery]: {message}");
    Some(Finding::at(&folder.path.join("trust-domain.toml"), settings.line(), message))
}

/// What clouds take with difficulty, where JWT-SVIDs are for them.
pub(super) fn doubtful(folder: &TrustDomainFolder) -> Vec<Finding> {
    let document = &folder.document;
    let Some(settings) = document.oidc_discovery() else { return Vec::new() };
    let mut doubtful = Vec::new();
    if settings.issuer().is_none() && document.hosts().url().is_none() {
        let message = "[oidc_discovery] publishes below `localhost`, which no cloud reaches: name an `issuer`, or a `url` in [issuer]";
        doubtful.push(Finding::at(
            &folder.path.join("trust-domain.toml"),
            settings.line(),
            message,
        ));
    }
    for entry in &folder.entries {
        let EntrySource::File { path, line } = entry.source() else { continue };
        if entry.spiffe_id().subject_digest().is_some() {
            let message = format!(
                "`{}` is longer than {} bytes: Google Cloud has to name it by `sub_sha256`",
                entry.spiffe_id(),
                SpiffeId::MAX_PLAIN_SUBJECT
            );
            doubtful.push(Finding::at(path, *line, message));
        }
    }
    doubtful
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use marque_testkit::{TempDir, temp_dir};

    use super::*;

    /// The shipped production folder with a document that ends like this, and an entry of this length.
    fn loaded(issuer: &str, section: &str, id: usize) -> (TempDir, TrustDomainFolder) {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("trust-domains/prod.example.org");
        let folder = temp_dir();
        let text = std::fs::read_to_string(shipped.join("trust-domain.toml")).unwrap();
        let text = text.replace("[issuer]\n", &format!("[issuer]\n{issuer}"));
        std::fs::write(folder.path().join("trust-domain.toml"), format!("{text}{section}"))
            .unwrap();
        std::fs::create_dir(folder.path().join("entries")).unwrap();
        let prefix = "spiffe://prod.example.org/agent/";
        let name = "a".repeat(id - prefix.len());
        let entry = format!(
            "[[entry]]\nid = \"x\"\nspiffe_id = \"{prefix}{name}\"\nrole = \"agent\"\nowner = \"group:x\"\nexpires_at = \"2031-01-01T00:00:00Z\"\nselectors = [\"unix:uid:1\"]\n"
        );
        std::fs::write(folder.path().join("entries/x.toml"), entry).unwrap();
        let loaded = TrustDomainFolder::load(folder.path()).unwrap();
        (folder, loaded)
    }

    #[test]
    fn an_issuer_of_jwt_svids_is_one_and_another_than_that_of_access_tokens() {
        let url = "url = \"https://issuer.example.org/prod\"\n";
        for (section, said) in [
            ("", None),
            ("\n[oidc_discovery]\n", None),
            ("\n[oidc_discovery]\nissuer = \"https://oidc.example.org/p\"\n", None),
            ("\n[oidc_discovery]\nissuer = \"http://oidc.example.org\"\n", Some("https://")),
            (
                "\n[oidc_discovery]\nissuer = \"https://oidc.example.org/prod\"\n",
                Some("another path"),
            ),
        ] {
            let (_kept, folder) = loaded(url, section, 60);
            let found = unusable(&folder).map(|finding| finding.to_string());
            assert_eq!(found.is_some(), said.is_some(), "{section}: {found:?}");
            assert!(found.unwrap_or_default().contains(said.unwrap_or_default()));
        }
    }

    #[test]
    fn what_no_cloud_reaches_or_names_is_warned_of() {
        let section = "\n[oidc_discovery]\n";
        let url = "url = \"https://issuer.example.org\"\n";
        let told = |issuer, section, id| {
            let (_kept, folder) = loaded(issuer, section, id);
            doubtful(&folder).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(told("", "", 200), [""; 0]);
        assert_eq!(told(url, section, 127), [""; 0]);
        let local = told("", section, 127);
        assert!(local.len() == 1 && local[0].contains("no cloud reaches"), "{local:?}");
        let long = told(url, section, 128);
        assert!(long.len() == 1 && long[0].contains("entries/x.toml:1"), "{long:?}");
    }
}
