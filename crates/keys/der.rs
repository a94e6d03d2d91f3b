//! The few shapes of DER that keys and signatures are converted to.

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;

/// The `Ecdsa-Sig-Value` (RFC 3279 section 2.2.3) of `r || s`, both halves of the same length.
pub(crate) fn ecdsa_signature(fixed: &[u8]) -> Vec<u8> {
    let (r, s) = fixed.split_at(fixed.len() / 2);
    pair(r, s)
}

/// The `RSAPublicKey` (RFC 8017 appendix A.1.1) of a modulus and an exponent, big-endian.
pub(crate) fn rsa_public_key(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    pair(modulus, exponent)
}

/// The content of an octet string that is all there is; `None` for anything else.
pub(crate) fn octet_string(der: &[u8]) -> Option<&[u8]> {
    match der {
        [OCTET_STRING, length @ 0..=0x7f, content @ ..]
            if content.len() == usize::from(*length) =>
        {
            Some(content)
        }
        _ => None,
    }
}

fn pair(first: &[u8], second: &[u8]) -> Vec<u8> {
    value(SEQUENCE, &[unsigned(first), unsigned(second)].concat())
}

/// A positive INTEGER: without leading zeros, but for the one that keeps the sign.
fn unsigned(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let digits = number.get(zeros..).unwrap_or_default();
    let mut content = Vec::with_capacity(digits.len() + 1);
    if digits.first().is_none_or(|byte| *byte >= 0x80) {
        content.push(0);
    }
    content.extend_from_slice(digits);
    value(INTEGER, &content)
}

fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut der = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short @ ..=0x7f) => der.push(short),
        Ok(long) => der.extend([0x81, long]),
        Err(_longer) => {
            der.push(0x82);
            der.extend(u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    der.extend_from_slice(content);
    der
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_has_the_shortest_positive_numbers() {
        assert_eq!(ecdsa_signature(&[0, 1, 0x80, 0]), [0x30, 8, 2, 1, 1, 2, 3, 0, 0x80, 0]);
        assert_eq!(ecdsa_signature(&[0, 0, 0x7f, 0xff]), [0x30, 7, 2, 1, 0, 2, 2, 0x7f, 0xff]);
    }

    #[test]
    fn long_values_have_long_lengths() {
        let key = rsa_public_key(&[0xff; 256], &[1, 0, 1]);
        assert_eq!(key.len(), 270);
        assert!(key.starts_with(b"\x30\x82\x01\x0a\x02\x82\x01\x01\x00\xff"));
        assert!(key.ends_with(b"\x02\x03\x01\x00\x01"));
        assert!(rsa_public_key(&[0x7f; 128], &[3]).starts_with(b"\x30\x81\x86\x02\x81\x80\x7f"));
    }

    #[test]
    fn an_octet_string_is_whole() {
        assert_eq!(octet_string(&[4, 2, 7, 8]), Some([7, 8].as_slice()));
        for der in [[].as_slice(), &[4], &[4, 2, 7], &[4, 1, 7, 8], &[5, 2, 7, 8], &[4, 0x80]] {
            assert_eq!(octet_string(der), None, "{der:?}");
        }
    }
}
