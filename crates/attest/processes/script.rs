//! Interpreters that run scripts of root under another user, and what they may do to look like
//! another script.

use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use marque_spiffe::{Clock, Selector};
use ring::digest::{SHA256, digest};
use tempfile::TempDir;

use super::role::{Actor, Stage, Started};
use super::{NOBODY, is_root};
use crate::{Attestors, Interpreter, Language, ScriptAttestor, ScriptAttestorConfig};

mod forged;

const PYTHON: &str = "/usr/bin/python3";

/// Connects, then stays until it is told something.
const AGENT: &str = "
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[-1])
s.recv(1)
";

/// The host's clock, so much behind.
#[derive(Debug)]
struct HostClock(SignedDuration);

impl Clock for HostClock {
    #[expect(clippy::disallowed_methods, reason = "files and processes have the host's times")]
    fn now(&self) -> Timestamp {
        Timestamp::now() - self.0
    }

    fn sleep_until(&self, _at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        Box::pin(std::future::pending())
    }
}

/// A folder that only root can change, up to the root of the file system.
struct Site {
    stage: Stage,
    folder: TempDir,
}

impl Site {
    /// `None`, with a reason, where it cannot be had.
    fn new() -> Option<Self> {
        if !is_root() {
            return None;
        }
        if !Path::new(PYTHON).exists() {
            #[expect(clippy::disallowed_methods, reason = "how CI says what must be there")]
            let required = std::env::var_os("MARQUE_REQUIRE_PYTHON").is_some_and(|v| v == "1");
            assert!(!required, "MARQUE_REQUIRE_PYTHON=1, but there is no {PYTHON}");
            eprintln!("skipped: needs {PYTHON}");
            return None;
        }
        let folder = TempDir::new_in("/run").unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        Some(Self { stage: Stage::new(), folder })
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// A script of root's that anybody may run, written by another process: no descriptor of ours
    /// may be open for writing when it is executed.
    fn script(&self, name: &str, content: &str) -> String {
        let path = self.path(name);
        let mut write = Command::new("sh");
        write.args(["-c", r#"printf %s "$1" > "$2" && chmod 755 "$2""#, "sh", content, &path]);
        assert!(write.status().unwrap().success());
        path
    }

    fn socket(&self) -> PathBuf {
        self.stage.folder.path().join("s")
    }

    /// Starts a program with these arguments and the socket as the last, as nobody.
    fn start(&self, program: &str, arguments: &[&str]) -> (Started, Actor) {
        self.start_as(&mut self.command(program, arguments))
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).arg(self.socket()).env_clear().env("PATH", "/usr/bin:/bin");
        command.uid(NOBODY).gid(NOBODY).current_dir("/").stdin(Stdio::null());
        command
    }

    fn start_as(&self, command: &mut Command) -> (Started, Actor) {
        let started = Started(command.spawn().unwrap());
        let actor = self.stage.accept();
        (started, actor)
    }
}

fn config() -> ScriptAttestorConfig {
    let interpreter = |path: &str, language| Interpreter { path: path.into(), language };
    ScriptAttestorConfig {
        interpreters: vec![
            interpreter(PYTHON, Language::Python),
            interpreter("/usr/bin/node", Language::Node),
            interpreter("/usr/bin/perl", Language::Perl),
        ],
        ..Default::default()
    }
}

async fn found_by(config: ScriptAttestorConfig, behind: Duration, actor: &Actor) -> Vec<String> {
    let behind = SignedDuration::try_from(behind).unwrap();
    let attestor = ScriptAttestor::new(config, Arc::new(HostClock(behind)));
    let attestors = Attestors::new(vec![Box::new(attestor)]);
    let found = attestors.attest(&actor.peer).await.unwrap();
    found.selectors.iter().map(|selector: &Selector| selector.as_str().to_owned()).collect()
}

async fn found(actor: &Actor) -> Vec<String> {
    found_by(config(), Duration::ZERO, actor).await
}

fn selectors_of(script: &str) -> [String; 2] {
    let content = std::fs::read(script).unwrap();
    let digest = hex::encode(digest(&SHA256, &content));
    [format!("script:path:{script}"), format!("script:sha256:{digest}")]
}

#[tokio::test]
async fn a_script_is_known_by_path_and_content() {
    let Some(site) = Site::new() else { return };
    let script = site.script("main.py", AGENT);
    for options in [&["-I"][..], &["-u", "-s"], &["-uIB"]] {
        let arguments = [options, &[&script, "-c", "print()", "/etc/passwd"]].concat();
        let (_started, actor) = site.start(PYTHON, &arguments);
        assert_eq!(found(&actor).await, selectors_of(&script), "{options:?}");
    }
}

#[tokio::test]
async fn a_script_that_the_kernel_executes_is_known_by_its_first_line() {
    let Some(site) = Site::new() else { return };
    for line in ["#!/usr/bin/python3 -I", "#! /usr/bin/python3\t-Iu ", "#!/usr/bin/python3 -s"] {
        let script = site.script("main.py", &format!("{line}\n{AGENT}"));
        let (_started, actor) = site.start(&script, &["argument"]);
        assert_eq!(found(&actor).await, selectors_of(&script), "{line}");
    }
    for (line, reason) in [
        ("#!/usr/bin/python3", "option"),
        ("#!/usr/bin/python3 -i", "option"),
        // Found by PATH, which whoever starts it decides.
        ("#!/usr/bin/env python3", "interpreter"),
    ] {
        let script = site.script("main.py", &format!("{line}\n{AGENT}"));
        let (_started, actor) = site.start(&script, &[]);
        assert_eq!(found(&actor).await, [format!("script:refused:{reason}")], "{line}");
    }
}

#[tokio::test]
async fn scripts_of_other_languages_are_known() {
    let Some(site) = Site::new() else { return };
    let node = site.script(
        "main.js",
        "require('net').connect(process.argv.at(-1)).on('data', () => process.exit())",
    );
    let perl = site.script(
        "main.pl",
        "use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, sockaddr_un($ARGV[-1])) or die; <S>;",
    );
    for (interpreter, script) in [("/usr/bin/node", node), ("/usr/bin/perl", perl)] {
        if !Path::new(interpreter).exists() {
            eprintln!("skipped: needs {interpreter}");
            continue;
        }
        let (_started, actor) = site.start(interpreter, &[&script]);
        assert_eq!(found(&actor).await, selectors_of(&script), "{interpreter}");
    }
}

#[tokio::test]
async fn other_programs_have_no_script() {
    let Some(site) = Site::new() else { return };
    let _started = site.stage.start_self("obey");
    assert_eq!(found(&site.stage.accept()).await, [""; 0]);
    let script = site.script("main.py", AGENT);
    let (_started, actor) = site.start(PYTHON, &["-I", &script]);
    let none = ScriptAttestorConfig { interpreters: Vec::new(), ..config() };
    assert_eq!(found_by(none, Duration::ZERO, &actor).await, [""; 0]);
}

#[tokio::test]
async fn code_that_is_no_script_is_refused() {
    let Some(site) = Site::new() else { return };
    let script = site.script("main.py", AGENT);
    let folder = site.folder.path();
    for (arguments, reason) in [
        (&["-I", "-c", AGENT][..], "option"),
        (&["-I", "-m", "main"], "option"),
        (&["-Ii", &script], "option"),
        (&["-I", "-Wignore", &script], "option"),
        (&["-I", "-X", "utf8", &script], "option"),
        (&[&script], "option"),
        (&["-I", "main.py"], "script"),
        (&["-I", "./main.py"], "script"),
        (&["-I", &format!("{}/./main.py", folder.display())], "script"),
        (&["-I", "/dev/fd/0"], "script"),
        (&["-I", "/proc/self/fd/0"], "script"),
        (&["-I", "-"], "option"),
    ] {
        let mut command = site.command(PYTHON, arguments);
        command.current_dir(folder);
        // With -i, Python would go on to run what is there.
        if !arguments.contains(&"-Ii") {
            command.stdin(std::fs::File::open(&script).unwrap());
        }
        if arguments.contains(&"-m") {
            // Isolated, Python does not look in the current folder.
            command = site.command(PYTHON, &["-s", "-m", "main"]);
            command.current_dir(folder);
        }
        let (_started, actor) = site.start_as(&mut command);
        assert_eq!(found(&actor).await, [format!("script:refused:{reason}")], "{arguments:?}");
    }
}

#[tokio::test]
async fn a_variable_that_loads_code_is_refused() {
    let Some(site) = Site::new() else { return };
    let script = site.script("main.py", AGENT);
    for name in ["LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONSTARTUP", "BASH_ENV"] {
        let mut command = site.command(PYTHON, &["-I", &script]);
        let (_started, actor) = site.start_as(command.env(name, ""));
        assert_eq!(found(&actor).await, ["script:refused:environment"], "{name}");
    }
    let mut command = site.command(PYTHON, &["-I", &script]);
    let (_started, actor) = site.start_as(command.env("PYTHONUNBUFFERED", "1"));
    assert_eq!(found(&actor).await, selectors_of(&script));
}

#[tokio::test]
async fn an_interpreter_under_another_name_is_refused() {
    let Some(site) = Site::new() else { return };
    let script = site.script("main.py", AGENT);
    for name in ["python3", "/usr/bin/python3.11", "/tmp/venv/bin/python3", "agent"] {
        let mut command = site.command(PYTHON, &["-I", &script]);
        let (_started, actor) = site.start_as(command.arg0(name));
        assert_eq!(found(&actor).await, ["script:refused:interpreter"], "{name}");
    }
}

#[tokio::test]
async fn a_script_that_the_process_may_change_is_refused() {
    let Some(site) = Site::new() else { return };
    let folder = site.path("below");
    std::fs::create_dir(&folder).unwrap();
    let script = site.script("below/main.py", AGENT);
    let change = |path: &str, owner: u32, mode: u32| {
        chown(path, Some(owner), None).unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    };
    let (_started, actor) = site.start(PYTHON, &["-I", &script]);
    for path in [&folder, &script] {
        for (owner, mode, good) in [
            (NOBODY, 0o555, false),
            (0, 0o775, false),
            (0, 0o757, false),
            (0, 0o1777, false),
            (NOBODY + 1, 0o755, true),
            (0, 0o755, true),
        ] {
            change(path, owner, mode);
            let expected = if good { "script:path:" } else { "script:refused:writable" };
            let found = found(&actor).await;
            assert!(found[0].starts_with(expected), "{path} {owner} {mode:o}: {found:?}");
        }
    }
}

#[tokio::test]
async fn a_script_reached_by_a_symbolic_link_is_refused() {
    let Some(site) = Site::new() else { return };
    let script = site.script("main.py", AGENT);
    symlink(&script, site.path("link.py")).unwrap();
    symlink(site.folder.path(), site.path("folder")).unwrap();
    for path in [site.path("link.py"), site.path("folder/main.py")] {
        let (_started, actor) = site.start(PYTHON, &["-I", &path]);
        assert_eq!(found(&actor).await, ["script:refused:link"], "{path}");
    }
    // Gone, or another kind of file by now.
    let (_started, actor) = site.start(PYTHON, &["-I", &script]);
    std::fs::remove_file(&script).unwrap();
    assert_eq!(found(&actor).await, ["script:refused:script"]);
    nix::unistd::mkfifo(Path::new(&script), nix::sys::stat::Mode::from_bits_truncate(0o600))
        .unwrap();
    assert_eq!(found(&actor).await, ["script:refused:link"]);
}

#[tokio::test]
async fn root_has_no_script_as_it_may_change_any() {
    let Some(site) = Site::new() else { return };
    let script = site.script("main.py", AGENT);
    let mut command = site.command(PYTHON, &["-I", &script]);
    let (_started, actor) = site.start_as(command.uid(0).gid(0));
    assert_eq!(found(&actor).await, ["script:refused:privileged"]);
}

#[tokio::test]
async fn a_script_that_changed_since_the_process_started_has_no_digest() {
    let Some(site) = Site::new() else { return };
    let script = site.script("main.py", AGENT);
    let (_started, actor) = site.start(PYTHON, &["-I", &script]);
    let [path, digest] = selectors_of(&script);
    assert_eq!(found(&actor).await, [path.clone(), digest]);
    // By a clock that is an hour behind, the process started long before the file was written.
    let found = found_by(config(), Duration::from_secs(3600), &actor).await;
    assert_eq!(found, [path, "script:unhashed:changed".to_owned()]);
}

#[tokio::test]
async fn a_script_at_the_size_limit_is_hashed_and_one_past_it_is_not() {
    let Some(site) = Site::new() else { return };
    let script = site.script("main.py", AGENT);
    let (_started, actor) = site.start(PYTHON, &["-I", &script]);
    let size = std::fs::metadata(&script).unwrap().len();
    for (max_script_size, last) in
        [(size, "script:sha256:"), (size - 1, "script:unhashed:too_large")]
    {
        let config = ScriptAttestorConfig { max_script_size, ..config() };
        let found = found_by(config, Duration::ZERO, &actor).await;
        assert!(found[1].starts_with(last), "{found:?}");
    }
}
