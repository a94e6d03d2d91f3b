//! SPIFFE IDs as clouds name principals.

use marque_jose::{base64url, sha256};

use super::SpiffeId;

impl SpiffeId {
    /// The longest SPIFFE ID that every cloud takes for the name of a principal, in bytes: Google Cloud takes no more.
    pub const MAX_PLAIN_SUBJECT: usize = 127;

    /// What clouds may call a principal whose SPIFFE ID is longer than [`Self::MAX_PLAIN_SUBJECT`]: its SHA-256 in base64url, which
    /// tokens for clouds carry as `sub_sha256`.
    #[must_use]
    pub fn subject_digest(&self) -> Option<String> {
        let text = self.as_str();
        (text.len() > Self::MAX_PLAIN_SUBJECT).then(|| base64url::encode(sha256(text.as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_id_has_a_digest_and_one_at_the_limit_has_none() {
        let id = |length: usize| -> SpiffeId {
            let id = "spiffe://prod.example.org/";
            format!("{id}{}", "a".repeat(length - id.len())).parse().unwrap()
        };
        assert_eq!(id(SpiffeId::MAX_PLAIN_SUBJECT).subject_digest(), None);
        assert_eq!(id(SpiffeId::MAX_PLAIN_SUBJECT + 1).subject_digest().unwrap().len(), 43);
    }
}
