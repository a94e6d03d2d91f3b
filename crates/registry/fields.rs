//! Reads a TOML table field by field and keeps going after a mistake, so that one run names all of
//! them with their lines. A field that nobody asked for is a finding: a misspelt security setting
//! is never silently ignored.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::finding::{Finding, FindingCode};

/// What is wrong in one file so far.
#[derive(Debug)]
pub(crate) struct Log<'a> {
    file: &'a Path,
    text: &'a str,
    /// Where lines end; found once, because every field of a large file asks for its line.
    newlines: Vec<usize>,
    findings: Vec<Finding>,
}

/// A table whose fields are taken one by one.
#[derive(Debug)]
pub(crate) struct Fields<'t, 'i> {
    table: &'t DeTable<'i>,
    /// How findings call the table: empty at the top, else `[name]`.
    name: String,
    line: usize,
    asked: BTreeSet<&'static str>,
    /// Fields that are there or not, as far as somebody looked; with those asked for, all that are known.
    looked_for: RefCell<BTreeSet<&'static str>>,
}

/// A value and the line it stands on.
#[derive(Debug, Clone)]
pub(crate) struct Lined<T> {
    pub(crate) value: T,
    pub(crate) line: usize,
}

impl<'a> Log<'a> {
    pub(crate) fn new(file: &'a Path, text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let newlines = ends.map(|(at, _)| at).collect();
        Self { file, text, newlines, findings: Vec::new() }
    }

    pub(crate) fn at(&mut self, line: usize, message: impl Into<String>) {
        self.findings.push(Finding::at(self.file, line, message));
    }

    /// A finding with a code of its own.
    pub(crate) fn coded(&mut self, code: FindingCode, line: usize, message: impl Into<String>) {
        self.findings.push(Finding::at(self.file, line, message).coded(code));
    }

    pub(crate) fn into_findings(self) -> Vec<Finding> {
        self.findings
    }

    /// The line, counted from 1, on which a byte of the file stands.
    fn line_of(&self, offset: usize) -> usize {
        1 + self.newlines.partition_point(|end| *end < offset)
    }
}

/// Parses a file. Every syntax error is a finding, and then there is nothing to read.
pub(crate) fn parse<'i>(log: &mut Log<'i>) -> Option<DeTable<'i>> {
    let (table, errors) = DeTable::parse_recoverable(log.text);
    for error in &errors {
        let line = error.span().map_or(1, |span| log.line_of(span.start));
        log.coded(FindingCode::TomlSyntax, line, error.message().trim());
    }
    errors.is_empty().then(|| table.into_inner())
}

impl<'t, 'i> Fields<'t, 'i> {
    pub(crate) fn top(table: &'t DeTable<'i>) -> Self {
        Self {
            table,
            name: String::new(),
            line: 1,
            asked: BTreeSet::new(),
            looked_for: RefCell::default(),
        }
    }

    /// The line on which the table begins.
    pub(crate) fn line(&self) -> usize {
        self.line
    }

    /// How findings call the table: `[name]`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether a field is there; that alone does not count as asking for it.
    pub(crate) fn has(&self, key: &'static str) -> bool {
        self.looked_for.borrow_mut().insert(key);
        self.table.contains_key(key)
    }

    /// Whether somebody asked for a field already, whether it is there or not.
    pub(crate) fn has_asked(&self, key: &str) -> bool {
        self.asked.contains(key)
    }

    /// A text field that must be there.
    pub(crate) fn text<T>(&mut self, key: &'static str, log: &mut Log<'_>) -> Option<T>
    where
        T: FromStr<Err: Display>,
    {
        self.lined_text(key, log).map(|field| field.value)
    }

    /// A text field that must be there, with its line.
    pub(crate) fn lined_text<T>(&mut self, key: &'static str, log: &mut Log<'_>) -> Option<Lined<T>>
    where
        T: FromStr<Err: Display>,
    {
        match self.take(key) {
            Some(value) => self.parse_text(key, value, log),
            None => {
                self.missing(key, log);
                None
            }
        }
    }

    /// A text field that may be absent.
    pub(crate) fn optional_text<T>(&mut self, key: &'static str, log: &mut Log<'_>) -> Option<T>
    where
        T: FromStr<Err: Display>,
    {
        let value = self.take(key)?;
        self.parse_text(key, value, log).map(|field| field.value)
    }

