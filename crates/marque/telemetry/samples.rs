//! Reading the Prometheus text format, as far as this daemon writes it: names, labels, values, kinds.
//!
//! The live view, the exporter and the reader of an inventory's numbers read it; none of them believes more of it than
//! numbers. Deliberately absent: timestamps, exemplars, and anything that is not in the format's version 0.0.4.

use std::collections::BTreeMap;

/// One line: a number and what it is of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

impl Sample {
    /// What a label says; empty where it is absent.
    pub(crate) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map(String::as_str).unwrap_or_default()
    }
}

/// A value as the count that it is.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count, and what is none becomes the nearest"
)]
pub(crate) fn whole(value: f64) -> u64 {
    value as u64
}

/// Every line of a text that is a sample; what does not read is left out.
pub(crate) fn read(text: &str) -> Vec<Sample> {
    text.lines().filter_map(sample).collect()
}

/// The kinds that the text declares, by name.
pub(crate) fn kinds(text: &str) -> BTreeMap<&str, &str> {
    let told = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    told.collect()
}

/// One line; `None` for comments, and for what is no sample.
pub(crate) fn sample(line: &str) -> Option<Sample> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let end = line.find(|letter: char| letter == '{' || letter.is_whitespace())?;
    let (name, rest) = line.split_at_checked(end)?;
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    let mut words = rest.split_whitespace();
    let value = words.next()?.parse().ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_:".contains(&byte);
    let named = !name.is_empty() && name.bytes().all(plain);
    (named && words.next().is_none()).then(|| Sample { name: name.to_owned(), labels, value })
}

/// `name="value",…}` and what follows.
fn labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, after) = rest.split_once("=\"")?;
        let (value, after) = quoted(after)?;
        labels.insert(name.to_owned(), value);
        rest = after;
    }
}

/// A value up to its closing quote, with `\\`, `\"` and `\n` read.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => value.push(match letters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_as_name_labels_and_number() {
        let read = sample(r#"marque_x_total{code="a\"b",class="{,}"} 12"#).unwrap();
        assert_eq!((read.name.as_str(), read.value), ("marque_x_total", 12.0));
        assert_eq!(
            (read.label("code"), read.label("class"), read.label("no")),
            ("a\"b", "{,}", "")
        );
        assert_eq!(sample("up 1").unwrap().value, 1.0);
        assert_eq!(sample("up +Inf").unwrap().value, f64::INFINITY);
    }

    #[test]
    fn what_is_no_sample_is_left_out() {
        for line in ["", "# HELP a b", "a", "a b", "a{b=\"c} 1", "a{b} 1", "a 1 2 3", "ä 1", "{} 1"]
        {
            assert_eq!(sample(line), None, "{line}");
        }
        assert_eq!(
            kinds("# TYPE a counter\n# TYPE b gauge\na 1"),
            [("a", "counter"), ("b", "gauge")].into()
        );
    }
}
