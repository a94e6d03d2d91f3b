//! Agents that are scripts, and agents that are known by who started them: a Python program that speaks HTTP/2 with
//! nothing but its standard library fetches an SVID from the real daemon.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::TempDir;
use tokio::process::Command;

use crate::support::daemon::{Daemon, NON_PRODUCTION};
use crate::support::tools::{required, several_users};
use crate::support::wait::within;

const PYTHON: &str = "/usr/bin/python3";
const NOBODY: u32 = 65534;

/// Prints the SPIFFE ID of the first X.509-SVID that it is given, or that it is refused.
const CLIENT: &str = r#"
import re, socket, struct, sys

stream = socket.socket(socket.AF_UNIX)
stream.settimeout(60)
stream.connect(sys.argv[1])

def frame(kind, flags, number, payload):
    size = struct.pack('>I', len(payload))[1:]
    stream.sendall(size + bytes([kind, flags]) + struct.pack('>I', number) + payload)

def read(size):
    data = b''
    while len(data) < size:
        more = stream.recv(size - len(data))
        if not more:
            sys.exit('closed')
        data += more
    return data

def header(name, value):
    return b'\0' + bytes([len(name)]) + name + bytes([len(value)]) + value

stream.sendall(b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
frame(4, 0, 0, b'')
asked = False
while True:
    head = read(9)
    kind, flags = head[3], head[4]
    payload = read(int.from_bytes(head[:3], 'big'))
    if kind == 4 and flags & 1 == 0:
        frame(4, 1, 0, b'')
        if not asked:
            asked = True
            headers = [(b':method', b'POST'), (b':scheme', b'http'), (b':authority', b'localhost'),
                (b':path', b'/SpiffeWorkloadAPI/FetchX509SVID'), (b'te', b'trailers'),
                (b'content-type', b'application/grpc'), (b'workload.spiffe.io', b'true')]
            frame(1, 4, 1, b''.join(header(*each) for each in headers))
            frame(0, 1, 1, b'\0\0\0\0\0')
    elif kind == 6 and flags & 1 == 0:
        frame(6, 1, 0, payload)
    elif kind == 0 and payload:
        print(re.search(rb'spiffe://[a-z0-9./-]+', payload)[0].decode())
        break
    elif kind == 1 and flags & 1:
        print('refused')
        break
    elif kind in (3, 7):
        print('reset')
        break
"#;

/// A folder that only root can change, up to the root of the file system; `None`, with a reason, where it cannot be had.
fn site() -> Option<TempDir> {
    if !several_users() {
        return None;
    }
    if !Path::new(PYTHON).exists() {
        assert!(!required("PYTHON"), "MARQUE_REQUIRE_PYTHON=1, but there is no {PYTHON}");
        eprintln!("skipped: needs {PYTHON}");
        return None;
    }
    let folder = TempDir::new_in("/run").unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    Some(folder)
}

/// A daemon whose development trust domain has `attestation`, and an entry with these selectors for user `nobody`.
async fn daemon(attestation: &str, selectors: &[&str]) -> Daemon {
    let daemon = Daemon::start_with(|folder| {
        let folder = folder.join(NON_PRODUCTION);
        let document = folder.join("trust-domain.toml");
        let text = fs::read_to_string(&document).unwrap();
        fs::write(document, format!("{text}\n{attestation}\n")).unwrap();
        let entry = format!(
            "[[entry]]\nid = \"scripted\"\nspiffe_id = \"spiffe://{NON_PRODUCTION}/agent/scripted\"\n\
             role = \"agent\"\nowner = \"group:platform-dev\"\nexpires_at = \"2031-01-01T00:00:00Z\"\nselectors = {selectors:?}\n"
        );
        fs::write(folder.join("entries/scripted.toml"), entry).unwrap();
    })
    .await;
    // The socket is for everybody; only this test's own folder around it is not.
    fs::set_permissions(daemon.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    daemon
}

async fn said(command: &mut Command, daemon: &Daemon) -> String {
    command.arg(&daemon.place(NON_PRODUCTION).workload_api_socket);
    command.env_clear().current_dir("/").uid(NOBODY).gid(NOBODY).kill_on_drop(true);
    let output = within("the script", command.output()).await.unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_gets_its_identity_and_another_script_of_the_same_user_gets_nothing() {
    let Some(site) = site() else { return };
    let [agent, other] = ["agent.py", "other.py"].map(|name| {
        let path = site.path().join(name);
        fs::write(&path, CLIENT).unwrap();
        path.to_str().unwrap().to_owned()
    });
    let script = format!("script:path:{agent}");
    let daemon = daemon("[attestation.script]", &["unix:uid:65534", &script]).await;
    let run = async |arguments: &[&str]| said(Command::new(PYTHON).args(arguments), &daemon).await;
    assert_eq!(run(&["-I", &agent]).await, format!("spiffe://{NON_PRODUCTION}/agent/scripted"));
    assert_eq!(run(&["-I", &other]).await, "refused");
    assert_eq!(run(&[&agent]).await, "refused", "packages of the user would be loaded");
    assert_eq!(run(&["-I", "-c", CLIENT]).await, "refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_gets_the_identity_of_those_that_its_supervisor_started() {
    let Some(site) = site() else { return };
    let agent = site.path().join("agent.py");
    fs::write(&agent, CLIENT).unwrap();
    let supervisor = std::env::current_exe().unwrap().canonicalize().unwrap();
    let path = format!("parent:unix:path:{}", supervisor.display());
    let selectors = ["unix:uid:65534", "parent:unix:uid:0", &path];
    let daemon = daemon("[attestation.parent]", &selectors).await;
    // In a session of its own: that of these tests may be one of another PID namespace, as where a container runs them.
    let mut own_session = Command::new("/usr/bin/setsid");
    own_session.args([PYTHON, "-I"]).arg(&agent);
    let direct = said(&mut own_session, &daemon).await;
    assert_eq!(direct, format!("spiffe://{NON_PRODUCTION}/agent/scripted"));
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", r#""$@"; true"#, "sh", PYTHON, "-I"]).arg(&agent);
    assert_eq!(said(&mut shell, &daemon).await, "refused");
}
