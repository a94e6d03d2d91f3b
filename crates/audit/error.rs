use std::error::Error;

/// Why an event, a leaf, a checkpoint or a note was refused.
///
/// Tampering found while a whole log is checked has its own type, [`crate::VerifyError`].
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The event cannot be written as canonical JSON.
    #[error("the event cannot be written as canonical JSON")]
    Encode(#[source] serde_json::Error),
    /// A number in an event's detail cannot be kept exactly in JSON (RFC 8785 section 3.2.2.3).
    #[error("a number in the event's detail lies outside what JSON keeps exactly")]
    InexactNumber,
    /// The leaf would not fit the two length bytes of an entry bundle (C2SP tlog-tiles).
    #[error("the leaf has {length} bytes, {} are allowed", crate::leaf::MAX_LEAF_BYTES)]
    LeafTooLarge {
        /// Bytes of the refused leaf.
        length: usize,
    },
    /// The sequence number lies outside what the log can hold.
    #[error("{0} is not a sequence number of this log")]
    Sequence(u64),
    /// The bytes are not the JSON of a leaf.
    #[error("the leaf is not a JSON event")]
    Decode(#[source] serde_json::Error),
    /// The bytes are a leaf's JSON but not in canonical form (RFC 8785).
    #[error("the leaf is not canonical JSON")]
    NotCanonical,
    /// The envelope says something that no leaf at this place can say.
    #[error("the leaf's `{member}` does not fit its place in the log")]
    Envelope {
        /// The envelope member.
        member: &'static str,
    },
    /// A hash is not 32 bytes of padded base64 or lowercase hexadecimal.
    #[error("not a SHA-256 hash")]
    Hash,
    /// The text is not a checkpoint (C2SP tlog-checkpoint).
    #[error("not a checkpoint: {0}")]
    Checkpoint(&'static str),
    /// The text is not a signed note (C2SP signed-note).
    #[error("not a signed note: {0}")]
    Note(&'static str),
    /// The text is not a verifier key (C2SP signed-note).
    #[error("not a verifier key: {0}")]
    VerifierKey(&'static str),
    /// The note carries no signature of the expected key.
    #[error("the note is not signed by `{name}`")]
    NotSignedBy {
        /// The name of the expected key.
        name: String,
    },
    /// The note carries a signature in the name of the expected key that does not verify.
    #[error("the signature of `{name}` does not verify")]
    BadSignature {
        /// The name of the key.
        name: String,
    },
    /// A frontier's hashes do not fit its size.
    #[error("a frontier of {size} leaves does not have {peaks} hashes")]
    Frontier {
        /// The claimed number of leaves.
        size: u64,
        /// The number of hashes that came with it.
        peaks: usize,
    },
    /// The signer could not sign.
    #[error("the checkpoint could not be signed")]
    Sign(#[source] Box<dyn Error + Send + Sync>),
}
