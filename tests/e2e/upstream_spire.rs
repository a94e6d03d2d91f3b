//! Trust domains in tiers: a Marque below another Marque by SPIRE's server API, below a server of Python's that signs as SPIRE does, and
//! asked by a client of Python's that asks as SPIRE does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use serde_json::{Value, json};
use spiffe::X509Source;
use spiffe_rustls::{authorizer, mtls_client, mtls_server};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::openssl::{openssl_is_there, verify};
use crate::python::run;
use crate::reload::reload;
use crate::support::folder::{append, edit, live_fast};
use crate::support::http::{Call, Http};
use crate::support::issuer::Issuer;
use crate::support::programs::{marque, this_program};
use crate::support::python::{interpreter, own_interpreter};
use crate::support::server::free_port;
use crate::support::wait::{until, within};

pub(crate) const TIERS: &str = "tiers.example.org";
pub(crate) const BELOW: &str = "spiffe://tiers.example.org/issuer/below";
pub(crate) const DOCUMENT: &str = "trust-domain.toml";

/// Signs for `/issuer/below` at this port.
pub(crate) fn signs_for_others(folder: &Path, port: u16) {
    let section = format!(
        "\n[authorities]\npath_length = 1\n[downstream]\nlisten = \"127.0.0.1:{port}\"\n\
         spiffe_ids = [\"{BELOW}\"]\nmax_lifetime = \"24h\"\n"
    );
    append(folder, DOCUMENT, &section);
}

pub(crate) async fn upstream() -> Issuer {
    let upstream = Issuer::start_with(TIERS, |folder| signs_for_others(folder, 0)).await;
    upstream.operator().register(BELOW, "service", marque()).await;
    upstream
}

fn asks(folder: &Path, server: &str, workload_api: &str, more: &str) {
    let section = format!(
        "\n[upstream]\nkind = \"spire\"\nserver = \"{server}\"\nworkload_api = \"{workload_api}\"\n{more}\n"
    );
    append(folder, DOCUMENT, &section);
}

/// Has its authorities signed by `upstream`.
pub(crate) fn stands_below(folder: &Path, upstream: &Issuer) {
    let at = upstream.place.downstream.as_ref().expect("a listener for servers below");
    assert_eq!(at.spiffe_id, format!("spiffe://{TIERS}/spire/server"));
    asks(folder, &at.address, &upstream.place.workload_api(), "");
}

/// The leaves that tell of certificates for servers below.
async fn signed(upstream: &Issuer) -> Vec<String> {
    let log = upstream.operator().run(&["audit", "tail", "--lines", "1000"]).await.succeeded();
    let kind = "\"org.marque.authority.signed_downstream\"";
    log.out.lines().filter(|leaf| leaf.contains(kind)).map(str::to_owned).collect()
}

/// The roots that a trust domain publishes, in base64 of DER.
pub(crate) async fn roots(issuer: &Issuer) -> Vec<String> {
    let http = Http::trusting(&issuer.place.ca_file);
    let bundle = http.send(Call::get(&issuer.place.bundle_url)).await.expect(200).json();
    let keys = bundle["keys"].as_array().unwrap_or_else(|| panic!("{bundle}"));
    let x509 = keys.iter().filter(|key| key["use"] == "x509-svid");
    x509.map(|key| key["x5c"][0].as_str().expect("a certificate").to_owned()).collect()
}

async fn source(issuer: &Issuer, path: &str) -> X509Source {
    issuer.operator().register(&issuer.place.id(path), "service", &this_program()).await;
    let source = X509Source::builder().endpoint(issuer.place.workload_api());
    within("the X.509 source", source.build()).await.expect("a source")
}

