//! From an operator's new entry to the SVID on an open stream, with the real daemon: its store, its log, its disk.
//!
//! The stream that is concerned belongs to a process of its own; other streams are open in other processes, whose
//! selectors the entry does not concern.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Instant;

use marque::grpc::admin::AdminClient;
use marque_registry::NewEntry;
use serde_json::json;

use super::bare;
use super::child::{Child, Server};
use super::figures::{Samples, row, title};
use super::holder;
use super::support::daemon::{Daemon, NON_PRODUCTION};
use super::support::programs::copy_of_this_program;

const ENTRIES: usize = 200;
/// The most streams of one connection, as the daemon's limit has it.
const EACH: usize = 100;
/// How many processes share the streams that are not concerned.
const HOLDERS: usize = 4;
/// An entry's leaf with its row, the entry's own row, and the SVID's leaf.
const COMMITS: usize = 3;
const RECORD: [u8; 400] = [0x5a; 400];

pub(crate) async fn measure(streams: usize) {
    title(
        "An entry created (durable, in the log) and its SVID on an open stream, the real daemon",
        &[
            "ratio p50",
            "other open streams",
            "ours p50 µs",
            "p99",
            "worst",
            "after the operator's answer p50",
            "p99",
            "bare push p50 µs",
            "bare p99",
            "and 3 bare records p50 µs",
        ],
    );
    for others in [1, 100, streams] {
        one(others).await;
    }
}

async fn one(others: usize) {
    let daemon = Daemon::start().await;
    let place = daemon.place(NON_PRODUCTION);
    let mut admin = AdminClient::connect(&place.admin_socket).await.expect("the admin socket");
    let mut holders = Vec::new();
    let each = others.div_ceil(HOLDERS.min(others.div_ceil(EACH)));
    for n in 0..others / each {
        let name = format!("holder-{n}");
        holders.push(start_holder(&mut admin, &place.workload_api_socket, &name, each).await);
    }
    let mut concerned = start_holder(&mut admin, &place.workload_api_socket, "concerned", 1).await;
    let mut bare = Server::start(bare::PART).await;
    let mut heard = holder::listen(holder::open(&bare.socket, 1, 1).await);
    let floor = Floor::new(&daemon.path("floor"));
    let mut taken: [Samples; 4] = Default::default();
    let program = copy_of_this_program("concerned");
    for n in 0..ENTRIES {
        let new = new_entry(&format!("new-{n}"), &program);
        let started = Instant::now();
        let (created, arrived) = tokio::join!(
            async {
                let created = admin.create_entry(&new).await.expect("an entry");
                (created, Instant::now())
            },
            async {
                assert_eq!(concerned.line().await, "2");
                Instant::now()
            }
        );
        let (created, answered) = created;
        taken[0].push(arrived - started);
        // Nothing, if the SVID was faster than the operator's answer.
        taken[1].push(arrived.saturating_duration_since(answered));
        admin.delete_entry(created.id).await.expect("it is there");
        assert_eq!(concerned.line().await, "1");
        let started = Instant::now();
        bare.child.tell("change").await;
        heard.recv().await.expect("a message");
        taken[2].add(started);
        let started = Instant::now();
        for _ in 0..COMMITS {
            floor.record(n);
        }
        taken[3].add(started);
    }
    let [mut whole, mut rest, mut push, mut records] = taken;
    row(&[
        format!("{:.2}", whole.p50() / (push.p50() + records.p50())),
        others.to_string(),
        format!("{:.0}", whole.p50()),
        format!("{:.0}", whole.p99()),
        format!("{:.0}", whole.worst()),
        format!("{:.0}", rest.p50()),
        format!("{:.0}", rest.p99()),
        format!("{:.0}", push.p50()),
        format!("{:.0}", push.p99()),
        format!("{:.0}", records.p50()),
    ]);
    drop(holders);
}

/// A process with an identity of its own that holds so many streams.
async fn start_holder(admin: &mut AdminClient, socket: &Path, name: &str, streams: usize) -> Child {
    let program = copy_of_this_program(name);
    admin.create_entry(&new_entry(name, &program)).await.expect("an entry");
    let each = streams.min(EACH);
    let (connections, each) = (streams.div_ceil(each).to_string(), each.to_string());
    let socket = socket.display().to_string();
    Child::start(&program, &[holder::PART, &socket, &connections, &each]).await
}

fn new_entry(name: &str, program: &Path) -> NewEntry {
    serde_json::from_value(json!({
        "spiffe_id": format!("spiffe://{NON_PRODUCTION}/agent/bench/{name}"),
        "selectors": [
            format!("unix:uid:{}", nix::unistd::geteuid()),
            format!("unix:path:{}", program.display()),
        ],
        "role": "agent",
        "owner": "group:bench",
    }))
    .expect("an entry")
}

/// A log file as cheap as they come: its space is there already, a record is one write and one `fdatasync`.
struct Floor(File);

impl Floor {
    fn new(file: &Path) -> Self {
        let mut file = File::options().create_new(true).write(true).open(file).expect("a file");
        file.write_all(&vec![0; RECORD.len() * ENTRIES]).expect("room");
        file.sync_all().expect("fsync");
        Self(file)
    }

    fn record(&self, n: usize) {
        let at = u64::try_from(n * RECORD.len()).expect("small");
        self.0.write_all_at(&RECORD, at).expect("a record");
        self.0.sync_data().expect("fdatasync");
    }
}
