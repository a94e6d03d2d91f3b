//! The issuer under load: `marque issuer` over one engine, with as many agents as a benchmark wants.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::support::agent::Workload;
use crate::support::folder;
use crate::support::http::Http;
use crate::support::oauth::Client;
use crate::support::operator::Operator;
use crate::support::place::Place;
use crate::support::programs::{copy_of_this_program, marque};
use crate::support::wait::until;

const TRUST_DOMAIN: &str = "dev.example.org";

/// What a benchmark sets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    /// How many verified SVIDs the issuer remembers.
    pub(crate) verified_svids: u32,
    /// Uses of each intent.
    pub(crate) uses: usize,
    /// How many agents there are, each a process with an identity of its own.
    pub(crate) agents: usize,
    /// How many playbooks there are, at least.
    pub(crate) playbooks: usize,
}

impl Default for Setting {
    fn default() -> Self {
        Self { verified_svids: 4096, uses: 1, agents: 1, playbooks: 0 }
    }
}

/// Where everything is kept.
#[derive(Debug, Clone)]
pub(crate) enum Engine {
    Sqlite,
    /// In a database of its own on this server.
    Postgres(String),
}

impl Engine {
    #[expect(clippy::disallowed_methods, reason = "where PostgreSQL is comes from the environment")]
    pub(crate) fn here() -> Vec<Self> {
        let server = std::env::var("MARQUE_TEST_POSTGRES_URL").ok();
        std::iter::once(Self::Sqlite).chain(server.map(Self::Postgres)).collect()
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres(_) => "postgres",
        }
    }

    /// The value of `--store`.
    async fn store(&self, folder: &TempDir) -> String {
        let Self::Postgres(server) = self else { return "sqlite".to_owned() };
        let name = folder.path().file_name().and_then(|name| name.to_str()).expect("a name");
        let database = format!("load_{}", name.to_lowercase());
        let (client, connection) =
            tokio_postgres::connect(server, tokio_postgres::NoTls).await.expect("PostgreSQL");
        let connection = tokio::spawn(connection);
        client.batch_execute(&format!("CREATE DATABASE {database}")).await.expect("a database");
        drop(client);
        connection.await.expect("the connection ends").expect("without an error");
        let file = folder.path().join("store");
        let url = format!("{}/{database}\n", server.rsplit_once('/').expect("a database").0);
        fs::write(&file, url).expect("the store file");
        private(&file);
        format!("@{}", file.display())
    }
}

/// A running issuer and its agents; killed when dropped.
pub(crate) struct Running {
    pub(crate) clients: Vec<Client>,
    child: Child,
    _folder: TempDir,
}

impl Running {
    pub(crate) async fn start(engine: &Engine, setting: &Setting) -> Self {
        let folder = tempfile::Builder::new().prefix("mq").tempdir_in("/tmp").expect("a folder");
        let path = |name: &str| folder.path().join(name);
        prepare(&folder, setting);
        let data_dir = path("data");
        let mut child = Command::new(marque())
            .arg("issuer")
            .arg("--trust-domains")
            .arg(path("trust-domain"))
            .arg("--data-dir")
            .arg(&data_dir)
            .arg("--certs-dir")
            .arg(path("certs"))
            .arg("--sealing-key")
            .arg(path("sealing.key"))
            .arg("--store")
            .arg(engine.store(&folder).await)
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(path("log")).expect("a log"))
            .kill_on_drop(true)
            .spawn()
            .expect("the issuer starts");
        let endpoints = data_dir.join("endpoints.json");
        let places = until("the issuer's endpoints", async || {
            if let Some(status) = child.try_wait().expect("its status") {
                let said = fs::read_to_string(path("log")).expect("its log");
                panic!("the issuer ended at once ({status}): {said}");
            }
            Place::read_all(&endpoints)
        })
        .await;
        let place = places.into_iter().next().expect("one trust domain");
        let operator = Operator::new(endpoints, TRUST_DOMAIN);
        let mut clients = Vec::with_capacity(setting.agents);
        for number in 0..setting.agents {
            clients.push(agent(&place, &operator, number).await);
        }
        Self { clients, child, _folder: folder }
    }

    /// The first agent.
    pub(crate) fn client(&self) -> &Client {
        self.clients.first().expect("an agent")
    }

    /// Processor time of the issuer so far.
    pub(crate) fn cpu_time(&self) -> Duration {
        let pid = self.child.id().expect("it runs");
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("its stat");
        let (_, fields) = stat.rsplit_once(')').expect("a name");
        // utime and stime, in ticks of 10 ms (proc(5)).
        let ticks = |at: usize| -> u64 {
            fields.split_whitespace().nth(at).and_then(|text| text.parse().ok()).expect("ticks")
        };
        Duration::from_millis(10 * (ticks(11) + ticks(12)))
    }
}

