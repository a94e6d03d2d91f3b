//! What the log itself knows when it takes an event: the newest checkpoint, and the time that nobody sets.

use std::fmt;
use std::str::FromStr;

use marque_spiffe::MonotonicTime;
use serde::{Deserialize, Serialize};

use crate::{AuditError, Checkpoint, Hash};

/// The newest checkpoint that was kept when a leaf was written: the leaf commits to all that was before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrevCheckpoint {
    /// Its root, in base64 as checkpoints have it. Members are in the order of their names, as in a leaf.
    pub root: Hash,
    /// The leaves that it covers.
    pub size: u64,
}

impl PrevCheckpoint {
    /// What a signed note states, by the word of whoever kept it: no signature is looked at.
    ///
    /// # Errors
    /// The text is not a note with a checkpoint.
    pub fn of_kept_note(note: &str) -> Result<Self, AuditError> {
        let body = note.rfind("\n\n").and_then(|end| note.get(..=end));
        let Checkpoint { origin: _, size, root } =
            Checkpoint::parse(body.ok_or(AuditError::Note("it has no signatures"))?)?;
        Ok(Self { root, size })
    }
}

/// When a leaf was taken, on the clock of the host that took it which nobody sets ([`MonotonicTime`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Monotonic {
    /// Which start of which host it counts from.
    pub boot: BootId,
    /// Microseconds since then.
    pub us: u64,
}

impl From<MonotonicTime> for Monotonic {
    fn from(MonotonicTime { boot, micros }: MonotonicTime) -> Self {
        Self { boot: BootId(boot), us: micros }
    }
}

/// One start of a host: 32 lowercase hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct BootId([u8; 16]);

/// The text names no start of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not 32 lowercase hexadecimal digits")]
pub struct BootIdError;

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for BootId {
    type Err = BootIdError;

    fn from_str(text: &str) -> Result<Self, BootIdError> {
        let mut bytes = [0; 16];
        let lower = text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) if lower => Ok(Self(bytes)),
            _ => Err(BootIdError),
        }
    }
}

impl TryFrom<String> for BootId {
    type Error = BootIdError;

    fn try_from(text: String) -> Result<Self, BootIdError> {
        text.parse()
    }
}

impl From<BootId> for String {
    fn from(id: BootId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_of_a_host_reads_as_it_is_written_and_no_other_way() {
        let id = BootId([0xab; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["", &"AB".repeat(16), &"ab".repeat(15), &"ab".repeat(17), &"zz".repeat(16)] {
            assert_eq!(text.parse::<BootId>(), Err(BootIdError), "{text}");
        }
    }

    #[test]
    fn what_a_kept_note_states_is_read_without_its_signatures() {
        let root = Hash::of_empty_tree();
        let note = format!("prod.example.org/marque/audit\n7\n{root}\n\n\u{2014} a b\n");
        assert_eq!(PrevCheckpoint::of_kept_note(&note).unwrap(), PrevCheckpoint { root, size: 7 });
        assert!(PrevCheckpoint::of_kept_note("").is_err());
        assert!(PrevCheckpoint::of_kept_note(&note.replace("\n7\n", "\n07\n")).is_err());
    }
}
