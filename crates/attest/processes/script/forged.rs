//! Processes that look like another script: which of them can be told, and which cannot.

use super::*;

/// Python that knows where its own arguments lie and can write there, and connects at last.
const FORGER: &str = r#"
import ctypes, os, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
stat = open('/proc/self/stat').read().rpartition(')')[2].split()
field = lambda number: int(stat[number - 3])
start, end = field(48), field(49)
def write(at, data):
    ctypes.memmove(at, data, len(data))
def area():
    return ctypes.string_at(start, end - start)
def agent():
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[-1])
    s.recv(1)
"#;

fn forger(how: &str) -> String {
    format!("{FORGER}\n{how}\nagent()\n")
}

#[tokio::test]
async fn a_process_that_writes_a_title_over_its_arguments_is_refused() {
    let Some(site) = Site::new() else { return };
    for how in [
        // As setproctitle does it: a text, and zeros up to the end.
        "write(start, b'agent: idle'.ljust(end - start, b'\\0'))",
        "write(start, b'agent: idle'.ljust(end - start, b' '))",
        // Without its last zero byte, the kernel reads on.
        "write(end - 1, b'x')",
    ] {
        let script = site.script("main.py", &forger(how));
        let (_started, actor) = site.start(PYTHON, &["-I", &script, "padding"]);
        assert_eq!(found(&actor).await, ["script:refused:layout"], "{how}");
    }
}

#[tokio::test]
async fn another_path_in_place_of_the_own_is_refused_when_it_is_longer_or_shorter() {
    let Some(site) = Site::new() else { return };
    let (short, long) = (site.script("good.py", AGENT), site.script("much_better.py", AGENT));
    for other in [short, long] {
        let how = format!(
            "own = sys.argv[0].encode()
data = area().replace(own + b'\\0', b'{other}\\0').replace(b'padding', b'')
write(start, data[:end - start - 1].ljust(end - start, b'\\0'))"
        );
        let script = site.script("evil_one.py", &forger(&how));
        let (_started, actor) = site.start(PYTHON, &["-I", &script, "padding"]);
        assert_eq!(found(&actor).await, ["script:refused:layout"], "{other}");
    }
}

/// The bytes of an area elsewhere become the arguments, by `PR_SET_MM_MAP`.
const MOVE: &str = r"
class Map(ctypes.Structure):
    _fields_ = [(n, ctypes.c_uint64) for n in ('start_code end_code start_data end_data start_brk '
        'brk start_stack arg_start arg_end env_start env_end auxv').split()] + [
        ('auxv_size', ctypes.c_uint32), ('exe_fd', ctypes.c_uint32)]
def move(good):
    fake = ctypes.create_string_buffer(b'/usr/bin/python3\0-I\0' + good + b'\0end')
    place = ctypes.addressof(fake)
    brk = libc.sbrk; brk.restype = ctypes.c_void_p
    map = Map(*[field(n) for n in (26, 27, 45, 46, 47)], brk(0), field(28),
        place, place + len(fake) - 4, field(50), field(51), 0, 0, 0xffffffff)
    if libc.prctl(35, 14, ctypes.byref(map), ctypes.sizeof(map), 0) != 0:
        return False
    return fake
";

#[tokio::test]
async fn an_argument_area_that_was_moved_is_refused() {
    let Some(site) = Site::new() else { return };
    let good = site.script("good.py", AGENT);
    // Before the connection, so that it is pinned so; and after.
    let before = format!("{MOVE}\nkept = move(b'{good}')\nif not kept: sys.argv[-1] = sys.argv[1]");
    let after = format!(
        "{MOVE}
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[-1])
s.recv(1)
kept = move(b'{good}')
s.send(b'moved\\n' if kept else b'not moved\\n')
s.recv(1)
os._exit(0)"
    );
    let refusing = Stage::new();
    let socket = refusing.folder.path().join("s");
    let evil = site.script("before.py", &forger(&before));
    // Where the kernel does not let it, it connects elsewhere.
    let mut command = site.command(PYTHON, &["-I", &evil, socket.to_str().unwrap()]);
    let started = Started(command.spawn().unwrap());
    if may_move(&site) {
        let actor = site.stage.accept();
        let cmdline = std::fs::read(format!("/proc/{}/cmdline", actor.pid())).unwrap();
        assert_eq!(cmdline, format!("{PYTHON}\0-I\0{good}\0").into_bytes(), "the forgery itself");
        assert_eq!(found(&actor).await, ["script:refused:layout"]);
    } else {
        eprintln!("skipped: the kernel has no PR_SET_MM_MAP for everybody");
        return;
    }
    drop(started);

    let evil = site.script("after.py", &forger(&after));
    let (_started, actor) = site.start(PYTHON, &["-I", &evil]);
    assert_eq!(found(&actor).await, selectors_of(&evil));
    actor.send("");
    assert_eq!(actor.hear(), "moved");
    assert_eq!(found(&actor).await, ["script:refused:moved"]);
}

