//! `application/x-www-form-urlencoded` bodies, read strictly (RFC 6749 §3.2 and appendix B).
//!
//! Limits are checked before anything is decoded, percent-encoding and UTF-8 must be exact, and a name may appear once
//! unless the caller says otherwise. Deliberately absent: lossy decoding, query strings, and every notion of what a
//! parameter means.

use std::borrow::Cow;

use zeroize::Zeroizing;

/// The largest form body that is read, in bytes.
pub const MAX_FORM_BYTES: usize = 64 * 1024;
/// The most fields that a form may have.
pub const MAX_FORM_FIELDS: usize = 64;
/// The longest name of a field, in bytes.
pub const MAX_FORM_NAME_BYTES: usize = 128;
/// The longest value of a field, in bytes: as long as the longest token.
pub const MAX_FORM_VALUE_BYTES: usize = marque_jose::MAX_TOKEN_BYTES;

/// A decoded form: fields in the order sent. What needs no decoding is borrowed from the body; values that were decoded are
/// wiped when it is dropped, and its `Debug` shows names only by count, since any value may be a credential.
pub(crate) struct Form<'a> {
    fields: Vec<(Cow<'a, str>, Value<'a>)>,
}

/// A value, as it stands in the body or decoded from it.
enum Value<'a> {
    Plain(&'a str),
    Decoded(Zeroizing<String>),
}

/// Why a form was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FormError {
    /// More than [`MAX_FORM_BYTES`].
    #[error("the form is too large")]
    TooLarge,
    /// More than [`MAX_FORM_FIELDS`].
    #[error("the form has too many fields")]
    TooManyFields,
    /// A name of more than [`MAX_FORM_NAME_BYTES`] or a value of more than [`MAX_FORM_VALUE_BYTES`].
    #[error("a field of the form is too large")]
    FieldTooLarge,
    /// A raw byte that a form never carries unencoded, a broken percent escape or text that is not UTF-8.
    #[error("the form is not properly encoded")]
    Encoding,
    /// A parameter that may appear once appeared again.
    #[error("a parameter is repeated")]
    Repeated,
}

impl<'a> Form<'a> {
    /// Decodes a body. `repeatable` names the parameters that may appear more than once.
    pub(crate) fn parse(body: &'a [u8], repeatable: &[&str]) -> Result<Self, FormError> {
        if body.len() > MAX_FORM_BYTES {
            return Err(FormError::TooLarge);
        }
        let body = plain_text(body)?;
        let mut fields: Vec<(Cow<'a, str>, Value<'a>)> = Vec::new();
        for (at, field) in body.split('&').enumerate() {
            if at == MAX_FORM_FIELDS {
                return Err(FormError::TooManyFields);
            }
            if field.is_empty() {
                continue;
            }
            let (name, value) = field.split_once('=').unwrap_or((field, ""));
            let name = match Value::decode(name, MAX_FORM_NAME_BYTES)? {
                Value::Plain(name) => Cow::Borrowed(name),
                Value::Decoded(name) => Cow::Owned(name.to_string()),
            };
            let value = Value::decode(value, MAX_FORM_VALUE_BYTES)?;
            let again = fields.iter().any(|(known, _)| *known == name);
            if again && !repeatable.contains(&&*name) {
                return Err(FormError::Repeated);
            }
            fields.push((name, value));
        }
        Ok(Self { fields })
    }

    /// The value of a parameter that appears at most once.
    pub(crate) fn value(&self, name: &'static str) -> Option<&str> {
        self.values(name).next()
    }

    /// All values of a parameter, in the order sent.
    pub(crate) fn values(&self, name: &'static str) -> impl Iterator<Item = &str> {
        let named = self.fields.iter().filter(move |(known, _)| known == name);
        // RFC 6749 §3.2: a parameter without a value is one that was not sent.
        named.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

impl std::fmt::Debug for Form<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Form").field("fields", &self.fields.len()).finish_non_exhaustive()
    }
}

impl<'a> Value<'a> {
    /// Of a text that [`plain_text`] passed.
    fn decode(encoded: &'a str, most: usize) -> Result<Self, FormError> {
        if is_literal(encoded.as_bytes()) {
            let fits = encoded.len() <= most;
            return fits.then_some(Self::Plain(encoded)).ok_or(FormError::FieldTooLarge);
        }
        // Never less than needed, so that it never grows and leaves a copy behind.
        let mut decoded = Zeroizing::new(Vec::with_capacity(encoded.len()));
        let mut rest = encoded.as_bytes();
        while let Some(at) = rest.iter().position(|byte| matches!(byte, b'+' | b'%')) {
            let (run, escaped) = rest.split_at(at);
            decoded.extend_from_slice(run);
            rest = match escaped {
                [b'%', high, low, rest @ ..] => {
                    let digit = |byte: &u8| hex_digit(*byte).ok_or(FormError::Encoding);
                    decoded.push(digit(high)? << 4 | digit(low)?);
                    rest
                }
                [b'+', rest @ ..] => {
                    decoded.push(b' ');
                    rest
                }
                _ => return Err(FormError::Encoding),
            };
        }
        decoded.extend_from_slice(rest);
        if decoded.len() > most {
            return Err(FormError::FieldTooLarge);
        }
        // Copied rather than converted in place, so that a failed conversion leaves no unwiped bytes behind.
        match std::str::from_utf8(&decoded) {
            Ok(text) => Ok(Self::Decoded(Zeroizing::new(text.to_owned()))),
            Err(_not_utf8) => Err(FormError::Encoding),
        }
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Plain(text) => text,
            Self::Decoded(text) => text,
        }
    }
}

