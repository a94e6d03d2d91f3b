//! Keys of issuers over real TLS sockets, with a clock that stands still until a test moves it.

use marque_jose::{Jwk, Signer as _};
use marque_registry::TrustDomainDocument;
use marque_testkit::{FixedClock, ScratchSigner};
use tempfile::TempDir;
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::federation::tests::{Answer, DOCUMENT, Endpoint, until};

struct Stage {
    endpoint: Endpoint,
    clock: FixedClock,
    folder: TempDir,
}

impl Stage {
    async fn new() -> Self {
        let (clock, folder) = (FixedClock::default(), marque_testkit::temp_dir());
        Self { endpoint: Endpoint::web().await, clock, folder }
    }

    fn ring(&self) -> OidcKeyRing {
        self.ring_of(&self.endpoint.url("/jwks"), &self.endpoint.ca_file)
    }

    fn ring_of(&self, url: &str, ca_file: &Path) -> OidcKeyRing {
        self.ring_after(url, ca_file, None)
    }

    fn ring_after(&self, url: &str, ca_file: &Path, before: Option<&OidcKeyRing>) -> OidcKeyRing {
        let ca_file = ca_file.display();
        let text = format!(
            "{DOCUMENT}\n[[oidc_issuers]]\nname = \"corp\"\nenvironment = \"non-production\"\n\
             issuer = \"https://login.example.org\"\naudiences = [\"marque\"]\n\
             jwks_uri = \"{url}\"\nca_file = \"{ca_file}\"\nmax_staleness = \"20m\"\n"
        );
        let document = TrustDomainDocument::parse(Path::new("trust-domain.toml"), &text).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let files = BTreeMap::new();
        OidcKeyRing::open(document.issuer_keys(), self.folder.path(), files, &clock, before)
            .unwrap()
    }

    fn serves(&self, key: &str) {
        self.endpoint.answer("/jwks", Answer::Document(set(&[key])));
    }
}

fn set(names: &[&str]) -> String {
    let key = |name: &&str| {
        let signer = ScratchSigner::generate(name);
        Jwk::for_signatures(signer.public_key().clone(), signer.key_id().clone())
    };
    JwkSet { keys: names.iter().map(key).collect() }.to_value().to_string()
}

/// The names of the keys that verify right now; `None` where nothing does.
fn names(ring: &OidcKeyRing, clock: &FixedClock) -> Option<Vec<String>> {
    let set = ring.keys("corp", clock.now()).ok()?;
    Some(set.keys.iter().filter_map(|key| Some(key.kid.as_ref()?.to_string())).collect())
}

fn of(ring: &OidcKeyRing) -> Arc<FetchedKeys> {
    Arc::clone(ring.fetched().next().unwrap())
}

