//! Whether a process counts process ids as this daemon does.

use crate::error::AttestError;
use crate::pin::ProcessPin;

impl ProcessPin {
    /// Whether the process is in the daemon's own pid namespace, so that an id which it names means the same process here.
    /// One in a namespace below has an id in each (proc_pid_status(5), `NSpid`).
    ///
    /// # Errors
    /// When the process has ended, or its status does not read.
    pub fn shares_pid_namespace(&self) -> Result<bool, AttestError> {
        let malformed = AttestError::Malformed { pid: self.pid(), file: "status" };
        namespaces(&self.read_proc("status")?).map(|found| found == 1).ok_or(malformed)
    }
}

/// In how many pid namespaces, from the reader's own down, a process has an id.
fn namespaces(status: &[u8]) -> Option<usize> {
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"NSpid:"))?;
    let ids = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    Some(ids.count()).filter(|count| *count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_an_id_in_each_namespace_that_it_is_in() {
        for (status, found) in [
            ("Name:\tx\nNSpid:\t42\nNSpgid:\t42\n", Some(1)),
            ("NSpid:\t42\t7\n", Some(2)),
            ("Name:\tNSpid:\\n\nNSpid:\t42\t7\t1\n", Some(3)),
            ("NSpid:\t\n", None),
            ("Pid:\t42\n", None),
        ] {
            assert_eq!(namespaces(status.as_bytes()), found, "{status}");
        }
    }

    #[test]
    fn br_4_a_process_in_a_pid_namespace_of_its_own_does_not_share_ours() {
        let mut unshare = std::process::Command::new("unshare")
            .args(["--user", "--map-root-user", "--pid", "--fork", "--kill-child", "cat"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let (mut input, mut output) =
            (unshare.stdin.take().unwrap(), unshare.stdout.take().unwrap());
        // An echo shows that `cat` runs, and nothing that namespaces cannot be made here.
        std::io::Write::write_all(&mut input, b"x").unwrap();
        let mut echo = [0; 1];
        if std::io::Read::read_exact(&mut output, &mut echo).is_err() {
            println!("skipped: no pid namespace can be made here");
            unshare.wait().unwrap();
            return;
        }
        let pid = unshare.id();
        let children = format!("/proc/{pid}/task/{pid}/children");
        let inside = std::fs::read_to_string(children).unwrap().trim().parse().unwrap();
        assert!(!ProcessPin::open(inside).unwrap().shares_pid_namespace().unwrap());
        drop(input);
        unshare.wait().unwrap();
    }

    #[test]
    fn this_process_shares_its_own_namespace() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(ProcessPin::open(own).unwrap().shares_pid_namespace().unwrap());
    }
}
