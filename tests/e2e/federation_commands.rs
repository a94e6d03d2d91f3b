//! Relationships by command: two real daemons in both profiles, what a library of others makes of it, and the end that reaches
//! whoever verifies at once.

use std::fs;
use std::path::{Path, PathBuf};

use futures::{Stream, StreamExt as _};
use marque_testkit::ScratchTrustDomain;
use serde_json::Value;
use spiffe::{TrustDomain, WorkloadApiClient, X509Context};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::fleet::{Fleet, database};
use crate::support::daemon::{Daemon, NON_PRODUCTION, PRODUCTION};
use crate::support::folder;
use crate::support::issuer::Issuer;
use crate::support::log::export;
use crate::support::operator::Operator;
use crate::support::programs::this_program;
use crate::support::python;
use crate::support::tokens::timestamp;
use crate::support::wait::{until, within};

const PARTNER: &str = "partner.example.org";
/// Lets relationships by command lead to this host.
const LOCAL: &str = "\n[bundle_fetching]\nprivate_addresses = [\"127.0.0.0/8\", \"::1\"]\n";

fn partner_name() -> TrustDomain {
    TrustDomain::new(PARTNER).expect("a trust domain")
}

/// The partner, with a bundle endpoint that proves itself by an SVID.
async fn partner() -> Issuer {
    let partner = Issuer::start_with(PARTNER, |folder| {
        let listener = "\n[bundle_endpoint]\nhttps_spiffe = \"127.0.0.1:0\"\n";
        folder::append(folder, "trust-domain.toml", listener);
    })
    .await;
    partner
        .operator()
        .register(&partner.place.id("/service/e2e"), "service", &this_program())
        .await;
    partner
}

async fn daemon(local: bool) -> Daemon {
    Daemon::start_with(|trust_domains| {
        if local {
            folder::append(&trust_domains.join(NON_PRODUCTION), "trust-domain.toml", LOCAL);
        }
    })
    .await
}

/// Registers this test process, which gets the partner's bundle.
async fn register(operator: &Operator, id: &str) {
    let uid = format!("unix:uid:{}", nix::unistd::geteuid());
    let program = format!("unix:path:{}", this_program().display());
    let entry = [
        "entry",
        "create",
        "--expires-in",
        "1d",
        "--spiffe-id",
        id,
        "--role",
        "service",
        "--owner",
        "x",
    ];
    let more = ["--selector", &uid, "--selector", &program, "--federates-with", PARTNER];
    operator.run(&[&entry[..], &more].concat()).await.succeeded();
}

