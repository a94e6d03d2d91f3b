/// What is looked at of `/proc/PID/status` (proc_pid_status(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The user ids.
    pub uids: Ids,
    /// The group ids.
    pub gids: Ids,
    /// The supplementary group ids, in the kernel's (ascending) order.
    pub groups: Box<[u32]>,
    /// The process that traces this one, 0 for none; `None` where there is no such line.
    pub tracer: Option<i32>,
    /// The permitted capabilities as a bit set; `None` where there is no such line.
    pub capabilities: Option<u64>,
    /// The process's id in each pid namespace, from the reader's inwards; empty where there is no
    /// such line.
    pub namespace_pids: Box<[i32]>,
}

/// The four ids of a `Uid:` or `Gid:` line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ids {
    /// Who started the process.
    pub real: u32,
    /// Whose rights it uses.
    pub effective: u32,
    /// Whose rights it may take up again.
    pub saved: u32,
    /// Whose rights it uses towards files.
    pub file_system: u32,
}

impl Ids {
    /// Whether all four are one: the process has no other identity in reserve.
    pub fn are_one(&self) -> bool {
        let Self { real, effective, saved, file_system } = self;
        [real, saved, file_system].iter().all(|id| *id == effective)
    }
}

/// Reads `/proc/PID/status`. The kernel escapes line ends in `Name:`, so a process cannot forge
/// a line of its own.
pub fn parse_status(bytes: &[u8]) -> Option<Status> {
    let tracer = match line(bytes, b"TracerPid:")? {
        Some(tracer) => Some(tracer.trim().parse().ok()?),
        None => None,
    };
    let capabilities = match line(bytes, b"CapPrm:")? {
        Some(set) => Some(u64::from_str_radix(set.trim(), 16).ok()?),
        None => None,
    };
    Some(Status {
        uids: ids(line(bytes, b"Uid:")??)?,
        gids: ids(line(bytes, b"Gid:")??)?,
        groups: numbers(line(bytes, b"Groups:")??)?,
        tracer,
        capabilities,
        namespace_pids: numbers(line(bytes, b"NSpid:")?.unwrap_or_default())?,
    })
}

/// The value of the first line that starts with `name`, if there is one. A line that is not
/// complete is malformed.
fn line<'a>(bytes: &'a [u8], name: &[u8]) -> Option<Option<&'a str>> {
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let Some(line) = lines.find(|line| line.starts_with(name)) else { return Some(None) };
    Some(Some(std::str::from_utf8(line.strip_prefix(name)?.strip_suffix(b"\n")?).ok()?))
}

fn numbers<T: std::str::FromStr>(line: &str) -> Option<Box<[T]>> {
    line.split_ascii_whitespace().map(|number| number.parse().ok()).collect()
}

fn ids(line: &str) -> Option<Ids> {
    match *numbers(line)? {
        [real, effective, saved, file_system] => Some(Ids { real, effective, saved, file_system }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_are_told_apart() {
        let status = "Name:\tUid:\\n\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nFDSize:\t64\nGroups:\t4 27 1000 \n";
        let expected = Status {
            uids: Ids { real: 1, effective: 2, saved: 3, file_system: 4 },
            gids: Ids { real: 5, effective: 6, saved: 7, file_system: 8 },
            groups: Box::new([4, 27, 1000]),
            tracer: None,
            capabilities: None,
            namespace_pids: Box::new([]),
        };
        assert!(!expected.uids.are_one());
        assert!(Ids { real: 6, effective: 6, saved: 6, file_system: 6 }.are_one());
        assert_eq!(parse_status(status.as_bytes()), Some(expected));
    }

    #[test]
    fn tracer_capabilities_and_namespaces_are_read_where_they_are_shown() {
        let status = "TracerPid:\t77\nUid:\t1\t1\t1\t1\nGid:\t1\t1\t1\t1\nGroups:\t\nNSpid:\t4711\t1\nCapPrm:\t00000000000000c0\n";
        let found = parse_status(status.as_bytes()).unwrap();
        assert_eq!((found.tracer, found.capabilities), (Some(77), Some(0xc0)));
        assert_eq!(*found.namespace_pids, [4711, 1]);
        for (good, bad) in
            [("\t77", "\tx"), ("0c0\n", "0cx\n"), ("0c0\n", "0c0"), ("4711\t1", "4711\tx")]
        {
            assert_eq!(parse_status(status.replace(good, bad).as_bytes()), None, "{bad}");
        }
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
