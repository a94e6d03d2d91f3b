//! Whether a process is bound by file permissions, by its own root and by nobody's debugger.

use super::image::read_file;
use super::refusal::Refusal;
use crate::pin::FileId;
use crate::proc::parse_status;

/// `CAP_CHOWN`, `CAP_DAC_OVERRIDE`, `CAP_FOWNER`, `CAP_SETGID`, `CAP_SETUID`, `CAP_SYS_MODULE`,
/// `CAP_SYS_RAWIO`, `CAP_SYS_PTRACE` and `CAP_SYS_ADMIN` (capabilities(7)): each leads to writing
/// files that permissions protect.
const MIGHTY: u64 = 1 | 1 << 1 | 1 << 3 | 1 << 6 | 1 << 7 | 1 << 16 | 1 << 17 | 1 << 19 | 1 << 21;

/// `ADDR_NO_RANDOMIZE` (personality(2)).
const NO_RANDOMISATION: u64 = 0x0004_0000;

const MAX_STATUS: u64 = 64 * 1024;

pub(super) fn check(pid: i32) -> Result<(), Refusal> {
    let status = parse_status(&read_file(pid, "status", MAX_STATUS)?).ok_or(Refusal::Malformed)?;
    if status.tracer.ok_or(Refusal::Malformed)? != 0 {
        return Err(Refusal::Traced);
    }
    let mighty = status.capabilities.ok_or(Refusal::Malformed)? & MIGHTY != 0;
    if mighty || !status.uids.are_one() || !status.gids.are_one() {
        return Err(Refusal::Privileged);
    }
    for (its, own) in [("ns/mnt", "/proc/self/ns/mnt"), ("root", "/")] {
        if FileId::at(&format!("/proc/{pid}/{its}"))? != FileId::at(own)? {
            return Err(Refusal::Namespace);
        }
    }
    let personality = read_file(pid, "personality", 32)?;
    let personality = std::str::from_utf8(&personality).ok().map(str::trim);
    let personality = personality.and_then(|hex| u64::from_str_radix(hex, 16).ok());
    let host = std::fs::read_to_string("/proc/sys/kernel/randomize_va_space")?;
    if personality.ok_or(Refusal::Malformed)? & NO_RANDOMISATION != 0 || host.trim() == "0" {
        return Err(Refusal::NotRandomised);
    }
    Ok(())
}
