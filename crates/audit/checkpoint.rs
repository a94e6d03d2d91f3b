//! What the log states of itself: origin, size and root (C2SP tlog-checkpoint).

use marque_spiffe::TrustDomain;

use crate::{AuditError, Hash};

/// The most bytes of a checkpoint with its signatures; anything larger is refused unread.
pub const MAX_CHECKPOINT_BYTES: usize = 64 * 1024;

/// The size and root of one log's tree. Unsigned: trust it only out of a [`crate::SignedCheckpoint`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log: a URL without scheme, no spaces, no plus.
    pub origin: String,
    /// The number of leaves.
    pub size: u64,
    /// The root of the tree of that many leaves.
    pub root: Hash,
}

/// The origin of a trust domain's audit log, which is also the name of its checkpoint key.
#[must_use]
pub fn origin(trust_domain: &TrustDomain) -> String {
    format!("{}/marque/audit", trust_domain.as_str())
}

impl Checkpoint {
    /// The text that is signed: three lines, each with its newline.
    #[must_use]
    pub fn to_note_body(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.root)
    }

    /// Reads the text that was signed. Extension lines are accepted and ignored, as the specification asks.
    ///
    /// # Errors
    /// When the text does not have the three lines, or a line is not in its one allowed spelling.
    pub fn parse(body: &str) -> Result<Self, AuditError> {
        let lines =
            body.strip_suffix('\n').ok_or(AuditError::Checkpoint("no newline at its end"))?;
        let mut lines = lines.split('\n');
        let mut line = || lines.next().filter(|line| !line.is_empty());
        let origin = line().ok_or(AuditError::Checkpoint("no origin"))?;
        let size = line().and_then(parse_size).ok_or(AuditError::Checkpoint("no size"))?;
        let root =
            line().and_then(|hash| hash.parse().ok()).ok_or(AuditError::Checkpoint("no root"))?;
        if lines.any(str::is_empty) {
            return Err(AuditError::Checkpoint("an empty extension line"));
        }
        Ok(Self { origin: origin.to_owned(), size, root })
    }
}

fn parse_size(text: &str) -> Option<u64> {
    let size = text.parse::<u64>().ok()?;
    // One spelling only: no sign, no leading zeroes.
    (size.to_string() == text).then_some(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of C2SP tlog-checkpoint.
    const PUBLISHED: &str =
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    #[test]
    fn the_published_checkpoint_reads_and_writes_back() {
        let checkpoint = Checkpoint::parse(PUBLISHED).unwrap();
        assert_eq!(checkpoint.origin, "example.com/behind-the-sofa");
        assert_eq!(checkpoint.size, 20_852_163);
        assert_eq!(checkpoint.to_note_body(), PUBLISHED);
    }

    #[test]
    fn extension_lines_are_ignored_unless_empty() {
        assert!(Checkpoint::parse(&format!("{PUBLISHED}more\n")).is_ok());
        assert!(Checkpoint::parse(&format!("{PUBLISHED}more\n\n")).is_err());
    }

    #[test]
    fn every_other_spelling_is_refused() {
        for (from, to) in [
            ("example.com/behind-the-sofa\n", "\n"),
            ("20852163", "020852163"),
            ("20852163", "+20852163"),
            ("20852163", "99999999999999999999"),
            ("20852163\n", ""),
            ("q2I=\n", "q2I\n"),
            ("q2I=\n", "q2I="),
            ("CsUY", "sUY"),
        ] {
            let spoiled = PUBLISHED.replacen(from, to, 1);
            assert_ne!(spoiled, PUBLISHED);
            assert!(Checkpoint::parse(&spoiled).is_err(), "{spoiled:?}");
        }
    }
}
