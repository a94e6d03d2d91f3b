//! Base64url as JOSE wants it (RFC 7515 section 2): no padding, no line breaks, one spelling per value.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The text is not canonical, unpadded base64url.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not canonical unpadded base64url")]
pub struct Base64UrlError(#[source] base64::DecodeError);

/// Writes `bytes` as unpadded base64url.
#[must_use]
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads unpadded base64url.
///
/// # Errors
/// Padding, characters of the other alphabet, white space and non-zero trailing bits are refused, so that two different
/// texts never stand for the same bytes.
pub fn decode(text: impl AsRef<[u8]>) -> Result<Vec<u8>, Base64UrlError> {
    URL_SAFE_NO_PAD.decode(text).map_err(Base64UrlError)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{decode, encode};

    #[test]
    fn padding_white_space_the_other_alphabet_and_loose_bits_are_refused() {
        for text in ["TQ==", "TQ=", "TQ\n", " TQ", "+/+/", "TR", "T", "TWF\r\nu"] {
            assert!(decode(text).is_err(), "{text:?}");
        }
        assert_eq!(decode("TQ").unwrap(), b"M");
        assert_eq!(decode("").unwrap(), b"");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(bytes: Vec<u8>) {
            prop_assert_eq!(decode(encode(&bytes)).unwrap(), bytes);
        }

        #[test]
        fn what_reads_has_one_spelling(text in "[A-Za-z0-9_=-]{0,24}") {
            if let Ok(bytes) = decode(&text) {
                prop_assert_eq!(encode(bytes), text);
            }
        }
    }
}
