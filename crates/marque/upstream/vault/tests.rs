//! A PKI secrets engine on a real socket.

use std::error::Error as _;

use marque_registry::{TrustDomainDocument, UpstreamSigner};
use marque_testkit::{FixedClock, START, ScratchCa, ScratchTrustDomain};
use rcgen::{CertificateParams, DnType, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::federation::tests::DOCUMENT;
use crate::pem::pem_certificates;

const TOKEN: &str = "hvs.a-token-that-nobody-logs";

/// What the engine was asked: the head of the request, and its body.
struct Asked {
    head: String,
    body: Value,
}

struct Stage {
    folder: TempDir,
    root: ScratchCa,
    domain: ScratchTrustDomain,
}

impl Stage {
    fn new() -> Self {
        let folder = marque_testkit::temp_dir();
        std::fs::write(folder.path().join("token"), format!("{TOKEN}\n")).unwrap();
        let domain = ScratchTrustDomain::new("example.org");
        let root = ScratchCa::root(domain.ca_params());
        Self { folder, root, domain }
    }

    fn request(&self) -> CertificateRequest {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "x509-authority-b-2");
        params.is_ca = self.domain.ca_params().is_ca;
        CertificateRequest {
            slot: "x509-authority-b-2".parse().unwrap(),
            pem: params.serialize_request(&key).unwrap().pem().unwrap(),
            lifetime: Duration::from_secs(7200),
            path_length: 1,
        }
    }

    fn vault(&self, listener: &TcpListener) -> Vault {
        let address = listener.local_addr().unwrap();
        let table = format!(
            "[upstream]\nkind = \"vault\"\nurl = \"http://{address}\"\nmount = \"pki/agents\"\n\
             namespace = \"platform\"\ntoken_file = \"token\"\ntimeout = \"5s\"\n"
        );
        let document = format!("{DOCUMENT}\n{table}");
        let document = TrustDomainDocument::parse(Path::new("t.toml"), &document).unwrap();
        let UpstreamSigner::Vault(settings) = document.upstream().unwrap().signer() else {
            panic!()
        };
        let clock: Arc<dyn Clock> = Arc::new(FixedClock::new(START));
        Vault::open(settings, document.name().as_str(), self.folder.path(), &clock).unwrap()
    }

    /// Asks for a certificate; the engine answers with `status` and what `answer` makes of the request.
    async fn ask(
        &self,
        status: &str,
        answer: impl FnOnce(&Self, &Asked) -> Value,
    ) -> (Result<SignedAuthority, UpstreamError>, Asked) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let vault = self.vault(&listener);
        let request = self.request();
        let serving = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let asked = received(&mut stream).await;
            let body = answer(self, &asked).to_string();
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
            // The client hangs up on an answer that is too long.
            drop(stream.write_all(format!("{head}{body}").as_bytes()).await);
            asked
        };
        tokio::join!(vault.sign(&request), serving)
    }

    /// The certificate for a request, as the engine answers it.
    fn signed(&self, asked: &Asked) -> String {
        let csr = asked.body["csr"].as_str().unwrap();
        pem_certificates(&[self.root.sign_request(csr, &self.domain.ca_params())])
    }

    fn root_pem(&self) -> String {
        pem_certificates(&[self.root.certificate().clone()])
    }
}

async fn received(stream: &mut tokio::net::TcpStream) -> Asked {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    Asked { head, body: serde_json::from_slice(&body).unwrap() }
}

/// Everything that an error says, down to its last cause.
fn told(error: &UpstreamError) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        told = format!("{told}: {error}");
        cause = error.source();
    }
    told
}

#[tokio::test]
async fn a_certificate_is_asked_for_as_the_engine_wants_it() {
    let stage = Stage::new();
    let (signed, asked) = stage
        .ask("200 OK", |stage, asked| {
            let certificate = stage.signed(asked);
            let root = stage.root_pem();
            json!({ "data": { "certificate": certificate, "ca_chain": [root], "issuing_ca": root } })
        })
        .await;
    let signed = signed.unwrap();
    assert_eq!(signed.roots, [stage.root.certificate().clone()], "once, though it was told twice");
    assert_eq!(signed.chain.len(), 1);
    assert!(
        asked.head.starts_with("post /v1/pki/agents/root/sign-intermediate "),
        "{}",
        asked.head
    );
    for header in [format!("x-vault-token: {TOKEN}"), "x-vault-namespace: platform".to_owned()] {
        assert!(asked.head.contains(&header.to_lowercase()), "{}", asked.head);
    }
    assert_eq!(asked.body["ttl"], "7200s");
    assert_eq!(asked.body["use_csr_values"], true);
    assert_eq!(asked.body["max_path_length"], 1);
    assert_eq!(asked.body["format"], "pem");
}

#[tokio::test]
async fn an_answer_that_is_no_certificate_is_told_without_the_token() {
    let stage = Stage::new();
    let denied =
        |_: &Stage, _: &Asked| json!({ "errors": ["1 error: permission\ndenied", "more"] });
    let (refused, _) = stage.ask("403 Forbidden", denied).await;
    let refused = told(&refused.unwrap_err());
    assert!(refused.contains("403") && refused.contains("permission denied"), "{refused}");
    assert!(!refused.contains(TOKEN) && !refused.contains('\n'), "{refused}");

    let (refused, _) = stage.ask("307 Temporary Redirect", |_, _| json!({})).await;
    assert!(told(&refused.unwrap_err()).contains("307"));
    let (refused, _) = stage.ask("200 OK", |_, _| json!({ "data": {} })).await;
    assert!(told(&refused.unwrap_err()).contains("data.certificate"));
    let without_root =
        |stage: &Stage, asked: &Asked| json!({ "data": { "certificate": stage.signed(asked) } });
    let (refused, _) = stage.ask("200 OK", without_root).await;
    assert!(told(&refused.unwrap_err()).contains("end at its root"));
    let (refused, _) = stage.ask("200 OK", |_, _| json!({ "data": "x".repeat(300_000) })).await;
    assert!(told(&refused.unwrap_err()).contains("at most 262144 bytes"));
}

#[tokio::test]
async fn a_token_that_cannot_be_read_asks_nobody() {
    let stage = Stage::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let vault = stage.vault(&listener);
    std::fs::remove_file(stage.folder.path().join("token")).unwrap();
    let refused = told(&vault.sign(&stage.request()).await.unwrap_err());
    assert!(refused.contains("token"), "{refused}");
}
