//! Parsers for the two process files that a pin reads: `/proc/PID/stat` and `/proc/PID/status`.
//!
//! Pure functions over bytes. Deliberately absent: reading files, and every field that no check
//! of ours compares.

/// What a pin needs of `/proc/PID/stat` (proc_pid_stat(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Field 4: the parent's process id, 0 at the top of the visible tree.
    pub(crate) parent: i32,
    /// Field 22: when the process started, in clock ticks since boot.
    pub(crate) start_time: u64,
}

/// What a pin needs of `/proc/PID/status` (proc_pid_status(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Status {
    /// The effective user id.
    pub(crate) uid: u32,
    /// The effective group id.
    pub(crate) gid: u32,
    /// The supplementary group ids, in the kernel's (ascending) order.
    pub(crate) groups: Box<[u32]>,
}

/// Reads `/proc/PID/stat`. The command name in field 2 may hold blanks and parentheses, so the
/// numbered fields are counted from the *last* `)`.
pub(crate) fn parse_stat(bytes: &[u8]) -> Option<Stat> {
    let end_of_name = bytes.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(bytes.get(end_of_name + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    // Field 3 (the state) comes first, so field N is at N - 3.
    let parent = fields.nth(4 - 3)?.parse().ok()?;
    let start_time = fields.nth(22 - 5)?.parse().ok()?;
    Some(Stat { parent, start_time })
}

/// Reads `/proc/PID/status`. The kernel escapes line ends in `Name:`, so a process cannot forge
/// a line of its own.
pub(crate) fn parse_status(bytes: &[u8]) -> Option<Status> {
    let uid = effective(line(bytes, b"Uid:")?)?;
    let gid = effective(line(bytes, b"Gid:")?)?;
    let groups = line(bytes, b"Groups:")?
        .split_ascii_whitespace()
        .map(|group| group.parse().ok())
        .collect::<Option<_>>()?;
    Some(Status { uid, gid, groups })
}

/// The value of the first line that starts with `name`; the line must be complete.
fn line<'a>(bytes: &'a [u8], name: &[u8]) -> Option<&'a str> {
    let line = bytes.split_inclusive(|byte| *byte == b'\n').find(|line| line.starts_with(name))?;
    std::str::from_utf8(line.strip_prefix(name)?.strip_suffix(b"\n")?).ok()
}

/// The second of the four ids in a `Uid:` or `Gid:` line: real, effective, saved, file system.
fn effective(ids: &str) -> Option<u32> {
    let mut ids = ids.split_ascii_whitespace();
    let effective = ids.nth(1)?.parse().ok()?;
    (ids.count() == 2).then_some(effective)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAIL: &str = "S 41 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 0 0";

    #[test]
    fn the_start_time_is_counted_from_the_last_parenthesis() {
        let expected = Some(Stat { parent: 41, start_time: 987_654 });
        for name in [
            "sh",
            "a b",
            "x) R 1 1",
            "((",
            "))",
            ") S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20",
        ] {
            let stat = format!("42 ({name}) {TAIL}\n");
            assert_eq!(parse_stat(stat.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn a_command_name_that_is_not_utf8_is_no_obstacle() {
        let mut stat = b"42 (\xff\xfe) ".to_vec();
        stat.extend_from_slice(TAIL.as_bytes());
        assert_eq!(parse_stat(&stat), Some(Stat { parent: 41, start_time: 987_654 }));
    }

    #[test]
    fn a_short_or_mistyped_stat_is_refused() {
        for stat in [
            "",
            "42 sh S 41",
            "42 (sh) S",
            "42 (sh) S x 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 0",
            "42 (sh) S 41 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0",
            "42 (sh) S 41 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 -5 0",
        ] {
            assert_eq!(parse_stat(stat.as_bytes()), None, "{stat}");
        }
    }

    #[test]
    fn the_ids_are_the_effective_ones() {
        let status = "Name:\tUid:\\n\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nFDSize:\t64\nGroups:\t4 27 1000 \n";
        let expected = Status { uid: 2, gid: 6, groups: Box::new([4, 27, 1000]) };
        assert_eq!(parse_status(status.as_bytes()), Some(expected));
    }

    #[test]
    fn no_groups_are_no_groups() {
        let status = "Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t\n";
        assert_eq!(parse_status(status.as_bytes()).unwrap().groups.len(), 0);
    }

    #[test]
    fn a_status_that_is_cut_short_is_refused() {
        for status in [
            "",
            "Uid:\t1\t2\t3\t4\n",
            "Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n",
            "Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t4 27 10",
            "Uid:\t1\t2\t3\nGid:\t5\t6\t7\t8\nGroups:\t\n",
            "Uid:\t1\t2\t3\t4\t5\nGid:\t5\t6\t7\t8\nGroups:\t\n",
            "Uid:\t1\t-2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t\n",
            "Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t4 x\n",
        ] {
            assert_eq!(parse_status(status.as_bytes()), None, "{status}");
        }
    }
}