async fn refused(ring: &OidcKeyRing) -> String {
    let error = of(ring).refresh().await.unwrap_err();
    let sources = std::iter::successors(std::error::Error::source(&error), |e| e.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

#[tokio::test]
async fn keys_are_fetched_and_too_old_ones_verify_nothing() {
    let stage = Stage::new().await;
    let ring = stage.ring();
    assert_eq!(names(&ring, &stage.clock), None, "nothing was fetched yet");
    stage.serves("k-1");
    of(&ring).refresh().await.unwrap();
    assert_eq!(names(&ring, &stage.clock), Some(vec!["k-1".to_owned()]));
    stage.endpoint.answer("/jwks", Answer::Status(503));
    stage.clock.advance(Duration::from_secs(20 * 60 - 1));
    assert!(refused(&ring).await.contains("status 503"));
    assert_eq!(names(&ring, &stage.clock), Some(vec!["k-1".to_owned()]));
    stage.clock.advance(Duration::from_secs(1));
    assert_eq!(names(&ring, &stage.clock), None, "stale keys fail closed");
    stage.serves("k-2");
    of(&ring).refresh().await.unwrap();
    assert_eq!(names(&ring, &stage.clock), Some(vec!["k-2".to_owned()]), "k-1 is gone");
    assert!(ring.keys("stranger", stage.clock.now()).is_err());
}

#[tokio::test]
async fn a_ring_goes_on_with_keys_of_the_same_place_by_the_same_authorities_and_no_others() {
    let (stage, other) = (Stage::new().await, Stage::new().await);
    let (url, ca_file) = (stage.endpoint.url("/jwks"), &stage.endpoint.ca_file);
    let ring = stage.ring();
    stage.serves("k-1");
    of(&ring).refresh().await.unwrap();
    let next = stage.ring_after(&url, ca_file, Some(&ring));
    assert_eq!(names(&next, &stage.clock), Some(vec!["k-1".to_owned()]));
    // They grow no younger by that.
    stage.clock.advance(Duration::from_secs(20 * 60));
    assert_eq!(names(&next, &stage.clock), None);
    of(&ring).refresh().await.unwrap();
    let elsewhere = stage.ring_after(&stage.endpoint.url("/other"), ca_file, Some(&ring));
    assert_eq!(names(&elsewhere, &stage.clock), None);
    let by_others = stage.ring_after(&url, &other.endpoint.ca_file, Some(&ring));
    assert_eq!(names(&by_others, &stage.clock), None);
}

#[tokio::test]
async fn what_is_no_set_of_keys_never_takes_the_place_of_one() {
    let stage = Stage::new().await;
    let ring = stage.ring();
    stage.serves("k-1");
    of(&ring).refresh().await.unwrap();
    let padded = format!("{}{}", set(&["k-3"]), " ".repeat(LIMITS.bytes));
    for (answer, expected) in [
        (Answer::Document("{}".to_owned()), "no set of keys"),
        (Answer::Document("<html>".to_owned()), "no set of keys"),
        (Answer::Document("{\"keys\":[]}".to_owned()), "`kid`"),
        (
            Answer::Document(
                "{\"keys\":[{\"kty\":\"oct\",\"k\":\"c2VjcmV0\",\"kid\":\"x\"}]}".to_owned(),
            ),
            "`kid`",
        ),
        (Answer::Document(padded), "at most 262144 bytes"),
        (Answer::Status(404), "status 404"),
        (Answer::Redirect(stage.endpoint.url("/elsewhere")), "redirected more than 0 times"),
    ] {
        stage.endpoint.answer("/jwks", answer);
        let said = refused(&ring).await;
        assert!(said.contains(expected), "{said}");
        assert_eq!(names(&ring, &stage.clock), Some(vec!["k-1".to_owned()]));
    }
    assert!(!stage.endpoint.asked().contains(&"/elsewhere".to_owned()), "no redirect is followed");
}

#[tokio::test]
async fn a_server_that_the_configured_authorities_do_not_vouch_for_is_not_believed() {
    let (stage, stranger) = (Stage::new().await, Stage::new().await);
    stage.serves("k-1");
    let ring = stage.ring_of(&stage.endpoint.url("/jwks"), &stranger.endpoint.ca_file);
    let said = refused(&ring).await;
    assert!(said.contains("connect to"), "{said}");
    assert_eq!(names(&ring, &stage.clock), None);
    // Nor under another name than the one that it proves.
    let by_address = stage.endpoint.url("/jwks").replace("localhost", "127.0.0.2");
    assert!(
        refused(&stage.ring_of(&by_address, &stage.endpoint.ca_file)).await.contains("connect")
    );
}

#[tokio::test]
async fn a_server_that_goes_silent_costs_no_more_than_the_time_limit() {
    let stage = Stage::new().await;
    let mut keys = Arc::into_inner(match stage.ring().0.into_values().next().unwrap() {
        Keys::Fetched(keys) => keys,
        Keys::OfFile(_) => panic!("they are fetched"),
    })
    .unwrap();
    assert_eq!(keys.limits.time, Duration::from_secs(10));
    keys.limits = FetchLimits { time: Duration::from_millis(300), ..LIMITS };
    stage.endpoint.answer("/jwks", Answer::Silence);
    let error = keys.refresh().await.unwrap_err();
    assert!(matches!(error, RefreshError::Fetch(FetchError::TimedOut(_))), "{error:?}");
}

#[tokio::test]
async fn keys_are_fetched_in_turns_and_earlier_when_one_is_missing_but_never_often() {
    let stage = Stage::new().await;
    stage.serves("k-1");
    let ring = stage.ring();
    let following = of(&ring);
    let task = tokio::spawn(async move { following.follow(CancellationToken::new()).await });
    let _task = AbortOnDropHandle::new(task);
    let fetched = async |times: usize| {
        until("the fetch", || stage.endpoint.asked().len() == times && stage.clock.sleepers() == 1)
            .await;
    };
    fetched(1).await;
    stage.clock.advance(SHORTEST_INTERVAL);
    until("the second sleep", || stage.clock.sleepers() == 1).await;
    stage.clock.advance(INTERVAL - SHORTEST_INTERVAL);
    fetched(2).await;
    // However often a key is missed, nothing is fetched before the shortest interval is over.
    for _ in 0..1000 {
        ring.missing("corp");
        ring.missing("stranger");
    }
    stage.clock.advance(SHORTEST_INTERVAL - Duration::from_secs(1));
    tokio::task::yield_now().await;
    assert_eq!(stage.endpoint.asked().len(), 2);
    stage.serves("k-2");
    stage.clock.advance(Duration::from_secs(1));
    fetched(3).await;
    assert_eq!(names(&ring, &stage.clock), Some(vec!["k-2".to_owned()]));
    // A failure is tried again soon.
    stage.endpoint.answer("/jwks", Answer::Status(500));
    stage.clock.advance(SHORTEST_INTERVAL);
    until("the second sleep", || stage.clock.sleepers() == 1).await;
    ring.missing("corp");
    fetched(4).await;
    stage.serves("k-3");
    stage.clock.advance(SHORTEST_INTERVAL);
    fetched(5).await;
    assert_eq!(names(&ring, &stage.clock), Some(vec!["k-3".to_owned()]));
}

#[tokio::test]
async fn fetching_ends_with_the_daemon_even_in_the_middle() {
    let stage = Stage::new().await;
    stage.endpoint.answer("/jwks", Answer::Silence);
    let stop = CancellationToken::new();
    let (keys, token) = (of(&stage.ring()), stop.clone());
    let task = tokio::spawn(async move { keys.follow(token).await });
    until("the fetch", || stage.endpoint.asked().len() == 1).await;
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(20), task).await.unwrap().unwrap();
}

#[test]
fn keys_of_a_file_need_no_server() {
    let text = format!(
        "{DOCUMENT}\n[[oidc_issuers]]\nname = \"corp\"\nenvironment = \"non-production\"\n\
         issuer = \"https://login.example.org\"\naudiences = [\"marque\"]\njwks_file = \"corp.json\"\n"
    );
    let document = TrustDomainDocument::parse(Path::new("trust-domain.toml"), &text).unwrap();
    let file = JwkSet::parse(set(&["k-1"]).as_bytes()).unwrap();
    let files = BTreeMap::from([("corp".to_owned(), file)]);
    let clock = FixedClock::default();
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let ring =
        OidcKeyRing::open(document.issuer_keys(), Path::new("/"), files, &shared, None).unwrap();
    assert_eq!(ring.fetched().count(), 0);
    clock.advance(Duration::from_secs(30 * 24 * 3600));
    assert_eq!(names(&ring, &clock), Some(vec!["k-1".to_owned()]));
}
