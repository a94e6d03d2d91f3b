//! Why a process cannot be explained to an operator.

use std::error::Error;

use marque_attest::AttestError;
use tonic::{Code, Status};

use super::{chain, coded};

/// The operator counts process ids otherwise than the daemon does.
pub(crate) fn foreign_pid_namespace() -> Status {
    let message = "you are in another pid namespace than the daemon, so that your ids are not its ids: ask from the \
                   daemon's own, with the id that the process has there";
    coded(Code::FailedPrecondition, message, "foreign_pid_namespace")
}

/// The process could not be held or looked at.
pub(crate) fn process(pid: i32, error: &AttestError) -> Status {
    match error {
        AttestError::Exited { .. } | AttestError::StartTimeChanged { .. } => {
            let message = format!(
                "process {pid} has exited; `marque explain denials` shows what was refused lately"
            );
            coded(Code::NotFound, message, "process_exited")
        }
        AttestError::Unreadable { source, .. } | AttestError::Pidfd { source, .. }
            if is_gone(source) =>
        {
            let message = format!(
                "the daemon sees no process {pid}: it has exited, or it is in a pid namespace beside the daemon's, or /proc \
                 hides it; of a process in a container give the id that it has on the host, and for one that has exited \
                 see `marque explain denials`"
            );
            coded(Code::NotFound, message, "process_not_found")
        }
        error => {
            let message =
                format!("process {pid} cannot be looked at: {}", chain(error as &dyn Error));
            coded(Code::FailedPrecondition, message, "process_not_visible")
        }
    }
}

fn is_gone(error: &std::io::Error) -> bool {
    use nix::errno::Errno;

    // What /proc and pidfd_open say when there is none, and of a thread's id.
    let gone = [Errno::ENOENT, Errno::ESRCH, Errno::EINVAL].map(|errno| errno as i32);
    error.raw_os_error().is_some_and(|number| gone.contains(&number))
}
