/// What is looked at of `/proc/PID/stat` (proc_pid_stat(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stat {
    /// Field 4: the parent's process id, 0 at the top of the visible tree.
    pub parent: i32,
    /// Field 5: the id of the process group.
    pub process_group: i32,
    /// Field 6: the id of the session.
    pub session: i32,
    /// Field 22: when the process started, in clock ticks since boot.
    pub start_time: u64,
    /// Where the last `execve` laid out the process; `None` where the kernel does not show it: for
    /// kernel threads, and to whoever may not trace the process.
    pub layout: Option<MemoryLayout>,
}

/// Where `execve` put things. With address space randomisation, two executions differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryLayout {
    /// Field 26: the start of the program's code.
    pub start_code: u64,
    /// Field 28: the stack pointer at the start: the argument count lies there.
    pub start_stack: u64,
    /// Field 48: the start of the argument strings.
    pub arg_start: u64,
    /// Field 49: the end of the argument strings.
    pub arg_end: u64,
    /// Field 50: the start of the environment strings.
    pub env_start: u64,
    /// Field 51: the end of the environment strings.
    pub env_end: u64,
}

/// Reads `/proc/PID/stat`. The command name in field 2 may hold blanks and parentheses, so the
/// numbered fields are counted from the *last* `)`.
pub fn parse_stat(bytes: &[u8]) -> Option<Stat> {
    let end_of_name = bytes.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(bytes.get(end_of_name + 1..)?).ok()?;
    // Field 3 (the state) comes first.
    let fields: Vec<&str> = rest.split_ascii_whitespace().take(52 - 2).collect();
    let field = |number: usize| fields.get(number - 3).copied();
    Some(Stat {
        parent: field(4)?.parse().ok()?,
        process_group: field(5)?.parse().ok()?,
        session: field(6)?.parse().ok()?,
        start_time: field(22)?.parse().ok()?,
        layout: layout(field),
    })
}

fn layout<'a>(field: impl Fn(usize) -> Option<&'a str>) -> Option<MemoryLayout> {
    // A number that is hidden is 0 or 1, and nothing ever lies there.
    let address = |number| field(number)?.parse().ok().filter(|address| *address > 1);
    Some(MemoryLayout {
        start_code: address(26)?,
        start_stack: address(28)?,
        arg_start: address(48)?,
        arg_end: address(49)?,
        env_start: address(50)?,
        env_end: address(51)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAIL: &str = "S 41 42 43 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 0 0";
    const LAYOUT: &str = "18446744073709551615 4096 8192 140000 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 \
                          1 2 3 150001 150100 150100 150200 0";

    fn expected() -> Stat {
        Stat { parent: 41, process_group: 42, session: 43, start_time: 987_654, layout: None }
    }

    #[test]
    fn the_start_time_is_counted_from_the_last_parenthesis() {
        for name in [
            "sh",
            "a b",
            "x) R 1 1",
            "((",
            "))",
            ") S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20",
        ] {
            let stat = format!("42 ({name}) {TAIL}\n");
            assert_eq!(parse_stat(stat.as_bytes()), Some(expected()), "{name}");
        }
    }

    #[test]
    fn a_command_name_that_is_not_utf8_is_no_obstacle() {
        let mut stat = b"42 (\xff\xfe) ".to_vec();
        stat.extend_from_slice(TAIL.as_bytes());
        assert_eq!(parse_stat(&stat), Some(expected()));
    }

    #[test]
    fn the_layout_is_read_where_it_is_shown() {
        let stat = format!("42 (sh) {TAIL} {LAYOUT}\n");
        let layout = MemoryLayout {
            start_code: 4096,
            start_stack: 140_000,
            arg_start: 150_001,
            arg_end: 150_100,
            env_start: 150_100,
            env_end: 150_200,
        };
        let found = parse_stat(stat.as_bytes());
        assert_eq!(found, Some(Stat { layout: Some(layout), ..expected() }));
        for (shown, hidden) in [(" 4096 ", " 1 "), (" 140000 ", " 0 "), (" 150200 ", " 0 ")] {
            let stat = stat.replacen(shown, hidden, 1);
            assert_eq!(parse_stat(stat.as_bytes()), Some(expected()), "{hidden}");
        }
    }

    #[test]
    fn a_short_or_mistyped_stat_is_refused() {
        for stat in [
            "",
            "42 sh S 41",
            "42 (sh) S",
            "42 (sh) S x 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 0",
            "42 (sh) S 41 x 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 0",
            "42 (sh) S 41 42 x 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 0",
            "42 (sh) S 41 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0",
            "42 (sh) S 41 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 -5 0",
        ] {
            assert_eq!(parse_stat(stat.as_bytes()), None, "{stat}");
        }
    }
}