    /// A list of texts; absent is empty.
    pub(crate) fn texts<T>(&mut self, key: &'static str, log: &mut Log<'_>) -> Vec<T>
    where
        T: FromStr<Err: Display>,
    {
        let Some(value) = self.take(key) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            self.mistyped(key, "a list of texts", value, log);
            return Vec::new();
        };
        let parsed = items.iter().filter_map(|item| self.parse_text(key, item, log));
        parsed.map(|field| field.value).collect()
    }

    /// A list of texts that must be there.
    pub(crate) fn required_texts<T>(&mut self, key: &'static str, log: &mut Log<'_>) -> Vec<T>
    where
        T: FromStr<Err: Display>,
    {
        if !self.table.contains_key(key) {
            self.missing(key, log);
        }
        self.texts(key, log)
    }

    /// A non-negative whole number that may be absent.
    pub(crate) fn optional_number(&mut self, key: &'static str, log: &mut Log<'_>) -> Option<u32> {
        let value = self.take(key)?;
        let integer = value.get_ref().as_integer();
        let number = integer.and_then(|i| u32::from_str_radix(i.as_str(), i.radix()).ok());
        if number.is_none() {
            self.mistyped(key, "a whole number from 0 to 4294967295", value, log);
        }
        number
    }

    /// A number that may be absent, with its line.
    pub(crate) fn optional_lined_number(
        &mut self,
        key: &'static str,
        log: &mut Log<'_>,
    ) -> Option<Lined<u32>> {
        let line = log.line_of(self.take(key)?.span().start);
        self.optional_number(key, log).map(|value| Lined { value, line })
    }

    /// `true` or `false`, with its line; may be absent.
    pub(crate) fn optional_switch(
        &mut self,
        key: &'static str,
        log: &mut Log<'_>,
    ) -> Option<Lined<bool>> {
        let value = self.take(key)?;
        let switch = value.get_ref().as_bool();
        if switch.is_none() {
            self.mistyped(key, "true or false", value, log);
        }
        let line = log.line_of(value.span().start);
        switch.map(|value| Lined { value, line })
    }

    /// A text field that may be absent, with its line.
    pub(crate) fn optional_lined_text<T>(
        &mut self,
        key: &'static str,
        log: &mut Log<'_>,
    ) -> Option<Lined<T>>
    where
        T: FromStr<Err: Display>,
    {
        let value = self.take(key)?;
        self.parse_text(key, value, log)
    }

    /// A table that may be absent.
    pub(crate) fn optional_table(&mut self, key: &'static str, log: &mut Log<'_>) -> Option<Self> {
        let value = self.take(key)?;
        let table = self.inner(key, value, log);
        if table.is_none() {
            self.mistyped(key, "a table", value, log);
        }
        table
    }

    /// A table that must be there.
    pub(crate) fn table(&mut self, key: &'static str, log: &mut Log<'_>) -> Option<Self> {
        let Some(value) = self.take(key) else {
            self.missing(key, log);
            return None;
        };
        let table = self.inner(key, value, log);
        if table.is_none() {
            self.mistyped(key, "a table", value, log);
        }
        table
    }

    /// A list of tables; absent is empty.
    pub(crate) fn tables(&mut self, key: &'static str, log: &mut Log<'_>) -> Vec<Self> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let items: Option<Vec<_>> = value
            .get_ref()
            .as_array()
            .and_then(|items| items.iter().map(|item| self.inner(key, item, log)).collect());
        items.unwrap_or_else(|| {
            self.mistyped(key, "a list of tables", value, log);
            Vec::new()
        })
    }

    /// Every field of a table whose keys are the writer's, each a text.
    pub(crate) fn all_texts<T>(self, log: &mut Log<'_>) -> BTreeMap<String, T>
    where
        T: FromStr<Err: Display>,
    {
        let fields = self.table.iter().filter_map(|(key, value)| {
            let name = bounded(key.get_ref());
            Some((key.get_ref().to_string(), self.parse_text(&name, value, log)?.value))
        });
        fields.collect()
    }

    /// Reports every field that was not asked for, with those that are.
    pub(crate) fn finish(self, log: &mut Log<'_>) {
        for key in self.table.keys().filter(|key| !self.asked.contains(key.get_ref().as_ref())) {
            let line = log.line_of(key.span().start);
            let looked_for = self.looked_for.borrow();
            let known: Vec<String> =
                self.asked.union(&looked_for).map(|key| format!("`{key}`")).collect();
            let message = format!(
                "unknown field `{}`{}, expected one of {}",
                bounded(key.get_ref()),
                self.place(),
                known.join(", ")
            );
            log.coded(FindingCode::FieldUnknown, line, message);
        }
    }

    fn take(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'i>>> {
        self.asked.insert(key);
        self.table.get(key)
    }

    fn parse_text<T>(
        &self,
        key: &str,
        value: &Spanned<DeValue<'i>>,
        log: &mut Log<'_>,
    ) -> Option<Lined<T>>
    where
        T: FromStr<Err: Display>,
    {
        let line = log.line_of(value.span().start);
        let Some(text) = value.get_ref().as_str() else {
            self.mistyped(key, "a text", value, log);
            return None;
        };
        match text.parse() {
            Ok(value) => Some(Lined { value, line }),
            Err(error) => {
                let text = bounded(text);
                let message = format!("`{key}`{}: `{text}`: {error}", self.place());
                log.coded(FindingCode::FieldValue, line, message);
                None
            }
        }
    }

    fn inner(
        &self,
        key: &'static str,
        value: &'t Spanned<DeValue<'i>>,
        log: &Log<'_>,
    ) -> Option<Self> {
        let name = format!("[{key}]");
        let line = log.line_of(value.span().start);
        let table = value.get_ref().as_table()?;
        Some(Self { table, name, line, asked: BTreeSet::new(), looked_for: RefCell::default() })
    }

    fn missing(&self, key: &'static str, log: &mut Log<'_>) {
        let code = match key {
            "owner" => FindingCode::OwnerMissing,
            _ => FindingCode::FieldMissing,
        };
        log.coded(code, self.line, format!("`{key}`{} is missing", self.place()));
    }

    fn mistyped(&self, key: &str, expected: &str, value: &Spanned<DeValue<'i>>, log: &mut Log<'_>) {
        let line = log.line_of(value.span().start);
        let message = format!("`{key}`{} must be {expected}", self.place());
        log.coded(FindingCode::FieldType, line, message);
    }

    fn place(&self) -> String {
        if self.name.is_empty() { String::new() } else { format!(" in {}", self.name) }
    }
}

/// At most 80 characters of what somebody wrote.
fn bounded(text: &str) -> String {
    text.chars().take(80).collect()
}
