//! The two shapes of SubjectPublicKeyInfo that are supported, read strictly as DER, and written.

use super::{Curve, KeyError};

/// What the info holds.
pub(super) enum Parts<'a> {
    Point(Curve, &'a [u8]),
    Rsa { modulus: &'a [u8], exponent: &'a [u8] },
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;

// The content of AlgorithmIdentifier: 1.2.840.10045.2.1 with its named curve, 1.2.840.113549.1.1.1 with NULL.
const EC_P256: &[u8] =
    b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
const EC_P384: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22";
const RSA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";

pub(super) fn read(der: &[u8]) -> Result<Parts<'_>, KeyError> {
    let mut outer = Reader(der);
    let mut info = Reader(outer.value(SEQUENCE)?);
    outer.end()?;
    let algorithm = info.value(SEQUENCE)?;
    let bits = info.value(BIT_STRING)?;
    info.end()?;
    let Some((0, key)) = bits.split_first().map(|(unused, key)| (*unused, key)) else {
        return Err(KeyError::Der);
    };
    match algorithm {
        EC_P256 => Ok(Parts::Point(Curve::P256, key)),
        EC_P384 => Ok(Parts::Point(Curve::P384, key)),
        RSA => rsa_numbers(key).map(|(modulus, exponent)| Parts::Rsa { modulus, exponent }),
        _ => Err(KeyError::Unsupported { kind: "of the certificate".to_owned() }),
    }
}

/// Modulus and exponent of an `RSAPublicKey` (RFC 8017 appendix A.1.1).
pub(super) fn rsa_numbers(der: &[u8]) -> Result<(&[u8], &[u8]), KeyError> {
    let mut outer = Reader(der);
    let mut numbers = Reader(outer.value(SEQUENCE)?);
    outer.end()?;
    let (modulus, exponent) = (numbers.unsigned()?, numbers.unsigned()?);
    numbers.end()?;
    Ok((modulus, exponent))
}

/// The info of a point on a curve, uncompressed.
pub(super) fn of_point(curve: Curve, point: &[u8]) -> Vec<u8> {
    info(if curve == Curve::P256 { EC_P256 } else { EC_P384 }, point)
}

/// The info of an RSA key, whose numbers have no leading zeros.
pub(super) fn of_rsa(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let numbers = [integer(modulus), integer(exponent)].concat();
    info(RSA, &value(SEQUENCE, &numbers))
}

fn info(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    let bits = [&[0], key].concat();
    value(SEQUENCE, &[value(SEQUENCE, algorithm), value(BIT_STRING, &bits)].concat())
}

fn integer(number: &[u8]) -> Vec<u8> {
    let is_negative = number.first().is_some_and(|byte| *byte >= 0x80);
    let sign: &[u8] = if is_negative { &[0] } else { &[] };
    value(INTEGER, &[sign, number].concat())
}

/// A value of less than 64 KiB, which any key here is.
fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap_or(u16::MAX);
    let [high, low] = length.to_be_bytes();
    let header: &[u8] = match length {
        0..=0x7f => &[tag, low],
        0x80..=0xff => &[tag, 0x81, low],
        _ => &[tag, 0x82, high, low],
    };
    [header, content].concat()
}

/// The rest of some DER.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The content of the next value, which has this tag and a minimal definite length below 64 KiB.
    fn value(&mut self, tag: u8) -> Result<&'a [u8], KeyError> {
        let (length, rest) = match self.0 {
            [found, length @ 0..=0x7f, rest @ ..] if *found == tag => (usize::from(*length), rest),
            [found, 0x81, length @ 0x80..=0xff, rest @ ..] if *found == tag => {
                (usize::from(*length), rest)
            }
            [found, 0x82, high @ 1..=0xff, low, rest @ ..] if *found == tag => {
                (usize::from(u16::from_be_bytes([*high, *low])), rest)
            }
            _ => return Err(KeyError::Der),
        };
        let (content, rest) = rest.split_at_checked(length).ok_or(KeyError::Der)?;
        self.0 = rest;
        Ok(content)
    }

    /// A positive INTEGER without its sign byte.
    fn unsigned(&mut self) -> Result<&'a [u8], KeyError> {
        match self.value(INTEGER)? {
            [0, rest @ ..] if rest.first().is_some_and(|byte| *byte >= 0x80) => Ok(rest),
            number @ [1..=0x7f, ..] => Ok(number),
            _ => Err(KeyError::Der),
        }
    }

    fn end(self) -> Result<(), KeyError> {
        if self.0.is_empty() { Ok(()) } else { Err(KeyError::Der) }
    }
}
