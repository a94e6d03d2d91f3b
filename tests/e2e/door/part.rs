//! The processes: copies of this test program that speak HTTP/2 by hand, hand descriptors on and execute one another.

use std::io::{BufRead as _, IoSlice, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use marque_testkit::http2::{END_STREAM, Frame, RawClient, call, kind, preface};
use nix::unistd::{Uid, setuid};
use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::support::programs::this_program;
use crate::support::wait::within;

/// Set for a copy of this program that is to play a part.
const PART_VARIABLE: &str = "MARQUE_E2E_DOOR_PART";
const THIS_TEST: &str = "door::part::a_process_plays_its_part";
/// A uid that owns nothing.
const NOBODY: u32 = 51_234;

const FETCH_X509: &str = "/SpiffeWorkloadAPI/FetchX509SVID";
const HEADER: (&str, &str) = ("workload.spiffe.io", "true");

/// What a process does.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Part {
    /// Queues connections with a request in each, hands all of them to a reader, and executes the program.
    Queue { socket: PathBuf, connections: usize, words: Words, speaks: bool, then: PathBuf },
    /// Connects and proves itself, hands the connection to a reader, and executes the program.
    Prove { socket: PathBuf, asks: bool, speaks: bool, then: PathBuf },
    /// Connects, gets an identity, and has a child of the same program ask on the same connection.
    Share { socket: PathBuf },
    /// Connects, gets an identity, hands the connection to a reader and exits when it is told to.
    Leave { socket: PathBuf },
    /// Connects, gets an identity, becomes another user and asks again.
    Change { socket: PathBuf },
    /// Reads what comes on connections of another process; with `speaks`, answers and asks there too.
    Read { from: Source, speaks: bool },
    /// Does nothing until its standard input ends.
    Idle,
}

/// How a process came to a connection that it did not make.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Source {
    /// It is its standard input, inherited from the process that made it.
    Inherited,
    /// So many come over its standard input (`SCM_RIGHTS`).
    Passed(usize),
}

/// What a process says on a connection before the daemon has accepted it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Words {
    /// A request.
    Request,
    /// A request, and the acknowledgement of settings that were not sent yet.
    Acknowledged,
    /// The same, and a thousand guesses at the answer to a PING that was not sent yet.
    Guessed,
}

/// A process that plays a part; killed when dropped.
#[derive(Debug)]
pub(super) struct Player {
    child: Child,
    input: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Player {
    pub(super) fn start(program: &Path, part: &Part) -> Self {
        let mut command = tokio::process::Command::from(command(program, part));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("the process starts");
        let input = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().expect("standard output")).lines();
        Self { child, input, lines }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id().expect("the process runs")
    }

    /// What the process says next.
    pub(super) async fn said(&mut self) -> String {
        loop {
            let line = within("a process's word", self.lines.next_line()).await;
            let line = line.expect("its output").expect("the process says something");
            // The test harness says a few words of its own, without a line's end.
            if let Some((_, said)) = line.split_once("> ") {
                return said.to_owned();
            }
        }
    }

    /// Tells the process to go on.
    pub(super) async fn go(&mut self) {
        let input = self.input.as_mut().expect("it listens");
        input.write_all(b"go\n").await.expect("it listens");
    }
}

