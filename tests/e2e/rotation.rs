//! Rotation with lifetimes of seconds, as the crates.io `spiffe` client and its sources live through it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use futures::StreamExt as _;
use spiffe::{JwtSource, WorkloadApiClient, X509Source};

use crate::support::daemon::{Daemon, PRODUCTION};
use crate::support::programs::this_program;
use crate::support::tokens::now;
use crate::support::wait::{until, within};

const AUDIENCE: &str = "https://resource.example.org";
const ROTATIONS: usize = 3;

async fn daemon_with_short_lives() -> Daemon {
    let daemon = Daemon::start_with(|trust_domains| {
        let file = trust_domains.join(PRODUCTION).join("trust-domain.toml");
        shorten(&file);
    })
    .await;
    let id = daemon.place(PRODUCTION).id("/service/e2e");
    daemon.operator(PRODUCTION).register(&id, "service", &this_program()).await;
    daemon
}

fn shorten(file: &Path) {
    let text = fs::read_to_string(file).unwrap();
    let short = text
        .replace("x509_svid = \"1h\"", "x509_svid = \"3s\"")
        .replace("jwt_svid = \"5m\"", "jwt_svid = \"3s\"");
    assert_ne!(text, short, "the lifetimes are where they were");
    fs::write(file, short).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_stream_brings_each_rotation_before_the_last_svid_ends() {
    let daemon = daemon_with_short_lives().await;
    let place = daemon.place(PRODUCTION);
    let workload = WorkloadApiClient::connect_to(place.workload_api()).await.unwrap();
    let mut stream = Box::pin(workload.stream_x509_contexts().await.unwrap());
    let (mut serials, mut last_end) = (BTreeSet::new(), None);
    while serials.len() <= ROTATIONS {
        let context = within("a push", stream.next()).await.unwrap().unwrap();
        let svid = context.default_svid().unwrap();
        let (_rest, leaf) = x509_parser::parse_x509_certificate(svid.leaf().as_bytes()).unwrap();
        serials.insert(leaf.raw_serial().to_vec());
        let now = i64::try_from(now()).unwrap();
        let (begin, end) =
            (leaf.validity().not_before.timestamp(), leaf.validity().not_after.timestamp());
        assert!(begin <= now && now <= end, "an SVID that is not valid was pushed");
        if let Some(last) = last_end.replace(end) {
            assert!(now <= last, "the last SVID had ended before the next one came");
            assert!(last < end, "the next SVID does not live longer");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_stay_fresh_through_rotations() {
    let daemon = daemon_with_short_lives().await;
    let place = daemon.place(PRODUCTION);
    let x509 = X509Source::builder().endpoint(place.workload_api());
    let x509 = within("the X.509 source", x509.build()).await.unwrap();
    let jwt = JwtSource::builder().endpoint(place.workload_api());
    let jwt = within("the JWT source", jwt.build()).await.unwrap();
    let (mut leaves, mut tokens) = (BTreeSet::new(), BTreeSet::new());
    until("enough rotations", async || {
        leaves.insert(x509.svid().unwrap().leaf().as_bytes().to_vec());
        let token = jwt.fetch_jwt_svid([AUDIENCE]).await.unwrap();
        assert!(token.expiry() > UNIX_EPOCH + Duration::from_secs(now()), "an SVID that has ended");
        tokens.insert(token.token().to_owned());
        (leaves.len() > ROTATIONS && tokens.len() > ROTATIONS).then_some(())
    })
    .await;
    x509.shutdown().await;
    jwt.shutdown().await;
}