/// Waits until the stream has the partner's bundle, or has it no more.
async fn has_partner<S, E>(stream: &mut S, wanted: bool)
where
    S: Stream<Item = Result<X509Context, E>> + Unpin,
    E: std::fmt::Debug,
{
    within("the stream to follow", async {
        loop {
            let context = stream.next().await.expect("the stream goes on").unwrap();
            if context.bundle_set().get(&partner_name()).is_some() == wanted {
                break;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fe_3_two_daemons_federate_by_command_in_both_profiles_and_fe_8_the_end_reaches_an_open_stream()
 {
    let (partner, daemon) = (partner().await, daemon(true).await);
    let (place, operator) = (partner.place.clone(), daemon.operator(NON_PRODUCTION));
    let there = WorkloadApiClient::connect_to(place.workload_api()).await.unwrap();
    let token = there.fetch_jwt_svid(["here"], None).await.unwrap().token().to_owned();
    let ca_file = place.ca_file.display().to_string();
    let add = ["federation", "add", PARTNER, "--environment", "non-production", "--url"];
    let web = [&add[..], &[&place.bundle_url, "--ca-file", &ca_file]].concat();
    let added = operator.json(&web).await;
    assert_eq!((&added["profile"], &added["source"]), (&"https_web".into(), &"command".into()));
    register(&operator, &daemon.place(NON_PRODUCTION).id("/service/e2e")).await;

    let socket = daemon.place(NON_PRODUCTION).workload_api();
    let here = WorkloadApiClient::connect_to(&socket).await.unwrap();
    let mut stream = Box::pin(here.stream_x509_contexts().await.unwrap());
    has_partner(&mut stream, true).await;
    let validated = until("the token to be believed", async || {
        here.validate_jwt_token("here", &token).await.ok()
    })
    .await;
    assert_eq!(validated.spiffe_id().to_string(), place.id("/service/e2e"));
    let again = operator.run(&web).await.failed();
    assert!(again.err.contains("federation_exists"), "{again:?}");

    // The end is pushed: whoever verifies refuses from then on.
    let removed = operator.json(&["federation", "remove", PARTNER]).await;
    assert_eq!(removed["entries"], 1);
    assert!(here.validate_jwt_token("here", &token).await.is_err());
    has_partner(&mut stream, false).await;
    let kept = daemon.data_dir().join(NON_PRODUCTION).join("private/federation");
    assert_eq!(fs::read_dir(kept).map_or(0, Iterator::count), 0);
    let shown = operator.run(&["federation", "show", PARTNER]).await.failed();
    assert!(shown.err.contains("federation_unknown"), "{shown:?}");

    // The same by the other profile, with the partner's own word to begin with.
    let own =
        partner.operator().run(&["bundle", "show", "--format", "spiffe"]).await.succeeded().out;
    let file = daemon.path("partner.json");
    fs::write(&file, &own).unwrap();
    let file = file.display().to_string();
    let endpoint = place.bundle_spiffe.as_ref().expect("an endpoint with an SVID");
    assert_eq!(endpoint.spiffe_id, place.id("/marque/bundle"));
    let by_svid = [&endpoint.url, "--endpoint-spiffe-id", &endpoint.spiffe_id];
    let refused = operator.run(&[&add[..], &by_svid].concat()).await.failed();
    assert!(refused.err.contains("to begin with"), "{refused:?}");
    let by_svid = [&add[..], &by_svid, &["--bundle", &file]].concat();
    operator.run(&by_svid).await.succeeded();
    has_partner(&mut stream, true).await;
    let fetched = operator.json(&["federation", "refresh", PARTNER]).await;
    assert_eq!((&fetched["profile"], &fetched["in_use"]), (&"https_spiffe".into(), &true.into()));
    assert!(fetched["refreshed_at"].is_string() && fetched["failure"].is_null(), "{fetched}");
    here.validate_jwt_token("here", &token).await.expect("believed again");
    operator.run(&["bundle", "diff", PARTNER]).await.succeeded();
    verify_by_openssl(&daemon, &operator, &there).await;
    understood_by_python(&daemon, &own).await;

    let log = export(&operator, &daemon.path("log")).await;
    let said: Vec<_> = log.iter().map(|leaf| leaf["type"].clone()).collect();
    for (kind, count) in [("added", 2), ("removed", 1)] {
        let kind = Value::from(format!("org.marque.federation.{kind}"));
        assert_eq!(said.iter().filter(|one| **one == kind).count(), count, "{kind}");
    }
}

/// OpenSSL verifies an SVID of the partner by what is held of it.
async fn verify_by_openssl(daemon: &Daemon, operator: &Operator, there: &WorkloadApiClient) {
    if Command::new("openssl").arg("version").output().await.is_err() {
        return;
    }
    let pem = operator.json(&["bundle", "show", PARTNER, "--format", "pem"]).await;
    let pem = pem["pem"].as_str().unwrap().to_owned();
    let svid = there.fetch_x509_svid().await.unwrap();
    let write = |name: &str, text: &[u8]| -> PathBuf {
        let file = daemon.path(name);
        fs::write(&file, text).unwrap();
        file
    };
    let authorities = write("partner.pem", pem.as_bytes());
    let leaf = write("leaf.der", svid.cert_chain()[0].as_bytes());
    let verified = Command::new("openssl")
        .args(["verify", "-x509_strict", "-no-CApath", "-no-CAstore", "-CAfile"])
        .args([&authorities, &leaf])
        .output()
        .await
        .unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}

/// PyPI's `spiffe` reads our document.
async fn understood_by_python(daemon: &Daemon, document: &str) {
    let Some(python) = python::interpreter() else { return };
    let file = daemon.path("document.json");
    fs::write(&file, document).unwrap();
    let script = "
import json, sys
from spiffe import JwtBundle, TrustDomain
document = json.load(open(sys.argv[1]))
document['keys'] = [key for key in document['keys'] if key['use'] == 'jwt-svid']
bundle = JwtBundle.parse(TrustDomain(sys.argv[2]), json.dumps(document).encode())
print(sorted(bundle.jwt_authorities) == sorted(key['kid'] for key in document['keys']) != [])
";
    let told = Command::new(python).args(["-c", script]).arg(&file).arg(PARTNER).output().await;
    let told = told.unwrap();
    assert_eq!(String::from_utf8_lossy(&told.stdout).trim(), "True", "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_is_set_and_compared_by_hand_and_never_goes_back() {
    let daemon = daemon(false).await;
    let operator = daemon.operator(NON_PRODUCTION);
    let (old, new) = (
        ScratchTrustDomain::at(PARTNER, timestamp()),
        ScratchTrustDomain::at(PARTNER, timestamp()),
    );
    let write = |name: &str, domain: &ScratchTrustDomain, sequence: u64| {
        let mut document = domain.bundle().to_document();
        document["spiffe_sequence"] = sequence.into();
        let file = daemon.path(name);
        fs::write(&file, document.to_string()).unwrap();
        file.display().to_string()
    };
    let first = write("first.json", &old, 5);
    let (newer, older) = (write("newer.json", &new, 6), write("older.json", &old, 4));
    let unsaid = write("unsaid.json", &new, 5);
    let unknown = operator.run(&["bundle", "set", PARTNER, &first]).await.failed();
    assert!(unknown.err.contains("federation_unknown"), "{unknown:?}");
    let add = ["federation", "add", PARTNER, "--environment"];
    let with = |environment: &'static str, name: &'static str| {
        let mut add = add.to_vec();
        add[2] = name;
        [&add[..], &[environment, "--bundle", first.as_str()]].concat()
    };
    for (arguments, code) in [
        (with("production", PARTNER), "environment_boundary"),
        // It claims the environment that would fit; this very process knows better.
        (with("non-production", PRODUCTION), "environment_boundary"),
        (with("non-production", NON_PRODUCTION), "federation_own"),
    ] {
        let refused = operator.run(&arguments).await.failed();
        assert!(refused.err.contains(code), "{refused:?}");
    }
    operator.run(&with("non-production", PARTNER)).await.succeeded();
    for (file, code) in [(&older, "bundle_sequence"), (&unsaid, "bundle_sequence")] {
        let refused = operator.run(&["bundle", "set", PARTNER, file]).await.failed();
        assert!(refused.err.contains(code), "{refused:?}");
    }
    let empty = daemon.path("empty.json");
    for (text, code) in
        [("{\"keys\": [], \"spiffe_sequence\": 9}", "bundle_empty"), ("{}", "bundle_invalid")]
    {
        fs::write(&empty, text).unwrap();
        let refused = operator.run(&["bundle", "set", PARTNER, &empty.display().to_string()]).await;
        assert!(refused.failed().err.contains(code));
    }
    let differs = operator.run(&["bundle", "diff", PARTNER, "--file", &newer]).await.failed();
    let told = differs.json();
    assert_eq!(told["sequence"], serde_json::json!([5, 6]), "{differs:?}");
    assert_eq!(told["added"].as_array().unwrap().len(), 3, "{differs:?}");
    operator.run(&["bundle", "set", PARTNER, &newer]).await.succeeded();
    let same = operator.json(&["bundle", "diff", PARTNER, "--file", &newer]).await;
    assert_eq!((&same["sequence"], &same["added"]), (&Value::Null, &serde_json::json!([])));
    let not_fetched = operator.run(&["federation", "refresh", PARTNER]).await.failed();
    assert!(not_fetched.err.contains("federation_no_endpoint"), "{not_fetched:?}");

    // It outlives a restart.
    let mut daemon = daemon;
    assert!(daemon.stop().await.success());
    daemon.launch().await;
    let operator = daemon.operator(NON_PRODUCTION);
    let shown = operator.json(&["bundle", "show", PARTNER]).await;
    assert_eq!((&shown["sequence"], &shown["bundle_of"]), (&6.into(), &PARTNER.into()));
    let listed = operator.json(&["federation", "list"]).await;
    assert_eq!(
        (&listed[0]["federates_with"], &listed[0]["in_use"]),
        (&PARTNER.into(), &true.into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_by_command_is_not_fetched_from_where_the_folder_does_not_allow_it() {
    let (partner, daemon) = (partner().await, daemon(false).await);
    let operator = daemon.operator(NON_PRODUCTION);
    let ca_file = partner.place.ca_file.display().to_string();
    let url = partner.place.bundle_url.clone();
    let add = ["federation", "add", PARTNER, "--environment", "non-production", "--url", &url];
    operator.run(&[&add[..], &["--ca-file", &ca_file]].concat()).await.succeeded();
    let refused = operator.run(&["federation", "refresh", PARTNER]).await.failed();
    assert!(refused.err.contains("bundle_not_fetched"), "{refused:?}");
    assert!(refused.err.contains("not on the public internet"), "{refused:?}");
    let shown = operator.json(&["federation", "show", PARTNER]).await;
    assert_eq!((&shown["in_use"], &shown["bundle"]), (&false.into(), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relationship_of_the_folder_is_changed_in_the_folder() {
    let other = ScratchTrustDomain::at(PARTNER, timestamp());
    let daemon =
        Daemon::start_with(|folder| folder::federate(folder, NON_PRODUCTION, &other)).await;
    let operator = daemon.operator(NON_PRODUCTION);
    let refused = operator.run(&["federation", "remove", PARTNER]).await.failed();
    assert!(refused.err.contains("federation_from_folder"), "{refused:?}");
    let listed = operator.json(&["federation", "list"]).await;
    let source = listed[0]["source"].as_str().unwrap();
    assert!(source.starts_with("trust-domain.toml:"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_set_by_hand_goes_when_a_reload_takes_its_relationship_from_the_folder() {
    let other = ScratchTrustDomain::at(PARTNER, timestamp());
    let daemon =
        Daemon::start_with(|folder| folder::federate(folder, NON_PRODUCTION, &other)).await;
    let operator = daemon.operator(NON_PRODUCTION);
    let mut newer = other.bundle().to_document();
    newer["spiffe_sequence"] = 77.into();
    let file = daemon.path("newer.json");
    fs::write(&file, newer.to_string()).unwrap();
    operator.run(&["bundle", "set", PARTNER, &file.display().to_string()]).await.succeeded();
    let document = daemon.path("trust-domains").join(NON_PRODUCTION).join("trust-domain.toml");
    let with = fs::read_to_string(&document).unwrap();
    let (without, _) = with.split_once("\n[[federation]]").unwrap();
    fs::write(&document, without).unwrap();
    // A dry run leaves it where it is.
    operator.run(&["reload", "--dry-run"]).await.succeeded();
    let sequence = async || operator.json(&["bundle", "show", PARTNER]).await["sequence"].clone();
    assert_eq!(sequence().await, 77);
    operator.run(&["reload"]).await.succeeded();
    let log = export(&operator, &daemon.path("log")).await;
    let removed = Value::from("org.marque.federation.removed");
    let leaf = log.iter().find(|leaf| leaf["type"] == removed).expect("a leaf");
    assert_eq!(leaf["data"]["detail"]["trust_domain"], PARTNER, "{leaf}");
    assert!(leaf["data"]["actor"].is_string(), "{leaf}");
    fs::write(&document, &with).unwrap();
    operator.run(&["reload"]).await.succeeded();
    assert_ne!(sequence().await, 77, "what was reviewed is what counts");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_replica_is_told_of_a_relationship_holds_at_the_other() {
    let Some(server) = database() else { return };
    let fleet = Fleet::new(&server).await;
    let one = fleet.start("a").await;
    fleet.share_keys(&one, "b");
    let other = fleet.start("b").await;
    let partner = ScratchTrustDomain::at(PARTNER, timestamp());
    let file = fleet.path("partner.json");
    fs::write(&file, partner.bundle().to_document().to_string()).unwrap();
    let add = ["federation", "add", PARTNER, "--environment", "production", "--bundle"];
    let file: &Path = &file;
    let file = file.display().to_string();
    one.operator().run(&[&add[..], &[file.as_str()]].concat()).await.succeeded();
    let listed = async |wanted: usize| {
        until("the other replica to follow", async || {
            let listed = other.operator().json(&["federation", "list"]).await;
            (listed.as_array().unwrap().len() == wanted).then_some(listed)
        })
        .await
    };
    let told = listed(1).await;
    assert_eq!(told[0]["in_use"], true);
    register(&other.operator(), &other.place.id("/service/e2e")).await;
    let here = WorkloadApiClient::connect_to(other.place.workload_api()).await.unwrap();
    let mut stream = Box::pin(here.stream_x509_contexts().await.unwrap());
    has_partner(&mut stream, true).await;
    one.operator().run(&["federation", "remove", PARTNER]).await.succeeded();
    has_partner(&mut stream, false).await;
    listed(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fe_3_a_trust_domain_that_a_library_of_others_holds_is_federated_with() {
    let Some(python) = python::interpreter() else { return };
    let daemon = daemon(true).await;
    let operator = daemon.operator(NON_PRODUCTION);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/bundle_endpoint.py");
    let mut endpoint = Command::new(python)
        .arg(script)
        .arg(PARTNER)
        .arg(daemon.path(""))
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut told = BufReader::new(endpoint.stdout.take().unwrap()).lines();
    let told = within("the endpoint", told.next_line()).await.unwrap().expect("a line");
    let told: Value = serde_json::from_str(&told).unwrap();
    let url = format!("https://localhost:{}/", told["port"]);
    let ca_file = told["ca_file"].as_str().unwrap();
    let add = ["federation", "add", PARTNER, "--environment", "non-production", "--url", &url];
    operator.run(&[&add[..], &["--ca-file", ca_file]].concat()).await.succeeded();
    let fetched = operator.json(&["federation", "refresh", PARTNER]).await;
    assert_eq!(fetched["bundle"]["sequence"], 3, "{fetched}");
    register(&operator, &daemon.place(NON_PRODUCTION).id("/service/e2e")).await;
    let socket = daemon.place(NON_PRODUCTION).workload_api();
    let here = WorkloadApiClient::connect_to(&socket).await.unwrap();
    let token = told["token"].as_str().unwrap();
    let svid = here.validate_jwt_token("here", token).await.expect("an SVID of the other library");
    assert_eq!(svid.spiffe_id().to_string(), format!("spiffe://{PARTNER}/service/python"));
    here.validate_jwt_token("elsewhere", token).await.unwrap_err();
}
