//! Which numeric ids stand for one user or group here.
//!
//! Every id that has no number in the reader's user namespace shows as the overflow id, which is
//! the number of `nobody` as well. In the initial namespace all ids have numbers; a daemon in a
//! container with a user namespace of its own meets both kinds under one number.

use std::io;

/// What `/proc/sys/kernel/overflowuid` says unless somebody changed it.
const OVERFLOW: u32 = 65_534;

/// The ids of this daemon's user namespace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IdMaps {
    users: IdMap,
    groups: IdMap,
}

#[derive(Debug, Clone, Copy)]
struct IdMap {
    /// All ids of the host have a number here.
    whole: bool,
    overflow: u32,
}

impl IdMaps {
    /// Reads the maps of this process.
    pub(crate) fn read() -> io::Result<Self> {
        Ok(Self {
            users: IdMap::read("/proc/self/uid_map", "/proc/sys/kernel/overflowuid")?,
            groups: IdMap::read("/proc/self/gid_map", "/proc/sys/kernel/overflowgid")?,
        })
    }

    /// Whether this number stands for one user and no other.
    pub(crate) fn is_user(self, uid: u32) -> bool {
        self.users.is_one(uid)
    }

    /// Whether this number stands for one group and no other.
    pub(crate) fn is_group(self, gid: u32) -> bool {
        self.groups.is_one(gid)
    }
}

impl IdMap {
    fn read(map: &str, overflow: &str) -> io::Result<Self> {
        let overflow = std::fs::read_to_string(overflow).ok();
        let overflow = overflow.and_then(|number| number.trim().parse().ok()).unwrap_or(OVERFLOW);
        Ok(Self { whole: covers_all(&std::fs::read_to_string(map)?), overflow })
    }

    fn is_one(self, id: u32) -> bool {
        self.whole || id != self.overflow
    }
}

/// Whether a map (user_namespaces(7): lines of first id inside, first id outside, how many) has
/// all ids but -1, which is no id.
fn covers_all(map: &str) -> bool {
    let count = |line: &str| line.split_ascii_whitespace().nth(2)?.parse::<u64>().ok();
    map.lines().filter_map(count).sum::<u64>() >= u64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_covers_all_only_if_no_id_is_left_out() {
        for (map, whole) in [
            ("         0          0 4294967295\n", true),
            ("0 100 2000000000\n2000000000 2000000100 2294967295\n", true),
            ("0 0 4294967294\n", false),
            ("0 100000 65536\n", false),
            ("0 1000 1\n1 100000 65536\n", false),
            ("", false),
            ("0 0\n", false),
            ("0 0 x\n", false),
        ] {
            assert_eq!(covers_all(map), whole, "{map}");
        }
    }

    #[test]
    fn the_overflow_id_is_one_user_only_where_all_ids_have_numbers() {
        let whole = IdMap { whole: true, overflow: OVERFLOW };
        let part = IdMap { whole: false, ..whole };
        assert!(whole.is_one(OVERFLOW) && whole.is_one(0) && part.is_one(0));
        assert!(!part.is_one(OVERFLOW));
        assert!(IdMap { overflow: 7, ..part }.is_one(OVERFLOW));
    }
}
