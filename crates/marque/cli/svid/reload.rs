//! Telling a program that its files changed: by a command, or by a signal.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::str::FromStr;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::process::Command;

/// What to do after the files changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reload {
    /// Nothing.
    Nothing,
    /// Run a program, for as long at most.
    Command { program: String, arguments: Vec<String>, at_most: Duration },
    /// Send a signal to the process whose id is in a file.
    Signal { signal: ReloadSignal, pid_file: PathBuf },
}

/// A signal by its name, with or without `SIG`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReloadSignal(Signal);

impl FromStr for ReloadSignal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.strip_prefix("SIG").unwrap_or(text);
        let signal = format!("SIG{name}").parse::<Signal>();
        signal.map(Self).map_err(|_unknown| "is no signal such as `HUP` or `SIGUSR1`".to_owned())
    }
}

impl Reload {
    /// Whether anything is to be done.
    pub(super) fn is_something(&self) -> bool {
        *self != Self::Nothing
    }

    /// Does it; says why when it failed.
    pub(super) async fn run(&self) -> Result<(), String> {
        match self {
            Self::Nothing => Ok(()),
            Self::Command { program, arguments, at_most } => {
                command(program, arguments, *at_most).await
            }
            Self::Signal { signal: ReloadSignal(signal), pid_file } => {
                let text = fs::read_to_string(pid_file)
                    .map_err(|error| format!("cannot read `{}`: {error}", pid_file.display()))?;
                // 0 and below would be a whole group of processes.
                let pid = text.trim().parse::<i32>().ok().filter(|pid| *pid > 0);
                let pid =
                    pid.ok_or_else(|| format!("`{}` holds no process id", pid_file.display()))?;
                kill(Pid::from_raw(pid), *signal)
                    .map_err(|errno| format!("cannot send {signal} to process {pid}: {errno}"))
            }
        }
    }
}

/// Runs a program in a process group of its own, which ends with its time.
async fn command(program: &str, arguments: &[String], at_most: Duration) -> Result<(), String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        // Ours is for what we have to say.
        .stdout(std::io::stderr())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("cannot run `{program}`: {error}"))?;
    match tokio::time::timeout(at_most, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("`{program}` failed: {status}")),
        Ok(Err(error)) => Err(format!("`{program}` cannot be waited for: {error}")),
        Err(_elapsed) => {
            let group = child.id().and_then(|id| i32::try_from(id).ok());
            // Gone already is as good.
            group.and_then(|group| killpg(Pid::from_raw(group), Signal::SIGKILL).ok());
            drop(child.wait().await);
            Err(format!("`{program}` was stopped: it ran longer than {}s", at_most.as_secs_f64()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, at_most: Duration) -> Reload {
        let arguments = vec!["-c".to_owned(), script.to_owned()];
        Reload::Command { program: "sh".to_owned(), arguments, at_most }
    }

    #[tokio::test]
    async fn a_command_that_fails_says_how() {
        let limit = Duration::from_secs(20);
        assert_eq!(shell("exit 0", limit).run().await, Ok(()));
        let told = shell("exit 3", limit).run().await.unwrap_err();
        assert!(told.contains("exit status: 3"), "{told}");
        let nowhere = Reload::Command {
            program: "/nonexistent/program".to_owned(),
            arguments: Vec::new(),
            at_most: limit,
        };
        assert!(nowhere.run().await.unwrap_err().contains("cannot run"));
    }

    #[tokio::test]
    async fn a_command_that_takes_too_long_is_stopped_with_everything_that_it_started() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; wait", file.display());
        let told = shell(&script, Duration::from_millis(300)).run().await.unwrap_err();
        assert!(told.contains("ran longer"), "{told}");
        let pid: i32 = fs::read_to_string(file).unwrap().trim().parse().unwrap();
        // Gone, or a zombie that its new parent has not waited for yet.
        let stat = || fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let is_over =
            |stat: String| stat.is_empty() || stat.contains(") Z ") || stat.contains(") X ");
        while !is_over(stat()) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_signal_reaches_the_process_in_the_file_and_no_group() {
        let scratch = tempfile::tempdir().unwrap();
        let pid_file = scratch.path().join("pid");
        // Not HUP: whoever started these tests may have them ignore it, and a child would as well.
        let signal: ReloadSignal = "USR1".parse().unwrap();
        let reload = Reload::Signal { signal, pid_file: pid_file.clone() };
        assert!(reload.run().await.unwrap_err().contains("cannot read"));
        for text in ["", "0", "-1", "x", "99999999999"] {
            fs::write(&pid_file, text).unwrap();
            assert!(reload.run().await.unwrap_err().contains("holds no process id"), "{text}");
        }
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        fs::write(&pid_file, format!("{}\n", child.id().unwrap())).unwrap();
        reload.run().await.unwrap();
        let status = child.wait().await.unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(10));
    }

    #[test]
    fn a_signal_has_its_name() {
        assert_eq!("SIGUSR1".parse(), Ok(ReloadSignal(Signal::SIGUSR1)));
        assert_eq!("USR1".parse(), Ok(ReloadSignal(Signal::SIGUSR1)));
        assert!("1".parse::<ReloadSignal>().is_err());
    }
}
