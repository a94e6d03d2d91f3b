//! Whether a file is as it was when a process started.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use marque_spiffe::Clock;
use rustix::param::clock_ticks_per_second;

use super::refusal::Refusal;

/// The start time and `/proc/uptime` count in hundredths of a second, a file's times in ticks of
/// the kernel, of which there may be as few as a hundred in a second.
const RESOLUTION: Duration = Duration::from_millis(50);

/// Whether the file was changed, renamed or given away last before a process of this start time
/// (in clock ticks since boot) started. A clock that was set back after the file was written lets
/// the file look younger until the process starts anew.
pub(super) fn is_older(start_time: u64, file: &File, clock: &dyn Clock) -> Result<bool, Refusal> {
    let facts = file.metadata()?;
    let changed = i128::from(facts.ctime()) * 1_000_000_000 + i128::from(facts.ctime_nsec());
    let uptime = parse_uptime(&std::fs::read_to_string("/proc/uptime")?);
    let uptime = i128::from(uptime.ok_or(Refusal::Malformed)?) * 10_000_000;
    let ticks = i128::from(clock_ticks_per_second().max(1));
    let since_boot = i128::from(start_time) * 1_000_000_000 / ticks;
    let started = clock.now().as_nanosecond() - uptime + since_boot;
    Ok(changed <= started + i128::try_from(RESOLUTION.as_nanos()).unwrap_or_default())
}

/// The first number of `/proc/uptime` (proc_uptime(5)), in hundredths of a second.
fn parse_uptime(text: &str) -> Option<u64> {
    let (seconds, hundredths) = text.split_ascii_whitespace().next()?.split_once('.')?;
    let hundredths = Some(hundredths).filter(|digits| digits.len() == 2)?.parse::<u64>().ok()?;
    seconds.parse::<u64>().ok()?.checked_mul(100)?.checked_add(hundredths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uptime_is_read_in_hundredths_of_a_second() {
        assert_eq!(parse_uptime("14260.07 27000.10\n"), Some(1_426_007));
        for text in ["", "1", "1.5 2", "x.00", "1.xx", "-1.00"] {
            assert_eq!(parse_uptime(text), None, "{text}");
        }
    }
}