/// The body as text, if all of its bytes are such as a form carries.
fn plain_text(body: &[u8]) -> Result<&str, FormError> {
    // Without an early exit, which lets many bytes be looked at in a step.
    let plain = body.iter().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~'));
    if !plain {
        return Err(FormError::Encoding);
    }
    std::str::from_utf8(body).map_err(|_not_utf8| FormError::Encoding)
}

/// Whether a text stands for itself.
fn is_literal(text: &[u8]) -> bool {
    text.iter().fold(true, |literal, byte| literal & (*byte != b'+') & (*byte != b'%'))
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(body: &[u8]) -> Result<Form<'_>, FormError> {
        Form::parse(body, &["audience", "resource"])
    }

    #[test]
    fn values_are_decoded_and_kept_in_order() {
        let form = parse(b"a=1+2&audience=x&audience=%C3%A9&b=%3d%26").unwrap();
        assert_eq!(form.value("a"), Some("1 2"));
        assert_eq!(form.values("audience").collect::<Vec<_>>(), ["x", "é"]);
        assert_eq!(form.value("b"), Some("=&"));
        assert_eq!(form.value("c"), None);
    }

    #[test]
    fn a_parameter_without_a_value_counts_as_not_sent() {
        let form = parse(b"scope=&grant_type&=x&&").unwrap();
        assert_eq!(form.value("scope"), None);
        assert_eq!(form.value("grant_type"), None);
    }

    #[test]
    fn broken_encoding_is_refused() {
        for body in [
            &b"a=%"[..],
            b"a=%4",
            b"a=%zz",
            b"a=%ff",
            b"a=%c3%28",
            b"a=\xc3\xa9",
            b"a=b\n",
            b"a\0=b",
            b"%=b",
        ] {
            assert_eq!(parse(body).unwrap_err(), FormError::Encoding, "{body:?}");
        }
    }

    #[test]
    fn repeated_parameters_are_refused_even_when_empty_or_unknown() {
        for body in [&b"scope=a&scope=b"[..], b"scope=&scope=b", b"x=1&x=1", b"scope=a&sc%6fpe=b"] {
            assert_eq!(parse(body).unwrap_err(), FormError::Repeated, "{body:?}");
        }
    }

    #[test]
    fn one_field_past_the_limit_is_refused() {
        let body =
            |count: usize| (0..count).map(|n| format!("f{n}=v")).collect::<Vec<_>>().join("&");
        assert!(parse(body(MAX_FORM_FIELDS).as_bytes()).is_ok());
        assert_eq!(
            parse(body(MAX_FORM_FIELDS + 1).as_bytes()).unwrap_err(),
            FormError::TooManyFields
        );
    }

    #[test]
    fn one_byte_past_the_limit_is_refused() {
        let field = |n: usize| format!("f{n}={}&", "x".repeat(16_000));
        let body = |length: usize| {
            let fields: String = (0..4).map(field).collect();
            format!("{fields}a={}", "x".repeat(length - fields.len() - 2))
        };
        assert!(parse(body(MAX_FORM_BYTES).as_bytes()).is_ok());
        assert_eq!(parse(body(MAX_FORM_BYTES + 1).as_bytes()).unwrap_err(), FormError::TooLarge);
    }

    #[test]
    fn one_byte_past_the_limit_of_a_field_is_refused_however_it_is_written() {
        for byte in ["x", "%78"] {
            let name = |length: usize| format!("{}=x", byte.repeat(length));
            let value = |length: usize| format!("a={}", byte.repeat(length));
            assert!(parse(name(MAX_FORM_NAME_BYTES).as_bytes()).is_ok());
            assert!(parse(value(MAX_FORM_VALUE_BYTES).as_bytes()).is_ok());
            for body in [name(MAX_FORM_NAME_BYTES + 1), value(MAX_FORM_VALUE_BYTES + 1)] {
                assert_eq!(parse(body.as_bytes()).unwrap_err(), FormError::FieldTooLarge);
            }
        }
    }

    #[test]
    fn the_debug_form_shows_no_value() {
        let form = parse(b"client_assertion=secret").unwrap();
        assert!(!format!("{form:?}").contains("secret"));
    }

    proptest! {
        #[test]
        fn what_a_serializer_writes_is_read_back(value in "\\PC{1,40}") {
            let body: String = form_urlencoded::Serializer::new(String::new()).append_pair("v", &value).finish();
            let form = parse(body.as_bytes()).unwrap();
            prop_assert_eq!(form.value("v"), Some(value.as_str()));
        }

        #[test]
        fn no_body_makes_the_parser_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(parse(&body));
        }
    }
}
