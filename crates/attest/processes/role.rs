//! The processes at the other end: what they can be told to do, and how a test starts them.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::unistd::{Gid, Uid, setgroups, setuid};
use tempfile::TempDir;

use super::{NOBODY, descriptors, lineage, namespaces, parent, unix};
use crate::peer::Peer;

const PART: &str = "MARQUE_ATTEST_PART";
const SOCKET: &str = "MARQUE_ATTEST_SOCKET";

/// A folder with a socket that anybody may connect to.
pub(super) struct Stage {
    pub(super) folder: TempDir,
    listener: UnixListener,
}

/// A connection and the pinned process at its other end.
pub(super) struct Actor {
    pub(super) stream: UnixStream,
    pub(super) peer: Peer,
}

/// A started process that does not outlive its test.
pub(super) struct Started(pub(super) Child);

impl Stage {
    pub(super) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let socket = folder.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        for path in [folder.path(), &socket] {
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o777)).unwrap();
        }
        Self { folder, listener }
    }

    /// A copy of this test binary that any user may run.
    pub(super) fn copy_of_this_binary(&self, name: &str) -> PathBuf {
        self.copy_of(&std::env::current_exe().unwrap(), name, "")
    }

    /// A program with something appended, which does not keep it from running. Written by another
    /// process: a descriptor of ours would be inherited by whatever other tests start at this
    /// moment, and a program that somebody may write to cannot be run.
    pub(super) fn copy_of(&self, program: &Path, name: &str, appended: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        let script = r#"rm -f "$2" && cat "$1" > "$2" && printf %s "$3" >> "$2" && chmod 755 "$2""#;
        let mut copy = Command::new("sh");
        copy.args(["-c", script, "sh"]).arg(program).arg(&path).arg(appended);
        assert!(copy.status().unwrap().success());
        path
    }

    pub(super) fn command(&self, program: &Path, part: &str) -> Command {
        command(program, part, &self.folder.path().join("s"))
    }

    pub(super) fn start(&self, program: &Path, part: &str) -> Started {
        Started(self.command(program, part).spawn().unwrap())
    }

    pub(super) fn start_self(&self, part: &str) -> Started {
        self.start(&std::env::current_exe().unwrap(), part)
    }

    pub(super) fn accept(&self) -> Actor {
        let stream = self.accept_unpinned();
        Actor { peer: Peer::capture(&stream).unwrap(), stream }
    }

    pub(super) fn accept_unpinned(&self) -> UnixStream {
        self.listener.accept().unwrap().0
    }
}

impl Actor {
    /// Tells the process to do something, and waits until it says that it did.
    pub(super) fn tell(&self, order: &str) {
        self.send(order);
        assert_eq!(self.hear(), "done");
    }

    pub(super) fn send(&self, order: &str) {
        writeln!(&self.stream, "{order}").unwrap();
    }

    pub(super) fn hear(&self) -> String {
        hear(&self.stream)
    }

