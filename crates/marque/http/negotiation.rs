//! Content negotiation (RFC 9110 §12.5.1), as far as an endpoint has two forms of one answer.
//!
//! Deliberately absent: a refusal. Whoever wants neither form gets the usual one, as if nothing had been said of it.

use axum::http::{HeaderMap, header};

/// The weight of `q=1`, in thousandths.
const FULL: u16 = 1000;
/// How many media ranges of all `Accept` headers are looked at.
const MAX_RANGES: usize = 32;

/// Whether the caller prefers `special` to `usual`. It has to be named as such, and weighted no less than anything that
/// stands for the usual form; where both weigh the same, the usual form stays.
pub(super) fn prefers(headers: &HeaderMap, special: &str, usual: &str) -> bool {
    let mut wanted = None;
    // The most specific range counts, whatever its weight.
    let mut usual_by_specificity = [None; 3];
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for (range, weight) in
        values.flat_map(|value| value.split(',')).take(MAX_RANGES).filter_map(parsed)
    {
        if range.eq_ignore_ascii_case(special) {
            wanted = wanted.max(Some(weight));
        }
        let kind = usual.split('/').next().unwrap_or_default();
        let place = if range.eq_ignore_ascii_case(usual) {
            0
        } else if range.strip_suffix("/*").is_some_and(|range| range.eq_ignore_ascii_case(kind)) {
            1
        } else if range == "*/*" {
            2
        } else {
            continue;
        };
        if let Some(known) = usual_by_specificity.get_mut(place) {
            *known = (*known).max(Some(weight));
        }
    }
    let usual = usual_by_specificity.into_iter().flatten().next().unwrap_or(0);
    wanted.is_some_and(|wanted| wanted > usual)
}

/// A media range without its parameters, and its weight. A range whose weight cannot be read says nothing.
fn parsed(element: &str) -> Option<(&str, u16)> {
    let mut parts = element.split(';').map(str::trim);
    let range = parts.next().filter(|range| !range.is_empty())?;
    let mut weights = parts.filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    match weights.next() {
        None => Some((range, FULL)),
        Some(weight) => Some((range, thousandths(weight)?)),
    }
}

/// `0`, `1`, or either with up to three decimals; nothing above 1 (RFC 9110 §12.4.2).
fn thousandths(weight: &str) -> Option<u16> {
    let (whole, decimals) = weight.split_once('.').unwrap_or((weight, ""));
    if !matches!(whole, "0" | "1")
        || decimals.len() > 3
        || !decimals.bytes().all(|byte| byte.is_ascii_digit())
    {
        return None;
    }
    let fraction: u16 = format!("{decimals:0<3}").parse().ok()?;
    let weight = if whole == "1" { FULL } else { 0 } + fraction;
    (weight <= FULL).then_some(weight)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn jwt(values: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::ACCEPT, HeaderValue::from_str(value).unwrap());
        }
        prefers(&headers, "application/token-introspection+jwt", "application/json")
    }

    #[test]
    fn oauth_11_5_a_signed_answer_is_given_to_who_asks_for_it_by_name_and_prefers_it() {
        for (accept, expected) in [
            ("application/token-introspection+jwt", true),
            ("Application/Token-Introspection+JWT", true),
            ("application/token-introspection+jwt;q=0.001", true),
            ("application/token-introspection+jwt, */*;q=0.8", true),
            ("application/json;q=0.5, application/token-introspection+jwt", true),
            ("application/json;q=0, application/token-introspection+jwt;q=0.1", true),
            ("application/json;q=0.1, */*, application/token-introspection+jwt;q=0.5", true),
            ("text/html, application/token-introspection+jwt ; q=0.5 , */* ; q=0.1", true),
            // A tie, a lesser weight, another name, a weight that is none.
            ("application/json, application/token-introspection+jwt", false),
            ("application/token-introspection+jwt, */*", false),
            ("application/token-introspection+jwt;q=0.4, application/json;q=0.5", false),
            ("application/token-introspection+jwt;q=0", false),
            ("application/token-introspection+jwt;q=0.000", false),
            ("application/token-introspection+jwt;q=2", false),
            ("application/token-introspection+jwt;q=1.001", false),
            ("application/token-introspection+jwt;q=-1", false),
            ("application/token-introspection+jwt;q=0.1234", false),
            ("application/token-introspection+jwt;q=x", false),
            ("application/jwt", false),
            ("application/*", false),
            ("*/*", false),
            ("application/json", false),
            ("text/html", false),
            (";;,,q=1", false),
            ("", false),
        ] {
            assert_eq!(jwt(&[accept]), expected, "{accept:?}");
        }
        assert!(!jwt(&[]));
        assert!(jwt(&["text/html", "application/token-introspection+jwt"]));
        let behind_many = "a/b,".repeat(MAX_RANGES) + "application/token-introspection+jwt";
        assert!(!jwt(&[&behind_many]));
    }
}