/// Registers an agent, starts it, and gets it an SVID.
async fn agent(place: &Place, operator: &Operator, number: usize) -> Client {
    let program = copy_of_this_program(&format!("load-agent-{number}"));
    let id = place.id(&format!("/agent/preview-restarter/load-{number}"));
    operator.register(&id, "agent", &program).await;
    let mut workload = Workload::start(&program, place);
    let svid = workload.jwt_svid(&place.issuer_url).await;
    let http = Http::trusting(&place.ca_file);
    Client { workload, svid, http, place: place.clone() }
}

/// The bytes of a post with these headers.
pub(crate) fn post(url: &str, headers: &str, body: &str) -> Vec<u8> {
    let url: http::Uri = url.parse().expect("a URL");
    format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\n{headers}\r\nContent-Length: {}\r\n\r\n{body}",
        url.path(),
        url.authority().expect("an authority"),
        body.len(),
    )
    .into_bytes()
}

/// The trust domain, with a playbook of as many uses as are wanted and as many others, and the sealing key.
fn prepare(scratch: &TempDir, setting: &Setting) {
    let Setting { verified_svids, uses, agents: _, playbooks } = *setting;
    let trust_domain = scratch.path().join("trust-domain");
    folder::copy(&folder::shipped().join(TRUST_DOMAIN), &trust_domain);
    let edit = |file: PathBuf, change: &dyn Fn(String) -> String| {
        let text = fs::read_to_string(&file).expect("a document");
        fs::write(&file, change(text)).expect("a document");
    };
    edit(trust_domain.join("trust-domain.toml"), &|text| {
        let text = text.replace("127.0.0.1:8444", "127.0.0.1:0");
        format!("{text}\n[token_service]\nverified_svids = {verified_svids}\n")
    });
    folder::be_patient(&trust_domain);
    crowd(&trust_domain.join("playbooks"), playbooks);
    edit(trust_domain.join("playbooks/restart-preview.toml"), &|text| {
        text.replace("uses = 1\n", &format!("uses = {uses}\n"))
    });
    edit(trust_domain.join("policy/gate.cedar"), &|text| {
        text.replace("context.uses <= 3", &format!("context.uses <= {uses}"))
    });
    let key = scratch.path().join("sealing.key");
    fs::write(&key, format!("{}\n", "5a".repeat(32))).expect("a sealing key");
    private(&key);
}

fn private(file: &std::path::Path) {
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("its mode");
}

/// Fills the folder up to so many playbooks, with such as differ from one that ships by their id.
pub(crate) fn crowd(playbooks: &std::path::Path, whole: usize) {
    let there = fs::read_dir(playbooks).expect("the playbooks").count();
    let text = fs::read_to_string(playbooks.join("restart-preview.toml")).expect("a playbook");
    for number in there..whole {
        let id = format!("restart-preview-{number}");
        let text = text.replace("id = \"restart-preview\"", &format!("id = \"{id}\""));
        fs::write(playbooks.join(format!("{id}.toml")), text).expect("a playbook");
    }
}