    pub(super) fn pid(&self) -> i32 {
        self.peer.pid()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

pub(super) fn hear(stream: &UnixStream) -> String {
    line(stream).expect("a line from the other end")
}

/// The next line, read byte by byte, so that nothing is read ahead and lost.
fn line(stream: &UnixStream) -> Option<String> {
    let mut line = String::new();
    for byte in Read::bytes(stream) {
        match byte.ok()? {
            b'\n' => return Some(line),
            byte => line.push(char::from(byte)),
        }
    }
    None
}

fn command(program: &Path, part: &str, socket: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .args(["processes::role::play", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(PART, part)
        .env(SOCKET, socket)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// The entrance of the processes that the tests start.
#[test]
#[ignore = "played by other tests in processes of their own"]
#[expect(clippy::disallowed_methods, reason = "how a test tells its process what to play")]
#[expect(clippy::zombie_processes, reason = "who leaves its child behind is what they play")]
fn play() {
    let (Ok(part), Ok(socket)) = (std::env::var(PART), std::env::var(SOCKET)) else { return };
    let socket = Path::new(&socket);
    let (name, rest) = part.split_once(' ').unwrap_or((&part, ""));
    match name {
        // Connects and does as it is told.
        "obey" => obey(&UnixStream::connect(socket).unwrap()),
        // Takes supplementary groups, then obeys.
        "in-groups" => {
            let groups: Vec<_> =
                rest.split(' ').map(|g| Gid::from_raw(g.parse().unwrap())).collect();
            setgroups(&groups).unwrap();
            obey(&UnixStream::connect(socket).unwrap());
        }
        // Starts a process that plays the rest, and waits for it.
        "parent-of" => {
            in_visible_session();
            wait_for(&mut itself(rest, socket));
        }
        // As above, but hides its executable from other processes of its user first.
        "hidden-parent-of" => {
            in_visible_session();
            nix::sys::prctl::set_dumpable(false).unwrap();
            wait_for(&mut itself(rest, socket));
        }
        // As above, as a child subreaper that stays for whom it adopts.
        "reaper-of" => {
            in_visible_session();
            nix::sys::prctl::set_child_subreaper(true).unwrap();
            wait_for(&mut itself(rest, socket));
            std::thread::park();
        }
        // Starts a process that plays the rest, in a session of its own, and ends at once.
        "leave" => {
            nix::unistd::setsid().ok();
            itself(rest, socket).spawn().unwrap();
        }
        // Makes a session of its own, then plays the rest.
        "in-own-session" => {
            nix::unistd::setsid().unwrap();
            let error = itself(rest, socket).exec();
            panic!("does not run: {error}");
        }
        // So many processes in a line, the last of which plays the rest.
        "line-of" => {
            let (count, last) = rest.split_once(' ').unwrap();
            let left: usize = count.parse().unwrap();
            let next =
                if left == 1 { last.to_owned() } else { format!("line-of {} {last}", left - 1) };
            wait_for(&mut itself(&next, socket));
        }
        // As "parent-of", with a saved user id that differs.
        "reserving-parent-of" => {
            in_visible_session();
            nix::unistd::setresuid(Uid::from_raw(NOBODY), Uid::from_raw(0), Uid::from_raw(0))
                .unwrap();
            wait_for(&mut itself(rest, socket));
        }
        // Obeys, and starts a process that plays the rest after it connected.
        "obey-with-child" => {
            in_visible_session();
            let stream = UnixStream::connect(socket).unwrap();
            let _child = itself(rest, socket).spawn().unwrap();
            obey(&stream);
        }
        "judge-own-parent" => parent::judge_own(&UnixStream::connect(socket).unwrap()),
        "judge-own-lineage" => lineage::judge_own(&UnixStream::connect(socket).unwrap()),
        "look-out" => namespaces::look_out(&UnixStream::connect(socket).unwrap()),
        "use-ids-twice" => namespaces::use_ids_twice(&UnixStream::connect(socket).unwrap()),
        "judge" => {
            unix::judge(&UnixStream::connect(socket).unwrap(), rest.parse().unwrap());
        }
        "count-descriptors" => descriptors::count(&UnixStream::connect(socket).unwrap()),
        other => panic!("no part `{other}`"),
    }
}

/// Begins a session, unless the process leads one: that of the tests may be one of another PID namespace, as where a
/// container runs them, and then nothing tells it from any other.
fn in_visible_session() {
    nix::unistd::setsid().ok();
}

fn itself(part: &str, socket: &Path) -> Command {
    command(&std::env::current_exe().unwrap(), part, socket)
}

fn wait_for(command: &mut Command) {
    command.spawn().unwrap().wait().unwrap();
}

fn obey(stream: &UnixStream) {
    while let Some(order) = line(stream) {
        match order.as_str() {
            "become nobody" => setuid(Uid::from_raw(NOBODY)).unwrap(),
            "leave groups" => setgroups(&[]).unwrap(),
            "exit" => return,
            "run cat" | "run sh" => {
                let program = order.trim_start_matches("run ");
                // The descriptor stays open across exec as the program's input and output.
                let end = || Stdio::from(OwnedFd::from(stream.try_clone().unwrap()));
                let error = Command::new(program).stdin(end()).stdout(end()).exec();
                panic!("{program} does not run: {error}");
            }
            other => panic!("no order `{other}`"),
        }
        writeln!(&*stream, "done").unwrap();
    }
}
