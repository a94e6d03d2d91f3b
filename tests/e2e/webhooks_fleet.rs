//! Webhooks of two replicas over one PostgreSQL: each message is told once, and where one replica ends the other goes on.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::fleet::{AGENT, Fleet, database};
use crate::people::certificates;
use crate::support::agent::Workload;
use crate::support::programs::copy_of_this_program;
use crate::support::wait::until;

const SECRET: &str = "whsec_bWFycXVlLWZsZWV0LXRlc3RzLTAwMDAwMDAx\n";

/// Somebody who is told, over TLS as production wants it: the ids of what came.
#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Vec<String>>>);

impl Receiver {
    /// Its URL; its authority is in `ca.pem` of the folder.
    async fn start(&self, folder: &Path) -> String {
        let [_, certificate, key] = certificates(folder);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_file(certificate).unwrap()],
                PrivateKeyDer::from_pem_file(key).unwrap(),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/hook", listener.local_addr().unwrap().port());
        let (acceptor, own) = (TlsAcceptor::from(Arc::new(config)), self.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, own) = (acceptor.clone(), own.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let tell = service_fn(async |request: http::Request<Incoming>| {
                        let id = request.headers()["webhook-id"].to_str().unwrap().to_owned();
                        own.0.lock().unwrap().push(id);
                        Ok::<_, io::Error>(http::Response::new(Empty::<Bytes>::new()))
                    });
                    let serving = hyper::server::conn::http1::Builder::new();
                    drop(serving.serve_connection(TokioIo::new(stream), tell).await);
                });
            }
        });
        url
    }

    fn told(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_on_one_postgresql_tell_once_and_one_goes_on_without_the_other() {
    let Some(server) = database() else { return };
    let fleet = Fleet::new(&server).await;
    let (receiver, folder) = (Receiver::default(), fleet.path("trust-domain"));
    let scratch = fleet.path("receiver");
    fs::create_dir(&scratch).unwrap();
    let url = receiver.start(&scratch).await;
    fs::write(folder.join("bus.secret"), SECRET).unwrap();
    let document = folder.join("trust-domain.toml");
    let text = fs::read_to_string(&document).unwrap();
    let table = format!(
        "\n[[webhooks]]\nname = \"bus\"\nurl = \"{url}\"\nca_file = \"{}\"\nsecret_file = \"bus.secret\"\n\
         events = [\"intent.pending\", \"intent.cancelled\"]\n",
        scratch.join("ca.pem").display()
    );
    fs::write(&document, text + &table).unwrap();

    let mut first = fleet.start("a").await;
    fleet.share_keys(&first, "b");
    let second = fleet.start("b").await;
    let program = copy_of_this_program("fleet-webhooks");
    first.operator().register(&first.place.id(AGENT), "agent", &program).await;
    let client = first.client(&program).await;
    let whole = async |listed: Value| (listed[0]["behind"] == 0).then_some(());
    let caught_up = async || {
        let operator = second.operator();
        until("all of it", async || whole(operator.json(&["webhook", "list"]).await).await).await;
    };
    let round = async |client: &crate::support::oauth::Client| {
        let intent = client.ask_rotation().await;
        client.end(&intent, "cancel", &serde_json::json!({})).await.expect(200);
    };
    for _ in 0..3 {
        round(&client).await;
    }
    caught_up().await;
    let told = receiver.told();
    let different: BTreeSet<&String> = told.iter().collect();
    assert_eq!((told.len(), different.len()), (6, 6), "{told:?}");

    // Whichever had the turn: the other has it when its time is over.
    let mut workload = Workload::start(&program, &second.place);
    until("the entry on the second replica", async || {
        workload.try_jwt_svid(&[&second.place.issuer_url]).await.ok()
    })
    .await;
    first.child.kill().await.unwrap();
    let client = second.client(&program).await;
    round(&client).await;
    caught_up().await;
    let told = receiver.told();
    let different: BTreeSet<&String> = told.iter().collect();
    assert_eq!((told.len(), different.len()), (8, 8), "{told:?}");
}
