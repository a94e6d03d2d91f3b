//! What a command writes: text for people or JSON for programs, and nothing that could drive a terminal.

use std::fmt::Write as _;
use std::io::{self, BufRead, IsTerminal, Write};

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::failure::Failure;

/// The form of everything a command writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    #[default]
    Text,
    /// For programs: a JSON document, or one JSON object a line where a command goes on.
    Json,
}

/// Where a command writes to, and where it asks.
pub(super) struct Output {
    format: OutputFormat,
    out: Box<dyn Write>,
}

impl Output {
    pub(super) fn stdout(format: OutputFormat) -> Self {
        Self { format, out: Box::new(anstream::stdout()) }
    }

    pub(super) fn format(&self) -> OutputFormat {
        self.format
    }

    /// Writes `value`: as a JSON document, or as `text` makes it readable.
    pub(super) fn show<T: Serialize>(
        &mut self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let written = match self.format {
            OutputFormat::Text => text(value),
            OutputFormat::Json => visible_json(&serde_json::to_string_pretty(value)?),
        };
        self.line(&written)
    }

    /// Writes one of many values: as one line of JSON, or as `text` makes it readable.
    pub(super) fn show_next<T: Serialize>(
        &mut self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let written = match self.format {
            OutputFormat::Text => text(value),
            OutputFormat::Json => visible_json(&serde_json::to_string(value)?),
        };
        self.line(&written)
    }

    /// Writes a remark for people; programs are spared it.
    pub(super) fn remark(&mut self, text: &str) -> Result<(), Failure> {
        match self.format {
            OutputFormat::Text => self.line(text),
            OutputFormat::Json => Ok(()),
        }
    }

    /// Writes what a person has to act on to standard error, whatever the form of the output.
    pub(super) fn ask(&mut self, text: &str) -> Result<(), Failure> {
        use std::io::Write as _;
        let told = anstream::stderr().lock().write_all(text.as_bytes());
        told.map_err(|error| Failure::because("nobody can be told", &error))
    }

    /// Asks on the terminal whether to go on; `question` ends without a question mark.
    pub(super) fn confirm(&mut self, question: &str) -> Result<bool, Failure> {
        if !io::stdin().is_terminal() {
            return Err(Failure::usage("there is no terminal to ask on")
                .next("pass --yes to do it without being asked"));
        }
        let mut ask = anstream::stderr();
        write!(ask, "{question}? [y/N] ")?;
        ask.flush()?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
    }

    fn line(&mut self, text: &str) -> Result<(), Failure> {
        writeln!(self.out, "{}", text.trim_end_matches('\n'))?;
        self.out.flush()?;
        Ok(())
    }
}

/// A table without lines around it, as wide as the terminal at most.
pub(super) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    for row in rows {
        table.add_row(row.map(|cell| visible(&cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Names and values, one pair a line, values aligned.
pub(super) fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let pairs: Vec<_> = pairs.into_iter().collect();
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    pairs.iter().fold(String::new(), |mut text, (name, value)| {
        let lines = visible_lines(value);
        let mut lines = lines.lines();
        put(&mut text, format_args!("{name:width$}  {}\n", lines.next().unwrap_or("")));
        for line in lines {
            put(&mut text, format_args!("{:width$}  {line}\n", ""));
        }
        text
    })
}

/// Appends to a string, which cannot fail.
pub(super) fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    // The only error would come from a `Display` of ours, and none of them fails.
    text.write_fmt(what).unwrap_or_default();
}

/// `text` on one line with every character written out that a terminal would not simply show: controls (escape
/// sequences begin with one), line ends, and what hides or reorders text.
pub(super) fn visible(text: &str) -> String {
    escape(text, |_| false)
}

/// Like [`visible`], keeping line ends.
pub(super) fn visible_lines(text: &str) -> String {
    escape(text, |character| character == '\n')
}

fn escape(text: &str, keep: impl Fn(char) -> bool) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, character| {
        if !keep(character) && is_hidden(character) {
            escaped.extend(character.escape_unicode());
        } else {
            escaped.push(character);
        }
        escaped
    })
}

/// JSON text in which a hidden character is written as an escape. Outside of strings JSON has no such character but
/// the line ends that make it pretty.
fn visible_json(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len()), |mut escaped, character| {
        if character != '\n' && is_hidden(character) {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                put(&mut escaped, format_args!("\\u{unit:04x}"));
            }
        } else {
            escaped.push(character);
        }
        escaped
    })
}

/// Controls, line and paragraph separators, zero-width and bidirectional characters, variation selectors and tags.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_or_hide_is_written_out() {
        assert_eq!(visible("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(visible("pay\u{202e}lla"), "pay\\u{202e}lla");
        assert_eq!(visible("two\nlines\u{200b}"), "two\\u{a}lines\\u{200b}");
        assert_eq!(visible_lines("two\nlines\r"), "two\nlines\\u{d}");
        assert_eq!(visible("Zürich 東京"), "Zürich 東京");
    }

    #[test]
    fn json_stays_the_same_document_when_it_is_made_visible() {
        let value = serde_json::json!({ "name": "a\u{9b}b\u{e0041}\u{202e}" });
        let text = visible_json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(text.is_ascii(), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }

    #[test]
    fn a_table_lines_up_and_has_no_trailing_blanks() {
        let rows = [["a".to_owned(), "1".to_owned()], ["long name".to_owned(), String::new()]];
        assert_eq!(table(["NAME", "USES"], rows), "NAME       USES\na          1\nlong name\n");
    }

    #[test]
    fn a_value_of_several_lines_stays_in_its_column() {
        let text = pairs([("id", "1".to_owned()), ("scopes", "a\nb".to_owned())]);
        assert_eq!(text, "id      1\nscopes  a\n        b\n");
    }
}
