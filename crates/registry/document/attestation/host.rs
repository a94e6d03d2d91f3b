//! The tables of `[attestation]` that concern the host itself: `systemd`, `script` and `parent`.

use std::path::PathBuf;
use std::time::Duration;

use super::read::{Absolute, file, number, timeout_or};
use crate::fields::{Fields, Log};

const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";
const SYSTEMD_TIMEOUT: Duration = Duration::from_secs(2);

/// How many interpreters may be named in all.
const MAX_INTERPRETERS: usize = 64;

/// `[attestation.systemd]`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SystemdSettings {
    /// The socket of the system bus, an absolute path.
    pub bus: PathBuf,
    /// How long one attestation may take.
    pub timeout: Duration,
    /// How many processes are asked about at once.
    pub max_concurrent: u32,
}

/// `[attestation.script]`: interpreters by language, as absolute paths.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScriptSettings {
    /// CPython.
    pub python: Vec<PathBuf>,
    /// Node.js.
    pub node: Vec<PathBuf>,
    /// Perl.
    pub perl: Vec<PathBuf>,
    /// Ruby.
    pub ruby: Vec<PathBuf>,
    /// Scripts larger than this many KiB earn no digest.
    pub max_script_kib: u32,
    /// How many processes are looked at at once.
    pub max_concurrent: u32,
    /// How many digests are remembered.
    pub max_remembered_digests: u32,
}

/// `[attestation.parent]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ParentSettings {
    /// The kinds of selectors that are taken over from the parent; all if empty.
    pub kinds: Vec<String>,
}

pub(super) fn systemd(parent: &mut Fields<'_, '_>, log: &mut Log<'_>) -> Option<SystemdSettings> {
    let mut table = parent.optional_table("systemd", log)?;
    let settings = SystemdSettings {
        bus: file(&mut table, "bus", log).unwrap_or_else(|| SYSTEM_BUS.into()),
        timeout: timeout_or(&mut table, SYSTEMD_TIMEOUT, log),
        max_concurrent: number(&mut table, "max_concurrent", 16, (1, 1024), log),
    };
    table.finish(log);
    Some(settings)
}

pub(super) fn script(parent: &mut Fields<'_, '_>, log: &mut Log<'_>) -> Option<ScriptSettings> {
    let mut table = parent.optional_table("script", log)?;
    let line = table.line();
    let all_absent = !["python", "node", "perl", "ruby"].iter().any(|key| table.has(key));
    let mut paths = |key, default: &str| -> Vec<PathBuf> {
        let paths: Vec<Absolute> = table.texts(key, log);
        if all_absent && !default.is_empty() {
            return vec![default.into()];
        }
        paths.into_iter().map(|Absolute(path)| path).collect()
    };
    let python = paths("python", "/usr/bin/python3");
    let node = paths("node", "/usr/bin/node");
    let (perl, ruby) = (paths("perl", ""), paths("ruby", ""));
    let named = python.len() + node.len() + perl.len() + ruby.len();
    if named > MAX_INTERPRETERS {
        log.at(line, format!("[script] names more than {MAX_INTERPRETERS} interpreters"));
    }
    let settings = ScriptSettings {
        python,
        node,
        perl,
        ruby,
        max_script_kib: number(&mut table, "max_script_kib", 16_384, (1, 1_048_576), log),
        max_concurrent: number(&mut table, "max_concurrent", 8, (1, 1024), log),
        max_remembered_digests: number(
            &mut table,
            "max_remembered_digests",
            4096,
            (1, 1_000_000),
            log,
        ),
    };
    table.finish(log);
    Some(settings)
}

/// Only kinds whose attestors are there can be taken over.
pub(super) fn parent(
    parent: &mut Fields<'_, '_>,
    is_on: impl Fn(&str) -> bool,
    log: &mut Log<'_>,
) -> Option<ParentSettings> {
    let mut table = parent.optional_table("parent", log)?;
    let line = table.line();
    let kinds: Vec<String> = table.texts("kinds", log);
    for kind in kinds.iter().filter(|kind| !is_on(kind)) {
        log.at(line, format!("`kinds` in [parent] has `{kind}`, which is no attestor that is on"));
    }
    table.finish(log);
    Some(ParentSettings { kinds })
}
