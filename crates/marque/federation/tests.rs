//! Bundle endpoints on real TLS sockets, with a clock that stands still until a test moves it.

mod commands;
mod endpoint;
mod fetching;
mod profiles;
mod redirects;
mod staleness;
mod turns;

pub(crate) use self::endpoint::{Answer, Endpoint};

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use marque_registry::TrustDomainDocument;
use marque_spiffe::{Bundle, BundleSource, Clock as _, SpiffeId, TrustDomain};
use marque_testkit::{FixedClock, ScratchBundles, ScratchTrustDomain};
use tempfile::TempDir;

use super::relationship::RefreshError;
use super::relationship::{RelationshipParts, of_the_folder, vouchers};
use super::{FederatedBundles, KeptBundles, Relationship};
use marque_registry::BundleFetchingSettings;

const PARTNER: &str = "partner.example.org";
const PATIENCE: Duration = Duration::from_secs(20);

/// The trust domain's document up to `[[federation]]`.
pub(crate) const DOCUMENT: &str = r#"
name = "test.example.org"
environment = "non-production"
tenant = "example"

[lifetimes]
authority = "30d"
x509_svid = "1h"
jwt_svid = "5m"
refresh_hint = "5m"

[issuer]
listen = "127.0.0.1:0"

[tokens]
max_lifetime = "10m"

"#;

/// One trust domain that federates with `partner.example.org`, whose files outlive its restarts.
struct Own {
    folder: TempDir,
    clock: FixedClock,
}

/// A run of it.
struct Run {
    bundles: Arc<FederatedBundles>,
    relationships: Vec<Arc<Relationship>>,
}

impl Own {
    fn new() -> Self {
        Self { folder: marque_testkit::temp_dir(), clock: FixedClock::default() }
    }

    /// Starts with these `[[federation]]` and these bundles from files.
    fn start(&self, federation: &str, files: &[Arc<Bundle>]) -> Run {
        let document = document(federation);
        let kept = KeptBundles::new(self.folder.path().join("kept"));
        super::prune(&document, &kept, &std::collections::BTreeSet::new()).unwrap();
        let bundles = super::open(&document, files.to_vec(), &kept, self.clock.now());
        bundles.keep_first_seen(&kept);
        let own = ScratchBundles::of(&[&ScratchTrustDomain::new("test.example.org")]);
        let shared = RelationshipParts {
            own: document.name().clone(),
            vouchers: vouchers(own, &bundles),
            bundles: Arc::clone(&bundles),
            kept,
            clock: Arc::new(self.clock.clone()) as _,
        };
        let relationships = of_the_folder(&document, self.folder.path(), &shared);
        Run { bundles, relationships: relationships.unwrap() }
    }

    fn kept(&self) -> std::path::PathBuf {
        self.folder.path().join("kept/partner.example.org.json")
    }
}

impl Run {
    async fn refresh(&self) -> Result<(), RefreshError> {
        tokio::time::timeout(PATIENCE, self.relationships[0].refresh()).await.unwrap()
    }

    /// What went wrong, with its causes.
    async fn refused(&self) -> String {
        let before = self.present();
        let error = self.refresh().await.unwrap_err();
        assert_eq!(self.present(), before, "the bundle before stays");
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }

    fn present(&self) -> Option<Arc<Bundle>> {
        self.bundles.bundle(&partner_name())
    }

    fn sequence(&self) -> Option<u64> {
        self.present().map(|bundle| bundle.sequence())
    }
}

fn document(federation: &str) -> TrustDomainDocument {
    let text = format!("{DOCUMENT}{federation}");
    TrustDomainDocument::parse("trust-domain.toml".as_ref(), &text).unwrap()
}

/// `[bundle_fetching]` of a document that ends like this.
pub(crate) fn settings(section: &str) -> BundleFetchingSettings {
    document(section).bundle_fetching().clone()
}

fn partner_name() -> TrustDomain {
    PARTNER.parse().unwrap()
}

fn partner() -> ScratchTrustDomain {
    ScratchTrustDomain::new(PARTNER)
}

fn server_id(partner: &ScratchTrustDomain) -> SpiffeId {
    partner.id("/bundle-endpoint")
}

/// `[[federation]]` by `https_web` with an authority.
fn web(url: &str, ca_file: &Path) -> String {
    format!(
        "[[federation]]\ntrust_domain = \"{PARTNER}\"\nenvironment = \"non-production\"\nurl = \"{url}\"\nprofile = \"https_web\"\nca_file = \"{}\"\n",
        ca_file.display()
    )
}

/// `[[federation]]` by `https_spiffe`.
fn spiffe(url: &str, id: &SpiffeId) -> String {
    format!(
        "[[federation]]\ntrust_domain = \"{PARTNER}\"\nenvironment = \"non-production\"\nbundle = \"x.json\"\nurl = \"{url}\"\nprofile = \"https_spiffe\"\nendpoint_spiffe_id = \"{id}\"\n"
    )
}

/// The partner's bundle with this sequence and refresh hint.
fn document_of(partner: &ScratchTrustDomain, sequence: u64, hint: u64) -> String {
    let mut document = partner.bundle().to_document();
    document["spiffe_sequence"] = sequence.into();
    document["spiffe_refresh_hint"] = hint.into();
    document.to_string()
}

pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "waited for {what}");
}
