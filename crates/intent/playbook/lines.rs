//! Where in the file a field stands, for messages.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The line of every field.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    text: &'a str,
    table: Spanned<DeTable<'a>>,
}

impl<'a> Lines<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, toml::de::Error> {
        DeTable::parse(text).map(|table| Self { text, table })
    }

    /// The line of a field by its path, such as `permits.0.scopes`; if there is none, of the nearest table around it.
    pub(crate) fn of(&self, path: &str) -> Option<usize> {
        let mut names = path.split('.').peekable();
        let mut table = self.table.get_ref();
        let mut at = None;
        while let Some(name) = names.next() {
            let Some((key, found)) = table.get_key_value(name) else { break };
            at = Some(key.span().start);
            let mut value = found;
            while let (DeValue::Array(items), Some(index)) =
                (value.get_ref(), names.peek().and_then(|name| name.parse::<usize>().ok()))
            {
                let Some(item) = items.get(index) else { break };
                names.next();
                at = Some(item.span().start);
                value = item;
            }
            match value.get_ref() {
                DeValue::Table(inner) => table = inner,
                _ => break,
            }
        }
        at.map(|offset| line_at(self.text, offset))
    }

    /// Every path that there is, with array positions as numbers.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        walk_table(self.table.get_ref(), "", &mut paths);
        paths
    }
}

/// The line, from 1, of a position in bytes.
pub(crate) fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

fn walk_table(table: &DeTable<'_>, prefix: &str, paths: &mut Vec<String>) {
    for (key, value) in table {
        let path = format!("{prefix}{}", key.get_ref());
        walk_value(value.get_ref(), &path, paths);
        paths.push(path);
    }
}

fn walk_value(value: &DeValue<'_>, path: &str, paths: &mut Vec<String>) {
    match value {
        DeValue::Table(table) => walk_table(table, &format!("{path}."), paths),
        DeValue::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk_value(item.get_ref(), &format!("{path}.{index}"), paths);
            }
        }
        _ => {}
    }
}