/// Whether this kernel lets a process without rights move its argument area.
fn may_move(site: &Site) -> bool {
    let probe =
        site.script("probe.py", &format!("{FORGER}\n{MOVE}\nsys.exit(0 if move(b'x') else 1)"));
    site.command(PYTHON, &["-I", &probe]).status().unwrap().success()
}

#[tokio::test]
async fn another_script_executed_after_the_connection_is_refused() {
    let Some(site) = Site::new() else { return };
    // The trusted script would do as well as any other: it only must not end.
    let good = site.script("good.py", "import sys\nprint('good', flush=True)\nsys.stdin.read()\n");
    let evil = site.script(
        "evil.py",
        &format!(
            "import os, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[-1])
s.recv(1)
os.dup2(s.fileno(), 0)
os.dup2(s.fileno(), 1)
os.execv('{PYTHON}', ['{PYTHON}', '-I', '{good}'])
"
        ),
    );
    let (_started, actor) = site.start(PYTHON, &["-I", &evil]);
    assert_eq!(found(&actor).await, selectors_of(&evil));
    actor.send("");
    assert_eq!(actor.hear(), "good");
    // The same program, so the pin alone holds.
    actor.peer.recheck().unwrap();
    assert_eq!(found(&actor).await, ["script:refused:moved"]);
}

#[tokio::test]
async fn a_process_without_address_space_randomisation_is_refused() {
    let Some(site) = Site::new() else { return };
    let script = site.script("main.py", AGENT);
    let (_started, actor) = site.start("/usr/bin/setarch", &["-R", PYTHON, "-I", &script]);
    assert_eq!(found(&actor).await, ["script:refused:not_randomised"]);
}

#[tokio::test]
async fn a_traced_process_is_refused() {
    let Some(site) = Site::new() else { return };
    // PTRACE_TRACEME: its parent, this test, is its tracer from then on.
    let script = site.script("main.py", &forger("assert libc.ptrace(0, 0, 0, 0) == 0"));
    let (_started, actor) = site.start(PYTHON, &["-I", &script]);
    assert_eq!(found(&actor).await, ["script:refused:traced"]);
}

#[tokio::test]
async fn a_process_with_another_user_in_reserve_is_refused() {
    let Some(site) = Site::new() else { return };
    for how in ["os.setresuid(51234, 51234, 0)", "os.setresgid(0, 51234, 51234); os.setuid(51234)"]
    {
        let script = site.script("main.py", &forger(how));
        let mut command = site.command(PYTHON, &["-I", &script]);
        let (_started, actor) = site.start_as(command.uid(0).gid(0));
        assert_eq!(found(&actor).await, ["script:refused:privileged"], "{how}");
    }
}

#[tokio::test]
async fn a_process_with_a_root_or_a_mount_namespace_of_its_own_is_refused() {
    let Some(site) = Site::new() else { return };
    // It keeps the socket's place by a descriptor, as it cannot see its path any more.
    let how = "
folder = os.open(os.path.dirname(sys.argv[-1]), os.O_RDONLY)
os.chroot('/usr')
os.setgroups([]); os.setgid(51234); os.setuid(51234)
os.fchdir(folder)
sys.argv[-1] = os.path.basename(sys.argv[-1])";
    let script = site.script("main.py", &forger(how));
    let mut command = site.command(PYTHON, &["-I", &script]);
    let (_started, actor) = site.start_as(command.uid(0).gid(0));
    assert_eq!(found(&actor).await, ["script:refused:namespace"]);

    let allowed = Command::new("unshare").args(["--mount", "true"]).status();
    if !allowed.is_ok_and(|status| status.success()) {
        eprintln!("skipped: needs unshare(1) and the right to use it");
        return;
    }
    let script = site.script("main.py", AGENT);
    let nobody = NOBODY.to_string();
    let arguments = ["--mount", "setpriv", "--reuid", &nobody, "--regid", &nobody];
    let arguments = [&arguments[..], &["--clear-groups", "--", PYTHON, "-I", &script]].concat();
    let mut command = site.command("/usr/bin/unshare", &arguments);
    let (_started, actor) = site.start_as(command.uid(0).gid(0));
    assert_eq!(found(&actor).await, ["script:refused:namespace"]);
}

/// Not a wish but a limit that the documentation states: the argument area is the process's own
/// memory. A process that runs other code first can write there what the kernel would have.
#[tokio::test]
async fn known_gap_a_path_of_the_same_length_written_in_place_cannot_be_told() {
    let Some(site) = Site::new() else { return };
    let good = site.script("good.py", AGENT);
    let how = format!("write(start, area().replace(sys.argv[0].encode(), b'{good}'))");
    let evil = site.script("evil.py", &forger(&how));
    let (_started, actor) = site.start(PYTHON, &["-I", &evil]);
    assert_eq!(found(&actor).await, selectors_of(&good));
}