fn command(program: &Path, part: &Part) -> Command {
    let mut command = Command::new(program);
    command.args([THIS_TEST, "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    command.env(PART_VARIABLE, serde_json::to_string(part).expect("a part is JSON"));
    command
}

#[test]
#[ignore = "not a test: other tests run a copy of this program to play a part"]
#[expect(clippy::disallowed_methods, reason = "the part is handed over by the environment")]
#[expect(clippy::exit, reason = "the end of a process that is no test")]
fn a_process_plays_its_part() {
    let Ok(part) = std::env::var(PART_VARIABLE) else { return };
    play(serde_json::from_str(&part).expect("a part"));
    // The harness has nothing to add.
    std::process::exit(0);
}

fn play(part: Part) {
    match part {
        Part::Queue { socket, connections, words, speaks, then } => {
            wait();
            let queued = (0..connections).map(|_| {
                let mut client = RawClient::connect(&socket);
                assert!(client.send(&words.bytes()));
                client
            });
            let queued: Vec<_> = queued.collect();
            hand_over(&queued, speaks);
            become_program(&then);
        }
        Part::Prove { socket, asks, speaks, then } => {
            let mut client = RawClient::connect(&socket);
            client.send(&preface());
            // The call ends, so the challenge before it was answered.
            assert!(!ask(&mut client, 1), "this program earns nothing");
            let clients = [client];
            hand_over(&clients, speaks);
            let [mut client] = clients;
            if asks {
                client.send(&request(3));
            }
            become_program(&then);
        }
        Part::Share { socket } => {
            let mut client = RawClient::connect(&socket);
            client.send(&preface());
            assert!(ask(&mut client, 1), "this program earns an identity");
            let part = Part::Read { from: Source::Inherited, speaks: true };
            let inherited = client.stream().as_fd().try_clone_to_owned().expect("a descriptor");
            let mut child = command(&this_program(), &part);
            child.stdin(inherited).status().expect("the child's end");
            wait();
        }
        Part::Leave { socket } => {
            let mut client = RawClient::connect(&socket);
            client.send(&preface());
            assert!(ask(&mut client, 1), "this program earns an identity");
            hand_over(&[client], false);
            wait();
        }
        Part::Change { socket } => {
            let mut client = RawClient::connect(&socket);
            client.send(&preface());
            assert!(ask(&mut client, 1), "this program earns an identity");
            setuid(Uid::from_raw(NOBODY)).expect("root may");
            let got = ask(&mut client, 3);
            let closed = client.goaway();
            say(&format!("got a message: {got}, then the end ({closed:?})"));
        }
        Part::Read { from, speaks } => read(from.take(), speaks),
        Part::Idle => wait_for_the_end(),
    }
}

impl Words {
    fn bytes(self) -> Vec<u8> {
        let mut bytes = [preface(), request(1)].concat();
        if !matches!(self, Self::Request) {
            bytes.extend(Frame::settings_ack().bytes());
        }
        if matches!(self, Self::Guessed) {
            bytes.extend((0..1000_u64).flat_map(|guess| Frame::pong(&guess.to_be_bytes()).bytes()));
        }
        bytes
    }
}

fn request(stream: u32) -> Vec<u8> {
    call(stream, FETCH_X509, &[HEADER], &[])
}

/// Whether the call gets a message.
fn ask(client: &mut RawClient, stream: u32) -> bool {
    client.send(&request(stream)) && client.gets_a_message(stream)
}

/// Starts a process of this program that gets the connections too.
#[expect(clippy::zombie_processes, reason = "it outlives the program that starts it")]
fn hand_over(clients: &[RawClient], speaks: bool) {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let part = Part::Read { from: Source::Passed(clients.len()), speaks };
    let mut reader = command(&this_program(), &part);
    // Its standard output is ours, so that the test hears it.
    reader.stdin(OwnedFd::from(theirs)).spawn().expect("the reader starts");
    for client in clients {
        let descriptors = [client.stream().as_fd()];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
        let bytes = [IoSlice::new(b"x")];
        sendmsg(&ours, &bytes, &mut control, SendFlags::empty()).expect("the reader listens");
    }
    wait();
}

impl Source {
    fn take(self) -> Vec<UnixStream> {
        let stdin = std::io::stdin().as_fd().try_clone_to_owned().expect("standard input");
        let stdin = UnixStream::from(stdin);
        match self {
            Self::Inherited => vec![stdin],
            Self::Passed(count) => (0..count).map(|_| receive(&stdin)).collect(),
        }
    }
}

fn receive(from: &UnixStream) -> UnixStream {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut bytes = [IoSliceMut::new(&mut byte)];
    recvmsg(from, &mut bytes, &mut control, RecvFlags::CMSG_CLOEXEC).expect("a descriptor comes");
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    descriptor.expect("a descriptor").into()
}

/// Runs the program in this very process.
fn become_program(program: &Path) {
    say("executes the program");
    let error = command(program, &Part::Idle).exec();
    panic!("{}: {error}", program.display());
}

/// Reads every connection to its end; says how many messages came.
fn read(streams: Vec<UnixStream>, speaks: bool) {
    say("reads");
    let readers = streams.into_iter().map(|stream| {
        std::thread::spawn(move || {
            let mut client = RawClient::over(stream);
            if speaks {
                client.send(&request(5));
                return usize::from(client.gets_a_message(5)) + messages(&mut client);
            }
            messages(&mut client)
        })
    });
    let readers: Vec<_> = readers.collect();
    let count = readers.len();
    let messages: usize = readers.into_iter().map(|reader| reader.join().expect("a count")).sum();
    say(&format!("{messages} messages on {count} connections"));
}

/// How many messages come before the connection's end, or that of the last call on it.
fn messages(client: &mut RawClient) -> usize {
    let mut messages = 0;
    while let Some(frame) = client.next_frame() {
        if frame.kind == kind::DATA && !frame.payload.is_empty() {
            messages += 1;
        }
        if frame.stream == 3 && frame.flags & END_STREAM != 0 {
            break;
        }
    }
    messages
}

fn say(word: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "> {word}").expect("somebody listens");
    out.flush().expect("somebody listens");
}

/// Waits until the test says to go on.
fn wait() {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).expect("an order");
}

fn wait_for_the_end() {
    let mut lines = std::io::stdin().lock().lines();
    while let Some(Ok(_line)) = lines.next() {}
}
