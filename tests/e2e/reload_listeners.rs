//! Listeners that move while clients come: whoever has got a connection is answered on it, whatever state it is in.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;
use spiffe::X509Source;
use spiffe_rustls::{authorizer, mtls_client};

use crate::reload::{refused, reload};
use crate::support::folder::{append, edit};
use crate::support::issuer::Issuer;
use crate::support::operator::Operator;
use crate::support::programs::this_program;
use crate::support::wait::{LIMIT, until, within};

const NAME: &str = "moving.example.org";
const DOCUMENT: &str = "trust-domain.toml";
/// How long a client waits for a connection: beyond the second after which a kernel tries once more.
const CONNECT: Duration = Duration::from_secs(3);
const KINDS: [Kind; 3] = [Kind::Edge, Kind::Bundle, Kind::Downstream];

/// What listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// The token endpoint and all beside it.
    Edge,
    /// The bundle endpoint of profile `https_spiffe`.
    Bundle,
    /// Where servers below have their authorities signed.
    Downstream,
}

impl Kind {
    /// A request, in two halves.
    fn request(self) -> (&'static [u8], &'static [u8]) {
        match self {
            Self::Edge => (b"GET /spiffe/bundle HTTP/1.1\r\nhost: lo", b"calhost\r\n\r\n"),
            Self::Bundle => (b"GET / HTTP/1.1\r\nhost: lo", b"calhost\r\n\r\n"),
            Self::Downstream => (
                b"POST /spire.api.server.bundle.v1.Bundle/GetBundle HTTP/1.1\r\nhost: localhost\r\n\
                  content-type: application/grpc\r\nte: trailers\r\ncontent-length: 5\r\n\r\n\0\0",
                b"\0\0\0",
            ),
        }
    }

    /// What its answer has in it.
    fn answered(self) -> &'static str {
        match self {
            Self::Edge | Self::Bundle => "spiffe_sequence",
            Self::Downstream => NAME,
        }
    }
}

/// Where each kind listens.
type Ports = BTreeMap<Kind, u16>;

/// Ports that nobody listened on a moment ago.
fn free_ports() -> Ports {
    let held = KINDS.map(|kind| (kind, TcpListener::bind("127.0.0.1:0").expect("a port")));
    let port = |listener: TcpListener| listener.local_addr().expect("an address").port();
    held.into_iter().map(|(kind, listener)| (kind, port(listener))).collect()
}

fn listens(kind: Kind, ports: &Ports) -> String {
    let setting = if kind == Kind::Bundle { "https_spiffe" } else { "listen" };
    format!("{setting} = \"127.0.0.1:{}\"", ports[&kind])
}

/// An issuer with listeners of all kinds, and what their clients have.
struct Scene {
    issuer: Issuer,
    configs: BTreeMap<Kind, Arc<ClientConfig>>,
}

impl Scene {
    async fn begin(ports: &Ports, more: &str) -> Self {
        let issuer = Issuer::start_with(NAME, |folder| {
            let edge = ports[&Kind::Edge];
            let named = format!("{}\nurl = \"https://localhost:{edge}\"", listens(Kind::Edge, ports));
            edit(folder, DOCUMENT, "listen = \"127.0.0.1:0\"", &named);
            let (bundle, downstream) =
                (listens(Kind::Bundle, ports), listens(Kind::Downstream, ports));
            let sections = format!(
                "\n[bundle_endpoint]\n{bundle}\n\n[authorities]\npath_length = 1\n\n[downstream]\n{downstream}\n\
                 spiffe_ids = [\"spiffe://{NAME}/issuer/below\"]\nmax_lifetime = \"24h\"\n{more}"
            );
            append(folder, DOCUMENT, &sections);
        })
        .await;
        let place = &issuer.place;
        issuer.operator().register(&place.id("/issuer/below"), "service", &this_program()).await;
        let source = async || {
            let source = X509Source::builder().endpoint(place.workload_api()).build();
            within("the X.509 source", source).await.expect("a source")
        };
        let of = async |path: &str| {
            let server = authorizer::exact([place.id(path).as_str()]).expect("an authorizer");
            let config = mtls_client(source().await).authorize(server).build();
            let mut config = config.expect("a client");
            config.alpn_protocols.clear();
            Arc::new(config)
        };
        let configs = [
            (Kind::Edge, Arc::new(of_the_edge(&place.ca_file))),
            (Kind::Bundle, of("/marque/bundle").await),
            (Kind::Downstream, of("/spire/server").await),
        ];
        Self { configs: configs.into_iter().collect(), issuer }
    }

    fn folder(&self) -> PathBuf {
        self.issuer.path("t").join(NAME)
    }

    /// Has the document say that a listener is at another port.
    fn places(&self, kind: Kind, from: &Ports, to: &Ports) {
        edit(&self.folder(), DOCUMENT, &listens(kind, from), &listens(kind, to));
    }

    /// Has all listeners be at other ports.
    async fn moves(&self, operator: &Operator, from: &Ports, to: &Ports) {
        for kind in KINDS {
            self.places(kind, from, to);
        }
        reload(operator).await;
    }