/// Mutual TLS by a library of others between who has `server` and who has `client`, each of which has to be exactly that.
async fn shake_hands(
    (server, server_id): (X509Source, &str),
    (client, client_id): (X509Source, &str),
) {
    let exact = |id: &str| authorizer::exact([id]).expect("an authorizer");
    let server = mtls_server(server).authorize(exact(client_id)).build().expect("a server");
    let client = mtls_client(client).authorize(exact(server_id)).build().expect("a client");
    let (near, far) = tokio::io::duplex(64 * 1024);
    let name = rustls_pki_types::ServerName::try_from("localhost").expect("a name");
    let (accepted, connected) = tokio::join!(
        TlsAcceptor::from(Arc::new(server)).accept(far),
        TlsConnector::from(Arc::new(client)).connect(name, near)
    );
    let (mut accepted, mut connected) =
        (accepted.expect("accepted"), connected.expect("connected"));
    accepted.write_all(b"hello").await.expect("it writes");
    accepted.shutdown().await.expect("it ends");
    let mut said = String::new();
    connected.read_to_string(&mut said).await.expect("it reads");
    assert_eq!(said, "hello");
}

/// `openssl verify` of the command line's own SVID by the roots of `by` and nothing else.
async fn openssl_verifies(issuer: &Issuer, by: &Issuer) {
    issuer.operator().register(&issuer.place.id("/service/cli"), "service", marque()).await;
    let shown = issuer.operator().json(&["svid", "x509"]).await;
    let svid = shown.as_array().and_then(|svids| svids.first()).unwrap_or(&shown);
    let chain = svid["chain_pem"].as_str().unwrap_or_else(|| panic!("{shown}"));
    assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2, "{chain}");
    let pem = roots(by)
        .await
        .into_iter()
        .map(|root| format!("-----BEGIN CERTIFICATE-----\n{root}\n-----END CERTIFICATE-----\n"));
    let (chain_file, root_file) = (issuer.path("chain.pem"), issuer.path("roots.pem"));
    fs::write(&chain_file, chain).expect("a PEM file");
    fs::write(&root_file, pem.collect::<String>()).expect("a PEM file");
    for purpose in ["sslclient", "sslserver"] {
        assert_eq!(verify(&root_file, &chain_file, purpose).await, Ok(()), "{purpose}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn svids_of_a_marque_below_another_verify_by_its_bundle_and_the_other_way_round() {
    let upstream = upstream().await;
    let below = Issuer::start_with(TIERS, |folder| stands_below(folder, &upstream)).await;
    assert_eq!(roots(&below).await, roots(&upstream).await);
    let leaves = signed(&upstream).await;
    let [leaf] = leaves.as_slice() else { panic!("{leaves:?}") };
    assert!(leaf.contains(BELOW) && leaf.contains("\"serial\"") && leaf.contains("expires_at"));

    let (above_id, below_id) =
        (upstream.place.id("/service/above"), below.place.id("/service/below"));
    let above = source(&upstream, "/service/above").await;
    let lower = source(&below, "/service/below").await;
    assert_eq!(above.svid().expect("an SVID").cert_chain().len(), 1);
    assert_eq!(lower.svid().expect("an SVID").cert_chain().len(), 2);
    let again = X509Source::builder().endpoint(upstream.place.workload_api());
    let again = within("the X.509 source", again.build()).await.expect("a source");
    let lower_again = X509Source::builder().endpoint(below.place.workload_api());
    let lower_again = within("the X.509 source", lower_again.build()).await.expect("a source");
    shake_hands((above, &above_id), (lower, &below_id)).await;
    shake_hands((lower_again, &below_id), (again, &above_id)).await;
    if openssl_is_there().await {
        openssl_verifies(&below, &upstream).await;
    }
    let verified = upstream.operator().json(&["audit", "verify"]).await;
    assert!(verified["size"].as_u64() > Some(1), "{verified}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_authority_is_asked_for_by_the_clock_and_what_signs_goes_on_while_nobody_answers()
{
    let port = free_port().await;
    let mut upstream = Issuer::start_with(TIERS, |folder| signs_for_others(folder, port)).await;
    upstream.operator().register(BELOW, "service", marque()).await;
    let below = Issuer::start_with(TIERS, |folder| {
        live_fast(folder, "24s", "4s");
        stands_below(folder, &upstream);
    })
    .await;
    let source = source(&below, "/service/below").await;
    until("another certificate by the clock", async || {
        (signed(&upstream).await.len() >= 2).then_some(())
    })
    .await;
    upstream
        .down_while(async {
            until("the reason in the log", async || {
                let log = fs::read_to_string(below.path("log")).expect("a log");
                log.contains("upstream signed no certificate").then_some(())
            })
            .await;
            let leaf = source.svid().expect("an SVID").leaf().as_bytes().to_vec();
            until("the next SVID of the authority that signs", async || {
                let next = source.svid().ok()?;
                (next.leaf().as_bytes() != leaf).then_some(())
            })
            .await;
        })
        .await;
    let log = fs::read_to_string(below.path("log")).expect("a log");
    assert!(log.contains("gives no X.509-SVID to ask with"), "{log}");
    let so_far = signed(&upstream).await.len();
    until("a certificate after the upstream is back", async || {
        (signed(&upstream).await.len() > so_far).then_some(())
    })
    .await;
    assert!(source.svid().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_listed_does_not_come_up_and_says_why() {
    let upstream = Issuer::start_with(TIERS, |folder| signs_for_others(folder, 0)).await;
    let other = upstream.place.id("/issuer/other");
    upstream.operator().register(&other, "service", marque()).await;
    let said = Issuer::fails_with(TIERS, |folder| stands_below(folder, &upstream)).await;
    assert!(said.contains("upstream") && said.contains("is no downstream server"), "{said}");
    assert_eq!(signed(&upstream).await, Vec::<String>::new());
}

/// A Python whose process is `/issuer/below` at the upstream.
struct PythonServer {
    program: PathBuf,
    upstream: Issuer,
}

impl PythonServer {
    async fn begin(python: &Path) -> Self {
        let upstream = Issuer::start_with(TIERS, |folder| signs_for_others(folder, 0)).await;
        let program = own_interpreter(python, &upstream.path(""), "python-server");
        upstream.operator().register(BELOW, "service", &program).await;
        Self { program, upstream }
    }

    async fn asks(&self, what: &[&str]) -> Value {
        let place = &self.upstream.place;
        let at = place.downstream.as_ref().expect("a listener for servers below");
        let arguments = [&[at.address.as_str(), at.spiffe_id.as_str()], what].concat();
        run(&self.program, "spire_client.py", place, &arguments, "").await
    }

    /// Asks on a connection that stood before something happened.
    async fn asks_after(&self, happens: impl Future<Output = ()>) -> Value {
        let folder = self.upstream.path("");
        let path = folder.display().to_string();
        let what = ["held", path.as_str()];
        let happened = async {
            until("a connection", async || folder.join("held").exists().then_some(())).await;
            happens.await;
            fs::write(folder.join("go"), "").expect("a file");
        };
        let (told, ()) = tokio::join!(self.asks(&what), happened);
        told
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_another_make_has_its_authority_signed() {
    let Some(python) = interpreter() else { return };
    let server = PythonServer::begin(&python).await;
    let told = server.asks(&["everything"]).await;
    for kind in ["p256", "p384", "rsa"] {
        let one = &told[kind];
        assert_eq!((&one["chain"], &one["roots"]), (&json!(1), &json!(1)), "{told}");
        assert_eq!(
            (&one["own_key"], &one["ends_with_root"]),
            (&json!(true), &json!(true)),
            "{told}"
        );
        assert_eq!(one["ca"], json!([true, true, 0]), "{told}");
        assert_eq!(one["usage"], json!([true, true, false]), "{told}");
        assert_eq!(one["uris"], json!([format!("spiffe://{TIERS}")]), "{told}");
        let subject = one["subject"].as_str().expect("a subject");
        assert!(subject.contains(&format!("O={TIERS}")), "{subject}");
        assert!(subject.contains("OU=non-production,") && subject.contains("CN=python-server"));
    }
    // Back-dated by ten seconds; what is longer than the ceiling is cut to it.
    assert_eq!(told["p256"]["seconds"], 610, "{told}");
    assert_eq!(told["p384"]["seconds"], 24 * 3600 + 10, "{told}");
    assert_eq!(told["rsa"]["seconds"], 24 * 3600 + 10, "{told}");
    assert_eq!(told["nameless"], 1, "{told}");
    for (request, said) in [
        ("nothing", "is not one certification request"),
        ("trailing", "is not one certification request"),
        ("tampered", "is not signed by the key"),
        ("small", "neither P-256, P-384 nor RSA of 2048"),
    ] {
        let refused = &told["refused"][request];
        assert_eq!(refused[0], "INVALID_ARGUMENT", "{request}: {told}");
        assert_eq!(refused[1], "downstream_request", "{request}: {told}");
        assert!(refused[2].as_str().expect("why").contains(said), "{request}: {told}");
    }
    assert_eq!(told["refused"]["negative"][1], "downstream_lifetime", "{told}");
    let bundle = &told["bundle"];
    assert_eq!((&bundle["trust_domain"], &bundle["x509"]), (&json!(TIERS), &json!(1)), "{told}");
    assert_eq!(bundle["tainted"], json!([false]), "{told}");
    assert!(bundle["refresh_hint"].as_i64() > Some(0) && bundle["sequence"].as_u64() > Some(0));
    assert!(bundle["jwt"].as_array().is_some_and(|keys| !keys.is_empty()), "{told}");
    assert_eq!((&told["masked"], &told["unimplemented"]), (&json!(0), &json!("UNIMPLEMENTED")));
    let burst = told["burst"].as_array().expect("answers");
    let limited = json!(["RESOURCE_EXHAUSTED", "downstream_rate"]);
    assert!(burst.contains(&limited) && burst.last() == Some(&limited), "{told}");

    let leaves = signed(&server.upstream).await;
    let serial = told["p256"]["serial"].as_str().expect("a serial number");
    assert!(leaves.iter().any(|leaf| leaf.contains(serial)), "{serial}: {leaves:?}");
    let answered = burst.iter().filter(|answer| answer[0] == "OK").count();
    assert_eq!(leaves.len(), 4 + answered, "every certificate is on record: {leaves:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_stopped_unregistered_or_of_the_other_environment_has_nothing_signed() {
    let Some(python) = interpreter() else { return };
    let mut server = PythonServer::begin(&python).await;
    let upstream = server.upstream.operator();
    assert_eq!(server.asks(&["once"]).await["answer"][0], "OK");
    // Of the same name, and of the other environment: nothing of it gets beyond the handshake.
    let production = Issuer::start_with(TIERS, |folder| {
        edit(folder, DOCUMENT, "environment = \"non-production\"", "environment = \"production\"");
        // What it grants is for the other environment alone.
        edit(folder, "playbooks/restart-preview.toml", "mode = \"auto\"", "mode = \"rule\"");
        fs::remove_file(folder.join("policy/tests/restart-preview.toml")).expect("a file of cases");
    })
    .await;
    let program = own_interpreter(&python, &production.path(""), "python-server");
    production.operator().register(BELOW, "service", &program).await;
    let at = server.upstream.place.downstream.clone().expect("a listener");
    let arguments = [at.address.as_str(), "anybody", "handshake"];
    let told = run(&program, "spire_client.py", &production.place, &arguments, "").await;
    let refused = told["refused"].as_str().unwrap_or_else(|| panic!("{told}"));
    assert!(refused.contains("ALERT"), "{told}");
    assert_eq!(signed(&server.upstream).await.len(), 1);

    // Another workload of the trust domain, which is not listed.
    let stranger = own_interpreter(&python, &server.upstream.path(""), "python-stranger");
    let id = server.upstream.place.id("/service/stranger");
    upstream.register(&id, "service", &stranger).await;
    let listed = std::mem::replace(&mut server.program, stranger);
    let told = server.asks(&["once"]).await;
    for call in ["answer", "bundle"] {
        assert_eq!(told[call][0], "PERMISSION_DENIED", "{told}");
        assert_eq!(told[call][1], "downstream_not_listed", "{told}");
    }
    server.program = listed;

    // With its SVID still in hand.
    let told = server.asks_after(upstream.kill(&["agent", BELOW])).await;
    assert_eq!(told["answer"][0], "PERMISSION_DENIED", "{told}");
    assert_eq!(told["answer"][1], "downstream_stopped", "{told}");
    assert_eq!(signed(&server.upstream).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_a_reload_takes_off_the_list_has_nothing_signed_until_it_is_back_on_it() {
    let Some(python) = interpreter() else { return };
    let server = PythonServer::begin(&python).await;
    let operator = server.upstream.operator();
    let folder = server.upstream.path("t").join(TIERS);
    let other = BELOW.replace("/below", "/other");
    let lists = async |before: &str, after: &str| {
        edit(&folder, DOCUMENT, &format!("[\"{before}\"]"), &format!("[\"{after}\"]"));
        reload(&operator).await;
    };
    assert_eq!(server.asks(&["once"]).await["answer"][0], "OK");
    // Also on the connection that it has.
    let told = server.asks_after(lists(BELOW, &other)).await;
    let again = server.asks(&["once"]).await;
    for told in [told, again] {
        for call in ["answer", "bundle"] {
            let refused = json!(["PERMISSION_DENIED", "downstream_not_listed"]);
            assert_eq!(json!([told[call][0], told[call][1]]), refused, "{told}");
        }
    }
    assert_eq!(signed(&server.upstream).await.len(), 1);
    lists(&other, BELOW).await;
    let told = server.asks(&["once"]).await;
    assert_eq!((&told["answer"][0], &told["bundle"][0]), (&json!("OK"), &json!("OK")), "{told}");
    assert_eq!(signed(&server.upstream).await.len(), 2);
}

/// A server of Python's that signs as SPIRE does.
pub(crate) struct SpireServer {
    _child: Child,
    pub(crate) folder: TempDir,
    told: Value,
}

impl SpireServer {
    pub(crate) async fn begin(python: &Path) -> Self {
        let folder = tempfile::Builder::new().prefix("mq").tempdir_in("/tmp").expect("a folder");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/spire_server.py");
        let mut child = Command::new(python)
            .arg(script)
            .arg(TIERS)
            .arg(folder.path())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Python starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let told = within("the server", lines.next_line()).await.expect("UTF-8").expect("a line");
        let told = serde_json::from_str(&told).expect("JSON");
        Self { _child: child, folder, told }
    }

    pub(crate) fn text(&self, member: &str) -> &str {
        self.told[member].as_str().unwrap_or_else(|| panic!("{}", self.told))
    }

    pub(crate) fn above(&self, folder: &Path, more: &str) {
        asks(folder, self.text("server"), self.text("agent"), more);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_root_names_no_environment_is_an_upstream_where_it_is_pinned_alone() {
    let Some(python) = interpreter() else { return };
    let spire = SpireServer::begin(&python).await;
    let said = Issuer::fails_with(TIERS, |folder| spire.above(folder, "")).await;
    assert!(said.contains("pin the root in [upstream]"), "{said}");
    let pin = |digest: &str| format!("roots = [\"sha256:{digest}\"]");
    let other = pin(&"ab".repeat(32));
    let said = Issuer::fails_with(TIERS, |folder| spire.above(folder, &other)).await;
    assert!(said.contains("is not pinned"), "{said}");
    let nobody = format!(
        "{}\nserver_spiffe_id = \"spiffe://{TIERS}/another/server\"",
        pin(spire.text("root_sha256"))
    );
    let said = Issuer::fails_with(TIERS, |folder| spire.above(folder, &nobody)).await;
    let expected = format!("which has to be `spiffe://{TIERS}/another/server`");
    assert!(said.contains(&expected) && said.contains("SomebodyElse"), "{said}");

    let pinned = pin(spire.text("root_sha256"));
    let below = Issuer::start_with(TIERS, |folder| spire.above(folder, &pinned)).await;
    let source = source(&below, "/service/below").await;
    assert_eq!(source.svid().expect("an SVID").cert_chain().len(), 2);
    if openssl_is_there().await {
        openssl_verifies(&below, &below).await;
    }
    let asked = fs::read_to_string(spire.folder.path().join("asked")).expect("what it was asked");
    let last: Value = serde_json::from_str(asked.lines().last().expect("a line")).expect("JSON");
    assert_eq!(last, json!({ "by": [BELOW], "ttl": 30 * 24 * 3600 }), "{asked}");
}
