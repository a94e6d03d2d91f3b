//! SPIFFE Federation between real daemons, and with a bundle endpoint that this project did not write.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use futures::StreamExt as _;
use marque_testkit::ScratchTrustDomain;
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use spiffe::{TrustDomain, WorkloadApiClient};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use crate::support::daemon::{Daemon, NON_PRODUCTION};
use crate::support::http::{Call, Http};
use crate::support::issuer::Issuer;
use crate::support::programs::this_program;
use crate::support::tokens::{header, timestamp};
use crate::support::wait::{until, within};
use crate::support::wit;

const PARTNER: &str = "partner.example.org";

/// The keys of a bundle document for one use.
fn keys<'a>(bundle: &'a Value, key_use: &str) -> Vec<&'a Value> {
    let keys = bundle["keys"].as_array().expect("keys");
    keys.iter().filter(|key| key["use"] == key_use).collect()
}

/// The X.509 authorities of a bundle document, DER.
fn authorities(bundle: &Value) -> Vec<Vec<u8>> {
    use base64::Engine as _;
    let x5c = |key: &&Value| key["x5c"][0].as_str().expect("x5c").to_owned();
    let decode = |text: String| base64::prelude::BASE64_STANDARD.decode(text).expect("base64");
    keys(bundle, "x509-svid").iter().map(x5c).map(decode).collect()
}

fn partner_name() -> TrustDomain {
    TrustDomain::new(PARTNER).expect("a trust domain")
}

/// Has non-production federate with the partner in this way, and this very process get its bundle.
fn federate(trust_domains: &Path, federation: &str) {
    let folder = trust_domains.join(NON_PRODUCTION);
    let file = folder.join("trust-domain.toml");
    let text = fs::read_to_string(&file).unwrap();
    let federation = format!(
        "\n[[federation]]\ntrust_domain = \"{PARTNER}\"\nenvironment = \"non-production\"\n{federation}"
    );
    fs::write(file, format!("{text}{federation}")).unwrap();
    let (uid, program) = (nix::unistd::geteuid(), this_program());
    let entry = format!(
        "[[entry]]\nid = \"e2e\"\nspiffe_id = \"spiffe://{NON_PRODUCTION}/service/e2e\"\nrole = \"service\"\nowner = \"group:tests\"\nexpires_at = \"2031-01-01T00:00:00Z\"\nselectors = [\"unix:uid:{uid}\", \"unix:path:{}\"]\n",
        program.display()
    );
    let entry = format!("{entry}federates_with = [\"{PARTNER}\"]\n");
    fs::write(folder.join("entries/e2e.toml"), entry).unwrap();
}