    fn caller(&self, kind: Kind, ports: &Ports) -> Caller {
        let stream = connect(ports[&kind]).expect("it listens");
        Caller::over(stream, kind, &self.configs[&kind])
    }
}

fn of_the_edge(ca_file: &Path) -> ClientConfig {
    use rustls_pki_types::{CertificateDer, pem::PemObject as _};
    let mut roots = rustls::RootCertStore::empty();
    let pem = fs::read(ca_file).expect("the certificate authority");
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        roots.add(certificate.expect("a certificate")).expect("a root");
    }
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn connect(port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), CONNECT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    Ok(stream)
}

/// A client with a connection, which does each step when it is told to.
struct Caller {
    kind: Kind,
    stream: StreamOwned<ClientConnection, TcpStream>,
}

impl Caller {
    fn over(stream: TcpStream, kind: Kind, config: &Arc<ClientConfig>) -> Self {
        let name = ServerName::try_from("localhost").expect("a name");
        let tls = ClientConnection::new(Arc::clone(config), name).expect("a client");
        Self { kind, stream: StreamOwned::new(tls, stream) }
    }

    /// Says hello, and waits until the server has answered, without a look at what.
    fn begin_handshake(mut self) -> Self {
        self.stream.conn.write_tls(&mut self.stream.sock).expect("it writes");
        let answered = self.stream.sock.peek(&mut [0]).expect("it reads");
        assert_eq!(answered, 1, "{:?}: the server hung up", self.kind);
        self
    }

    fn finish_handshake(mut self) -> Self {
        while self.stream.conn.is_handshaking() {
            let done = self.stream.conn.complete_io(&mut self.stream.sock);
            done.unwrap_or_else(|error| panic!("{:?}: no handshake: {error}", self.kind));
        }
        self
    }

    fn say(mut self, bytes: &[u8]) -> Self {
        let written = self.stream.write_all(bytes).and_then(|()| self.stream.flush());
        written.unwrap_or_else(|error| panic!("{:?}: it cannot write: {error}", self.kind));
        self
    }

