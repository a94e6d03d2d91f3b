//! How the story is told: one line a step for people, one JSON object a step for programs.

use std::io::Write;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use serde::Serialize;
use serde_json::Value;

use crate::cli::OutputFormat;

const HEADING: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const FAINT: Style = Style::new().dimmed();

/// Tells the steps as they happen.
#[derive(Debug)]
pub(super) struct Report {
    format: OutputFormat,
    act: &'static str,
    steps: usize,
    failed: usize,
}

/// What is known of a step before it runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// The act it belongs to; a heading in the text form.
    pub(super) act: &'static str,
    /// Its stable name.
    pub(super) name: &'static str,
    /// What a person reads.
    pub(super) says: &'static str,
}

#[derive(Serialize)]
struct Line<'a> {
    step: &'a str,
    ok: bool,
    ms: f64,
    detail: &'a Value,
}

impl Report {
    pub(super) fn new(format: OutputFormat) -> Self {
        Self { format, act: "", steps: 0, failed: 0 }
    }

    /// Tells one finished step.
    pub(super) fn tell(
        &mut self,
        step: Step,
        result: &anyhow::Result<Value>,
        took: Duration,
    ) -> std::io::Result<()> {
        self.steps += 1;
        let ok = result.is_ok();
        self.failed += usize::from(!ok);
        let detail = match result {
            Ok(detail) => detail.clone(),
            Err(error) => serde_json::json!({ "error": format!("{error:#}") }),
        };
        let ms = (took.as_secs_f64() * 1_000_000.0).round() / 1_000.0;
        let mut out = anstream::stdout().lock();
        match self.format {
            OutputFormat::Json => {
                let line = Line { step: step.name, ok, ms, detail: &detail };
                writeln!(out, "{}", serde_json::to_string(&line).map_err(std::io::Error::other)?)
            }
            OutputFormat::Text => {
                if self.act != step.act {
                    self.act = step.act;
                    writeln!(out, "\n{HEADING}{}{HEADING:#}", step.act)?;
                }
                let (mark, style) = if ok { ("✓", GOOD) } else { ("✗", BAD) };
                writeln!(
                    out,
                    "  {style}{mark}{style:#} {:<74}{FAINT}{ms:>9.1} ms{FAINT:#}",
                    step.says
                )?;
                let told = summary(&detail);
                if told.is_empty() { Ok(()) } else { writeln!(out, "    {FAINT}{told}{FAINT:#}") }
            }
        }?;
        out.flush()
    }

    /// The last line, and whether every step did what it should.
    pub(super) fn close(&self) -> std::io::Result<bool> {
        if self.format == OutputFormat::Text {
            let mut out = anstream::stdout().lock();
            if self.failed == 0 {
                writeln!(out, "\n{GOOD}All {} steps did what they should.{GOOD:#}", self.steps)?;
                writeln!(
                    out,
                    "{FAINT}Next: `marque dev --help`, and README.md for your own agent.{FAINT:#}"
                )?;
            } else {
                writeln!(out, "\n{BAD}{} of {} steps failed.{BAD:#}", self.failed, self.steps)?;
            }
            out.flush()?;
        }
        Ok(self.failed == 0)
    }
}

/// The scalar members of a step's detail, in one line.
fn summary(detail: &Value) -> String {
    let Some(members) = detail.as_object() else { return String::new() };
    let told: Vec<String> = members
        .iter()
        .filter_map(|(name, value)| match value {
            Value::String(text) => Some(format!("{name}: {text}")),
            Value::Number(number) => Some(format!("{name}: {number}")),
            Value::Bool(flag) => Some(format!("{name}: {flag}")),
            Value::Array(_) | Value::Object(_) | Value::Null => None,
        })
        .collect();
    told.join(" · ")
}
