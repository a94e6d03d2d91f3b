/// One variable of `/proc/PID/environ`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Variable<'a> {
    /// What stands before the first `=`; not empty.
    pub name: &'a [u8],
    /// What stands after it.
    pub value: &'a [u8],
}

/// Reads `/proc/PID/cmdline`: strings that each end in a zero byte, the first of which is not
/// empty. Anything else was written by the process itself, not by `execve`.
pub fn parse_cmdline(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let arguments = strings(bytes)?;
    arguments.first().is_some_and(|first| !first.is_empty()).then_some(arguments)
}

/// Reads `/proc/PID/environ`, which may be empty. A string that is no `name=value` is refused.
pub fn parse_environ(bytes: &[u8]) -> Option<Vec<Variable<'_>>> {
    strings(bytes)?.into_iter().map(variable).collect()
}

fn variable(string: &[u8]) -> Option<Variable<'_>> {
    let equals = string.iter().position(|byte| *byte == b'=')?;
    let variable = Variable { name: string.get(..equals)?, value: string.get(equals + 1..)? };
    (!variable.name.is_empty()).then_some(variable)
}

fn strings(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    Some(bytes.strip_suffix(b"\0")?.split(|byte| *byte == 0).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_the_strings_between_zero_bytes() {
        let found = parse_cmdline(b"/usr/bin/python3\0-I\0\0/a b\0").unwrap();
        assert_eq!(found, [&b"/usr/bin/python3"[..], b"-I", b"", b"/a b"]);
        assert_eq!(parse_cmdline(b"a\0"), Some(vec![&b"a"[..]]));
    }

    #[test]
    fn a_command_line_that_exec_did_not_write_is_refused() {
        for cmdline in [&b""[..], b"\0", b"\0a\0", b"title without end", b"a\0b"] {
            assert_eq!(parse_cmdline(cmdline), None, "{cmdline:?}");
        }
    }

    #[test]
    fn a_variable_is_parted_at_its_first_equals_sign() {
        let found = parse_environ(b"A=b=c\0EMPTY=\0").unwrap();
        let expected =
            [Variable { name: b"A", value: b"b=c" }, Variable { name: b"EMPTY", value: b"" }];
        assert_eq!(found, expected);
        assert_eq!(parse_environ(b""), Some(Vec::new()));
    }

    #[test]
    fn an_environment_that_does_not_hold_variables_is_refused() {
        for environ in [&b"\0"[..], b"A\0", b"=b\0", b"A=b", b"A=b\0\0", b"A=b\0C\0"] {
            assert_eq!(parse_environ(environ), None, "{environ:?}");
        }
    }
}