    /// What comes until this is in it, or to the end.
    fn hear(&mut self, wanted: Option<&str>) -> String {
        let (mut answer, mut block) = (Vec::new(), [0; 4096]);
        loop {
            let text = String::from_utf8_lossy(&answer).into_owned();
            if wanted.is_some_and(|wanted| text.contains(wanted)) {
                return text;
            }
            match self.stream.read(&mut block) {
                Ok(0) => return text,
                Ok(read) => answer.extend_from_slice(&block[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return text,
                Err(error) => panic!("{:?}: no answer: {error}; so far: {text}", self.kind),
            }
        }
    }

    /// Asks, and is told that it is none of those who may (gRPC's `PERMISSION_DENIED`).
    fn hears_it_is_not_listed(self) {
        let (first, rest) = self.kind.request();
        let text = self.say(first).say(rest).hear(None);
        assert!(text.starts_with("HTTP/1.1 200") && text.contains("grpc-status: 7"), "{text:?}");
    }

    /// The whole answer, which has to be a proper one; how it begins.
    fn answer(mut self, closes: bool) -> String {
        let text = self.hear((!closes).then_some(self.kind.answered()));
        assert!(text.starts_with("HTTP/1.1 200"), "{:?}: {text:?}", self.kind);
        assert!(text.contains(self.kind.answered()), "{:?}: {text:?}", self.kind);
        text
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_a_connection_when_a_listener_moves_is_answered_on_it() {
    let (old, new) = (free_ports(), free_ports());
    // Three of each kind are served at once, so that the fourth waits in the queue of the kernel.
    let scene = Scene::begin(&old, "\n[limits]\nhttps_connections = 3\n").await;
    let operator = scene.issuer.operator();
    let mut waiting = Vec::new();
    for kind in KINDS {
        let silent = scene.caller(kind, &old).finish_handshake();
        let (first, _rest) = kind.request();
        let half = scene.caller(kind, &old).finish_handshake().say(first);
        let amid = scene.caller(kind, &old).begin_handshake();
        waiting.push((kind, half, amid, silent, scene.caller(kind, &old)));
    }
    scene.moves(&operator, &old, &new).await;
    for (kind, half, amid, silent, queued) in waiting {
        let (first, rest) = kind.request();
        let told = half.say(rest).answer(true);
        assert!(told.contains("connection: close"), "{kind:?}: {told}");
        amid.finish_handshake().say(first).say(rest).answer(true);
        silent.say(first).say(rest).answer(true);
        queued.finish_handshake().say(first).say(rest).answer(true);
        scene.caller(kind, &new).finish_handshake().say(first).say(rest).answer(false);
    }
    for kind in KINDS {
        until("the end of the old listener", async || connect(old[&kind]).is_err().then_some(()))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_taken_off_the_list_of_servers_below_is_told_so_by_a_listener_that_was_left_too() {
    let (one, two) = (free_ports(), free_ports());
    let scene = Scene::begin(&one, "").await;
    let (operator, folder, kind) = (scene.issuer.operator(), scene.folder(), Kind::Downstream);
    let lists = |path: &str| format!("spiffe_ids = [\"spiffe://{NAME}/issuer/{path}\"]");
    let early = scene.caller(kind, &one).finish_handshake();
    scene.places(kind, &one, &two);
    reload(&operator).await;
    edit(&folder, DOCUMENT, &lists("below"), &lists("other"));
    reload(&operator).await;
    early.hears_it_is_not_listed();
    // And by one that is left because there is no list any more.
    edit(&folder, DOCUMENT, &lists("other"), &lists("below"));
    reload(&operator).await;
    let late = scene.caller(kind, &two).finish_handshake();
    let (listen, listed) = (listens(kind, &two), lists("below"));
    let section = format!("[downstream]\n{listen}\n{listed}\nmax_lifetime = \"24h\"\n");
    edit(&folder, DOCUMENT, &section, "");
    reload(&operator).await;
    late.hears_it_is_not_listed();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_was_left_is_taken_up_by_one_listener_and_then_is_as_taken_as_any() {
    let (one, two, three) = (free_ports(), free_ports(), free_ports());
    let scene = Scene::begin(&one, "\n[limits]\nhttps_connections = 3\n").await;
    let operator = scene.issuer.operator();
    let at_the_edge = Ports::from([(Kind::Bundle, one[&Kind::Edge])]);
    let is_refused = async |why: &str| {
        let report = refused(&operator, "folder_invalid").await;
        assert!(report["findings"][0]["message"].to_string().contains(why), "{report}");
    };
    // They have all places, so that the listener is left for as long as it may be.
    let held = [(); 3].map(|()| connect(one[&Kind::Edge]).expect("it listens"));
    scene.places(Kind::Edge, &one, &two);
    reload(&operator).await;
    scene.places(Kind::Edge, &two, &one);
    scene.places(Kind::Bundle, &one, &at_the_edge);
    is_refused("`listen` in [issuer] and `https_spiffe` in [bundle_endpoint] are both").await;
    scene.places(Kind::Bundle, &at_the_edge, &one);
    reload(&operator).await;
    // It is served again: nobody gets it before it is given up.
    scene.places(Kind::Edge, &one, &three);
    scene.places(Kind::Bundle, &one, &at_the_edge);
    is_refused("taken").await;
    drop(held);
    let (first, rest) = Kind::Edge.request();
    scene.caller(Kind::Edge, &one).finish_handshake().say(first).say(rest).answer(false);
}

/// Clients of one kind, each of whom comes to both ports by turns until the test is over.
struct Crowd<'a> {
    scene: &'a Scene,
    ports: [&'a Ports; 2],
    over: &'a AtomicBool,
    /// How many were answered at which port.
    answered: &'a BTreeMap<u16, AtomicUsize>,
}

impl Crowd<'_> {
    /// Whoever gets a connection has to be answered on it. Nobody has to get one: a listener that has moved is elsewhere.
    fn comes(&self, kind: Kind) {
        let (first, rest) = kind.request();
        for ports in self.ports.iter().cycle() {
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            let port = ports[&kind];
            let Ok(stream) = connect(port) else { continue };
            let caller = Caller::over(stream, kind, &self.scene.configs[&kind]);
            caller.finish_handshake().say(first).say(rest).answer(false);
            self.answered[&port].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until so many more were answered at each of these ports.
    async fn are_answered(&self, ports: &Ports, more: usize) {
        for port in ports.values() {
            let count = &self.answered[port];
            let wanted = count.load(Ordering::Relaxed) + more;
            until("answers", async || {
                (count.load(Ordering::Relaxed) >= wanted || self.over.load(Ordering::Relaxed))
                    .then_some(())
            })
            .await;
        }
    }
}

/// Ends the clients also where the test fails, so that it does.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_who_got_a_connection_is_lost_while_listeners_move_back_and_forth() {
    let (one, two) = (free_ports(), free_ports());
    let scene = Scene::begin(&one, "").await;
    let operator = scene.issuer.operator();
    let over = AtomicBool::new(false);
    let all = one.values().chain(two.values());
    let answered = all.map(|port| (*port, AtomicUsize::new(0))).collect();
    let crowd = Crowd { scene: &scene, ports: [&one, &two], over: &over, answered: &answered };
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        thread::scope(|threads| {
            for kind in KINDS.into_iter().chain(KINDS) {
                let crowd = &crowd;
                threads.spawn(move || {
                    let _over = Over(crowd.over);
                    crowd.comes(kind);
                });
            }
            let _over = Over(&over);
            runtime.block_on(async {
                crowd.are_answered(&one, 5).await;
                scene.moves(&operator, &one, &two).await;
                // Under way as they are, the old sockets close: the moment in which somebody could be lost.
                for port in one.values() {
                    until("the end of the old listener", async || {
                        connect(*port).is_err().then_some(())
                    })
                    .await;
                }
                crowd.are_answered(&two, 5).await;
                // And the other way round, before those that were left are closed.
                for _turn in 0..3 {
                    scene.moves(&operator, &two, &one).await;
                    crowd.are_answered(&one, 5).await;
                    scene.moves(&operator, &one, &two).await;
                    crowd.are_answered(&two, 5).await;
                }
            });
        });
    });
}
