//! What a log says to a witness, and hears (C2SP tlog-witness, `add-checkpoint`).
//!
//! Deliberately absent: HTTP.

use crate::cosignature::{Cosignature, CosignerKey};
use crate::{AuditError, Hash, SignedCheckpoint};

/// Where checkpoints are submitted, below the prefix of a witness.
pub const ADD_CHECKPOINT: &str = "add-checkpoint";
/// What the size is sent as that a witness has cosigned.
pub const SIZE_MEDIA_TYPE: &str = "text/x.tlog.size";
/// The most bytes of an answer.
pub const MAX_ANSWER_BYTES: usize = 16 * 1024;
/// The most hashes of a proof that a witness takes.
const MAX_PROOF: usize = 63;

/// Why a cosignature that a witness answered is none of its own.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The answer is not lines of signatures of a note.
    #[error("the answer is not lines of signatures")]
    Lines(#[source] AuditError),
    /// It has no cosignature of the witness's key.
    #[error("the answer has no cosignature of `{0}`")]
    OtherKey(String),
    /// The answer is too long, or no text.
    #[error("the answer is longer than {MAX_ANSWER_BYTES} bytes, or no text")]
    Text,
}

/// The body of a request: the size that the witness has cosigned, the proof from there (none from 0 on, and none where the
/// tree has not grown), and the checkpoint. `None` for a longer proof than a witness takes.
#[must_use]
pub fn request(old: u64, proof: &[Hash], checkpoint: &SignedCheckpoint) -> Option<String> {
    if proof.len() > MAX_PROOF {
        return None;
    }
    let hashes: String = proof.iter().map(|hash| format!("{hash}\n")).collect();
    Some(format!("old {old}\n{hashes}\n{}", checkpoint.text()))
}

/// The size that a witness says it has cosigned: decimal, in its one spelling, with a newline.
#[must_use]
pub fn size(answer: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(answer).ok()?.strip_suffix('\n')?;
    let size = text.parse::<u64>().ok()?;
    (size.to_string() == text).then_some(size)
}

/// The cosignature of `key` in an answer to what `checkpoint` was submitted. Those of other keys are left alone.
///
/// # Errors
/// See [`AnswerError`].
pub fn cosignature(
    answer: &[u8],
    checkpoint: &SignedCheckpoint,
    key: &CosignerKey,
) -> Result<Cosignature, AnswerError> {
    if answer.len() > MAX_ANSWER_BYTES {
        return Err(AnswerError::Text);
    }
    let lines = std::str::from_utf8(answer).map_err(|_not_text| AnswerError::Text)?;
    // What was submitted may have cosignatures already: those are not the answer.
    let body = checkpoint.checkpoint().to_note_body();
    let found = key.find(&format!("{body}\n{lines}")).map_err(AnswerError::Lines)?;
    found.ok_or_else(|| AnswerError::OtherKey(key.name().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TestSigner, TestWitness, at};
    use crate::{Checkpoint, Hash};

    fn signed(size: u64) -> SignedCheckpoint {
        let origin = crate::testing::ORIGIN.to_owned();
        let checkpoint = Checkpoint { origin, size, root: Hash::of_leaf(b"root") };
        SignedCheckpoint::sign(&checkpoint, &TestSigner::new(1)).unwrap()
    }

    #[test]
    fn a_request_is_written_as_the_specification_shows_it() {
        let (hash, signed) = (Hash::of_leaf(b"a"), signed(9));
        let said = request(7, &[hash, hash], &signed).unwrap();
        assert_eq!(said, format!("old 7\n{hash}\n{hash}\n\n{}", signed.text()));
        assert_eq!(request(0, &[], &signed).unwrap(), format!("old 0\n\n{}", signed.text()));
        assert!(request(7, &[hash; 63], &signed).is_some());
        assert_eq!(request(7, &[hash; 64], &signed), None);
    }

    #[test]
    fn a_size_has_one_spelling() {
        assert_eq!(size(b"20852163\n"), Some(20_852_163));
        assert_eq!(size(b"0\n"), Some(0));
        for text in
            ["", "\n", "1", "01\n", "+1\n", "1\n\n", " 1\n", "18446744073709551616\n", "1\r\n"]
        {
            assert_eq!(size(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(size(b"\xff\n"), None);
    }

    #[test]
    fn an_answer_is_the_cosignature_of_the_one_key_and_of_no_other_checkpoint() {
        let (own, other) = (TestWitness::new("w1", 3), TestWitness::new("w2", 4));
        let submitted = signed(9);
        let (lines, of_other) = (own.cosigns(&submitted, at(5)), other.cosigns(&submitted, at(5)));
        let found = cosignature(lines.as_bytes(), &submitted, &own.key()).unwrap();
        assert_eq!((found.witness(), found.at()), ("w1", at(5)));
        let both = format!("{of_other}{lines}");
        assert!(cosignature(both.as_bytes(), &submitted, &own.key()).is_ok());
        let answer = |text: &str| cosignature(text.as_bytes(), &submitted, &own.key());
        assert!(matches!(answer(&of_other), Err(AnswerError::OtherKey(_))));
        let false_one = own.cosigns(&signed(10), at(5));
        for text in [false_one.as_str(), "", "no line\n", lines.trim_end()] {
            assert!(matches!(answer(text), Err(AnswerError::Lines(_))), "{text:?}");
        }
        assert!(matches!(answer(&"x".repeat(MAX_ANSWER_BYTES + 1)), Err(AnswerError::Text)));
        assert!(matches!(cosignature(b"\xff", &submitted, &own.key()), Err(AnswerError::Text)));
        // What a checkpoint has already is not an answer.
        let cosigned = submitted.cosigned([&found]);
        assert!(cosignature(b"", &cosigned, &own.key()).is_err());
    }
}
