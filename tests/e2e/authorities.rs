//! Signing authorities that change under load: by the clock, by hand, and over two replicas. The peers are clients that this
//! project did not write: crates.io `spiffe` with `spiffe-rustls`, and PyPI's `spiffe`, `cryptography` and `joserfc`.
//!
//! `MARQUE_SOAK_ROTATIONS` says how many rotations by the clock are lived through; 1 when it is absent, a thousand by hand.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use serde_json::{Value, json};
use spiffe::{JwtSource, JwtSvid, X509Source};
use spiffe_rustls::{authorizer, mtls_client, mtls_server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::fleet::{Fleet, database};
use crate::support::daemon::{Daemon, PRODUCTION};
use crate::support::http::{Call, Http};
use crate::support::operator::Operator;
use crate::support::programs::{copy_of_this_program, this_program};
use crate::support::python::{interpreter, own_interpreter};
use crate::support::wait::{until, within};

const AUDIENCE: &str = "https://resource.example.org";

/// A key lasts 24 seconds, what it signs 4: every 12 seconds another one signs.
pub(crate) fn live_fast(trust_domain: &Path) {
    let file = trust_domain.join("trust-domain.toml");
    let text = fs::read_to_string(&file).unwrap();
    let fast = text
        .replace("authority = \"30d\"", "authority = \"24s\"")
        .replace("x509_svid = \"1h\"", "x509_svid = \"4s\"")
        .replace("jwt_svid = \"5m\"", "jwt_svid = \"4s\"")
        .replace("refresh_hint = \"5m\"", "refresh_hint = \"1s\"")
        .replace("max_lifetime = \"10m\"", "max_lifetime = \"4s\"");
    assert_ne!(text, fast);
    fs::write(file, fast).unwrap();
}

/// How many rotations are lived through.
#[expect(clippy::disallowed_methods, reason = "how long to go on comes from the environment")]
fn rotations() -> usize {
    let wanted = std::env::var("MARQUE_SOAK_ROTATIONS").ok();
    wanted.map_or(1, |text| text.parse().expect("MARQUE_SOAK_ROTATIONS is a number"))
}

/// The keys of one purpose and where they stand, in the order of their making.
async fn keys(operator: &Operator, purpose: &str) -> Vec<(String, String)> {
    let listed = operator.json(&["authority", "list"]).await;
    let keys = listed.as_array().unwrap_or_else(|| panic!("{listed}"));
    let of = keys.iter().filter(|key| key["purpose"] == purpose);
    let text = |key: &Value, member: &str| key[member].as_str().unwrap().to_owned();
    let mut keys: Vec<_> =
        of.map(|key| (text(key, "published_at"), text(key, "key"), text(key, "state"))).collect();
    keys.sort();
    keys.into_iter().map(|(_, key, state)| (key, state)).collect()
}

async fn active(operator: &Operator, purpose: &str) -> String {
    let keys = keys(operator, purpose).await;
    let active: Vec<_> = keys.iter().filter(|(_, state)| state == "active").collect();
    assert_eq!(active.len(), 1, "{keys:?}");
    active[0].0.clone()
}

/// The leaves that tell of one kind of step.
async fn steps(operator: &Operator, kind: &str) -> Vec<String> {
    let log = operator.run(&["audit", "tail", "--lines", "1000"]).await.succeeded();
    let kind = format!("\"org.marque.authority.{kind}\"");
    log.out.lines().filter(|leaf| leaf.contains(&kind)).map(str::to_owned).collect()
}

/// Two peers of one identity that speak mutual TLS by whatever the Workload API pushed last.
struct Peers {
    source: X509Source,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Peers {
    async fn new(workload_api: &str, id: &str) -> Self {
        let open = async || {
            let source = X509Source::builder().endpoint(workload_api);
            within("the X.509 source", source.build()).await.unwrap()
        };
        let exact = || authorizer::exact([id]).unwrap();
        let server = mtls_server(open().await).authorize(exact()).build().unwrap();
        let mut client = mtls_client(open().await).authorize(exact()).build().unwrap();
        // Every handshake verifies anew.
        client.resumption = Resumption::disabled();
        Self { source: open().await, server: Arc::new(server), client: Arc::new(client) }
    }

    /// A server that goes on with the SVID of now, whatever becomes of it.
    fn standing_still(&self) -> Arc<ServerConfig> {
        let svid = self.source.svid().unwrap();
        let chain =
            svid.cert_chain().iter().map(|one| CertificateDer::from(one.as_bytes().to_vec()));
        let key = PrivatePkcs8KeyDer::from(svid.private_key().as_bytes().to_vec());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.collect(), PrivateKeyDer::Pkcs8(key))
            .unwrap();
        Arc::new(server)
    }

    async fn shake_hands(&self, server: &Arc<ServerConfig>) -> Result<(), String> {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let told = |error: std::io::Error| error.to_string();
        let accepting = TlsAcceptor::from(Arc::clone(server)).accept(far);
        let name = ServerName::try_from("localhost").unwrap();
        let connecting = TlsConnector::from(Arc::clone(&self.client)).connect(name, near);
        let (accepted, connected) = tokio::join!(accepting, connecting);
        let (mut accepted, mut connected) = (accepted.map_err(told)?, connected.map_err(told)?);
        accepted.write_all(b"hello").await.map_err(told)?;
        accepted.shutdown().await.map_err(told)?;
        let mut said = String::new();
        connected.read_to_string(&mut said).await.map_err(told)?;
        assert_eq!(said, "hello");
        Ok(())
    }
}

/// Shakes hands and verifies tokens without a pause, until `stop` and until so many keys have signed; how often, and which.
async fn load(
    peers: &Peers,
    tokens: &JwtSource,
    stop: &AtomicBool,
    keys: usize,
) -> (usize, BTreeSet<String>) {
    let (mut rounds, mut kids) = (0, BTreeSet::new());
    while !stop.load(Ordering::Relaxed) || kids.len() < keys {
        // The library shows no certificate for a moment while it takes up another: it is asked again, and nothing else is.
        let shaken = until("a certificate to show", async || {
            let shaken = peers.shake_hands(&peers.server).await;
            let none_yet =
                shaken.as_ref().is_err_and(|told| told.contains("no server certificate"));
            (!none_yet).then_some(shaken)
        });
        shaken.await.expect("a handshake of peers that follow");
        let token = tokens.fetch_jwt_svid([AUDIENCE]).await.unwrap();
        let bundles = tokens.bundle_set().unwrap();
        JwtSvid::parse_and_validate(token.token(), bundles.as_ref(), &[AUDIENCE])
            .expect("a token by the bundle of the moment");
        let header = crate::support::tokens::header(token.token());
        kids.insert(header["kid"].as_str().unwrap().to_owned());
        rounds += 1;
    }
    (rounds, kids)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_handshake_and_no_token_fails_while_authorities_rotate_by_the_clock() {
    let mut daemon =
        Daemon::start_with(|trust_domains| live_fast(&trust_domains.join(PRODUCTION))).await;
    let place = daemon.place(PRODUCTION).clone();
    let operator = daemon.operator(PRODUCTION);
    let id = place.id("/service/e2e");
    operator.register(&id, "service", &this_program()).await;
    let peers = Peers::new(&place.workload_api(), &id).await;
    let tokens = JwtSource::builder().endpoint(place.workload_api());
    let tokens = within("the JWT source", tokens.build()).await.unwrap();
    let python = interpreter().map(|python| own_interpreter(&python, &daemon.path(""), "soak"));
    if let Some(python) = &python {
        operator.register(&place.id("/service/python"), "service", python).await;
    }
    let stop = AtomicBool::new(false);
    let rotated = async {
        let (mut sequence, mut seen) = (0, BTreeSet::from([active(&operator, "jwt-svid").await]));
        while seen.len() <= rotations() {
            until("another active key", async || {
                let bundle = daemon.http(PRODUCTION).send(Call::get(&place.bundle_url)).await;
                let bundle = bundle.expect(200).json();
                let next = bundle["spiffe_sequence"].as_u64().unwrap();
                assert!(next >= sequence, "the sequence went back");
                sequence = next;
                assert!(bundle["keys"].as_array().unwrap().len() <= 9, "{bundle}");
                let jwks = daemon.http(PRODUCTION).send(Call::get(&place.jwks_url)).await;
                assert!(jwks.expect(200).json()["keys"].as_array().unwrap().len() <= 3);
                seen.insert(active(&operator, "jwt-svid").await).then_some(())
            })
            .await;
        }
        stop.store(true, Ordering::Relaxed);
        seen
    };
    let in_python = async {
        let Some(python) = &python else { return json!({}) };
        let seconds = (rotations() * 12 + 10).to_string();
        crate::python::run(python, "rotation_client.py", &place, &[AUDIENCE, &seconds], "").await
    };
    let (seen, (rounds, kids), told) =
        tokio::join!(rotated, load(&peers, &tokens, &stop, rotations() + 1), in_python);
    assert!(kids.len() > rotations(), "{kids:?} {seen:?}");
    assert!(rounds > 20 * rotations(), "{rounds}");
    if python.is_some() {
        assert_eq!(told["failures"], json!([]), "{told}");
        assert!(told["certificates"].as_u64() > Some(20), "{told}");
        assert!(told["roots"].as_u64() > Some(1), "a root was published beside another: {told}");
    }
    // What was in the middle of its life is taken up after a crash.
    let before = keys(&operator, "x509-authority").await;
    daemon.kill().await;
    daemon.launch().await;
    let after = keys(&daemon.operator(PRODUCTION), "x509-authority").await;
    assert!(before.iter().any(|(key, _)| after.iter().any(|(kept, _)| kept == key)), "{after:?}");
    let verified = daemon.operator(PRODUCTION).json(&["audit", "verify"]).await;
    assert!(verified["size"].as_u64().unwrap() > 10, "{verified}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_peer_refuses_a_revoked_authority_within_a_second_and_goes_on_with_the_next() {
    let daemon = Daemon::start().await;
    let place = daemon.place(PRODUCTION).clone();
    let operator = daemon.operator(PRODUCTION);
    let id = place.id("/service/e2e");
    operator.register(&id, "service", &this_program()).await;
    let peers = Peers::new(&place.workload_api(), &id).await;
    let tokens = JwtSource::builder().endpoint(place.workload_api());
    let tokens = within("the JWT source", tokens.build()).await.unwrap();
    let lost = peers.standing_still();
    let first = active(&operator, "x509-authority").await;
    let reason = ["--reason", "a drill"];
    let step = async |arguments: &[&str]| operator.run(&[&["authority"], arguments].concat()).await;

    // Each refusal says what to do.
    let refused = step(&[&["taint", &first][..], &reason].concat()).await;
    assert!(refused.code == 1 && refused.err.contains("prepare x509-authority"), "{refused:?}");
    let refused = step(&[&["revoke", &first][..], &reason].concat()).await;
    assert!(refused.code == 1 && refused.err.contains("taint it first"), "{refused:?}");
    let prepared = step(&["prepare", "x509-authority"]).await.succeeded().json();
    let next = prepared["key"].as_str().unwrap().to_owned();
    let refused = step(&["activate", &next]).await;
    assert!(refused.code == 1 && refused.err.contains("--now"), "{refused:?}");
    let unheard_of = step(&["activate", "x509-authority-b-7"]).await;
    assert!(unheard_of.code == 1 && unheard_of.err.contains("authority list"), "{unheard_of:?}");

    let stop = AtomicBool::new(false);
    let forced = async {
        let leaf = peers.source.svid().unwrap().leaf().as_bytes().to_vec();
        step(&[&["taint", &first][..], &reason].concat()).await.succeeded();
        // A splay is for what can wait; this cannot.
        let tainted = Instant::now();
        until("a new SVID", async || {
            (peers.source.svid().unwrap().leaf().as_bytes() != leaf).then_some(())
        })
        .await;
        assert!(tainted.elapsed() < Duration::from_secs(5), "{:?}", tainted.elapsed());
        // Nothing breaks yet: the tainted root is still in the bundle.
        peers.shake_hands(&lost).await.unwrap();
        step(&[&["revoke", &first][..], &reason].concat()).await.succeeded();
        let revoked = Instant::now();
        until("the refusal of the old chain", async || {
            peers.shake_hands(&lost).await.is_err().then_some(())
        })
        .await;
        assert!(revoked.elapsed() < Duration::from_secs(1), "{:?}", revoked.elapsed());
        stop.store(true, Ordering::Relaxed);
    };
    let ((), (rounds, _)) = tokio::join!(forced, load(&peers, &tokens, &stop, 1));
    assert!(rounds > 0);
    peers.shake_hands(&peers.server).await.unwrap();
    assert_eq!(active(&operator, "x509-authority").await, next);
    for kind in ["prepared", "tainted", "revoked"] {
        let leaves = steps(&operator, kind).await;
        assert_eq!(leaves.len(), 1, "{kind}: {leaves:?}");
        let leaf = &leaves[0];
        assert!(kind == "prepared" || leaf.contains(&first) && leaf.contains("a drill"), "{leaf}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_over_one_database_rotate_once_and_sign_with_the_same_key() {
    let Some(server) = database() else { return };
    let fleet = Fleet::new(&server).await;
    let first = fleet.start("a").await;
    // Replicas of one store share the folder of keys.
    fleet.link_keys(&first, "b");
    let second = fleet.start("b").await;
    let (one, other) = (first.operator(), second.operator());
    let prepared = one.json(&["authority", "prepare", "access-token"]).await;
    let next = prepared["key"].as_str().unwrap().to_owned();
    let jwks = async |replica: &crate::fleet::Replica| {
        let http = Http::trusting(&replica.place.ca_file);
        http.send(Call::get(&replica.place.jwks_url)).await.expect(200).body
    };
    until("the prepared key at the second replica", async || {
        jwks(&second).await.contains(&next).then_some(())
    })
    .await;
    other.json(&["authority", "activate", &next, "--now", "--reason", "a drill"]).await;
    until("the active key at the first replica", async || {
        (active(&one, "access-token").await == next).then_some(())
    })
    .await;
    let refused = one.run(&["authority", "activate", &next, "--now", "--reason", "again"]).await;
    assert_eq!(refused.code, 1, "{refused:?}");

    // What either signs verifies at the other.
    let program = copy_of_this_program("fleet-authorities");
    one.register(&first.place.id(crate::fleet::AGENT), "agent", &program).await;
    let here = first.client(&program).await;
    let intent = here.ask_rotation().await;
    one.approve(&intent).await;
    let token = here.exchange(&intent).await.expect(200).text("access_token");
    let header = crate::support::tokens::header(&token);
    assert!(header["kid"].as_str().unwrap().starts_with(&next), "{header}");
    assert!(jwks(&second).await.contains(header["kid"].as_str().unwrap()), "{header}");
    for kind in ["prepared", "activated"] {
        assert_eq!(steps(&one, kind).await.len(), 1, "{kind}");
    }
}