/// Takes all of it back, but for the entry.
fn part(trust_domains: &Path) {
    let folder = trust_domains.join(NON_PRODUCTION);
    for (file, from) in
        [("trust-domain.toml", "\n[[federation]]"), ("entries/e2e.toml", "federates")]
    {
        let text = fs::read_to_string(folder.join(file)).unwrap();
        let (before, _) = text.split_once(from).expect("what was written");
        fs::write(folder.join(file), before).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fe_1_what_signs_is_in_the_served_bundle_from_the_first_answer_on() {
    let partner = Issuer::start(PARTNER).await;
    let place = &partner.place;
    let answer = Http::trusting(&place.ca_file).send(Call::get(&place.bundle_url)).await;
    let bundle = answer.clone().expect(200).json();
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["cache-control"], "public, max-age=75");
    assert_eq!(bundle["spiffe_refresh_hint"], 300);
    assert!(bundle["spiffe_sequence"].as_u64().unwrap() > 0, "{bundle}");

    // Whatever is signed after that is verified by what was served before.
    partner.operator().register(&place.id("/service/e2e"), "service", &this_program()).await;
    let workload = WorkloadApiClient::connect_to(place.workload_api()).await.unwrap();
    let svid = workload.fetch_x509_svid().await.unwrap();
    let (_, leaf) = x509_parser::parse_x509_certificate(svid.cert_chain()[0].as_bytes()).unwrap();
    let signed = |authority: &Vec<u8>| {
        let (_, authority) = x509_parser::parse_x509_certificate(authority).unwrap();
        leaf.verify_signature(Some(authority.public_key())).is_ok()
    };
    assert_eq!(authorities(&bundle).iter().filter(|one| signed(one)).count(), 1);
    let token = workload.fetch_jwt_svid(["x"], None).await.unwrap().token().to_owned();
    let kid = &header(&token)["kid"];
    let key = keys(&bundle, "jwt-svid").into_iter().find(|key| &key["kid"] == kid).unwrap();
    let key = serde_json::from_value::<jsonwebtoken::jwk::Jwk>(standard(key)).unwrap();
    let key = jsonwebtoken::DecodingKey::from_jwk(&key).unwrap();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
    validation.set_audience(&["x"]);
    jsonwebtoken::decode::<Value>(&token, &key, &validation).expect("a good signature");
    let svids = wit::fetch(&place.workload_api_socket).await.unwrap();
    let wit_keys: Vec<_> = keys(&bundle, "wit-svid").into_iter().map(standard).collect();
    let wit_keys = json!({ "keys": wit_keys }).to_string();
    wit::verify(&svids[0].wit_svid, &wit_keys).expect("a good signature");

    // A look at the daemon says where it is served.
    let status = partner.operator().json(&["status"]).await;
    assert_eq!(status[0]["bundle_url"], Value::String(place.bundle_url.clone()));
}

/// The key without what only SPIFFE knows.
fn standard(key: &Value) -> Value {
    let mut key = key.clone();
    key.as_object_mut().unwrap().remove("use");
    key
}

#[tokio::test(flavor = "multi_thread")]
async fn fe_8_a_daemon_fetches_the_bundle_of_another_until_the_relationship_ends() {
    let partner = Issuer::start(PARTNER).await;
    let place = partner.place.clone();
    partner.operator().register(&place.id("/service/e2e"), "service", &this_program()).await;
    let mut daemon = Daemon::start_with(|trust_domains| {
        fs::copy(&place.ca_file, trust_domains.join(NON_PRODUCTION).join("partner-ca.pem"))
            .unwrap();
        let url = &place.bundle_url;
        let endpoint =
            format!("url = \"{url}\"\nprofile = \"https_web\"\nca_file = \"partner-ca.pem\"\n");
        federate(trust_domains, &endpoint);
    })
    .await;
    let there = WorkloadApiClient::connect_to(place.workload_api()).await.unwrap();
    let socket = daemon.place(NON_PRODUCTION).workload_api();
    let here = WorkloadApiClient::connect_to(&socket).await.unwrap();
    let mut stream = Box::pin(here.stream_x509_contexts().await.unwrap());
    let federated = within("the partner's bundle", async {
        loop {
            let context = stream.next().await.expect("the stream goes on").unwrap();
            if let Some(bundle) = context.bundle_set().get(&partner_name()) {
                break bundle;
            }
        }
    })
    .await;
    let bundle = there.fetch_x509_bundles().await.unwrap().get(&partner_name()).unwrap();
    assert_eq!(federated.authorities(), bundle.authorities());
    // SVIDs of the partner verify here, by what was fetched.
    let token = there.fetch_jwt_svid(["here"], None).await.unwrap().token().to_owned();
    let validated = until("the token to be believed", async || {
        here.validate_jwt_token("here", &token).await.ok()
    })
    .await;
    assert_eq!(validated.spiffe_id().to_string(), place.id("/service/e2e"));

    // The bundle outlives a restart, though the partner is gone.
    drop(partner);
    assert!(daemon.stop().await.success());
    daemon.launch().await;
    let here =
        WorkloadApiClient::connect_to(daemon.place(NON_PRODUCTION).workload_api()).await.unwrap();
    let bundles = here.fetch_x509_bundles().await.unwrap();
    assert_eq!(bundles.get(&partner_name()).unwrap().authorities(), bundle.authorities());
    here.validate_jwt_token("here", &token).await.expect("still believed");

    // The end of the relationship reaches the validators.
    assert!(daemon.stop().await.success());
    part(&daemon.path("trust-domains"));
    daemon.launch().await;
    let here =
        WorkloadApiClient::connect_to(daemon.place(NON_PRODUCTION).workload_api()).await.unwrap();
    assert!(here.fetch_x509_bundles().await.unwrap().get(&partner_name()).is_none());
    assert!(here.validate_jwt_token("here", &token).await.is_err());
    let kept = daemon.data_dir().join(NON_PRODUCTION).join("private/federation");
    assert_eq!(fs::read_dir(kept).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn fe_7_a_bundle_from_an_endpoint_with_an_svid_reaches_an_open_stream() {
    let old = Arc::new(ScratchTrustDomain::at(PARTNER, timestamp()));
    let new = ScratchTrustDomain::at(PARTNER, timestamp());
    let mut document = new.bundle().to_document();
    document["spiffe_sequence"] = 2.into();
    let (port, release) = endpoint(&old, document.to_string()).await;
    let daemon = Daemon::start_with(|trust_domains| {
        let initial = old.bundle().to_document().to_string();
        fs::write(trust_domains.join(NON_PRODUCTION).join("partner.json"), initial).unwrap();
        federate(
            trust_domains,
            &format!(
                "bundle = \"partner.json\"\nurl = \"https://localhost:{port}/\"\nprofile = \"https_spiffe\"\nendpoint_spiffe_id = \"spiffe://{PARTNER}/bundle\"\n"
            ),
        );
    })
    .await;
    let socket = daemon.place(NON_PRODUCTION).workload_api();
    let here = WorkloadApiClient::connect_to(&socket).await.unwrap();
    let mut stream = Box::pin(here.stream_x509_contexts().await.unwrap());
    let mut next = async || {
        let context = within("a message", stream.next()).await.expect("it goes on").unwrap();
        let bundle = context.bundle_set().get(&partner_name()).expect("the partner's bundle");
        bundle.authorities()[0].as_bytes().to_vec()
    };
    assert_eq!(next().await, old.root().certificate().to_vec(), "the one to begin with");
    release.notify_one();
    assert_eq!(next().await, new.root().certificate().to_vec(), "the one that was fetched");
}

/// A bundle endpoint that holds back its answer until it is told.
async fn endpoint(partner: &ScratchTrustDomain, document: String) -> (u16, Arc<Notify>) {
    let svid = partner.x509_svid(&partner.id("/bundle"));
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(svid.private_key));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(svid.chain, key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let release = Arc::new(Notify::new());
    let released = Arc::clone(&release);
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await.unwrap();
        let mut head = [0; 1024];
        assert!(stream.read(&mut head).await.unwrap() > 0);
        released.notified().await;
        let length = document.len();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{document}");
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
    });
    (port, release)
}
