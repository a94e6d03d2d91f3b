//! Why a command did not do what it was asked to, and what to do next.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::output::{OutputFormat, visible};

const BAD: Style = AnsiColor::Red.on_default().bold();
const WARN: Style = AnsiColor::Yellow.on_default().bold();
const NEXT: Style = Style::new().bold();

/// Ends a command: what failed, the stable code if the daemon gave one, and the next step for whoever reads it.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    exit: Exit,
    message: String,
    code: Option<String>,
    next: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    /// Refused, or it failed: 1.
    Failed,
    /// The command line cannot be carried out as it stands: 2.
    Usage,
    /// A person has to decide first: 3.
    Waits,
    /// Whoever reads our output has heard enough, as `head` does: 0.
    Unheard,
}

#[derive(Serialize)]
struct Report<'a> {
    error: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<&'a str>,
}

impl Failure {
    /// The command was refused, or it failed.
    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, message: message.into(), code: None, next: None }
    }

    /// The command line cannot be carried out as it stands.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, ..Self::failed(message) }
    }

    /// Nothing is wrong, and nothing can be done before a person decided.
    pub(super) fn waiting(message: impl Into<String>) -> Self {
        Self { exit: Exit::Waits, ..Self::failed(message) }
    }

    /// The same failure as one that a person can end by deciding.
    pub(super) fn waits(self) -> Self {
        Self { exit: Exit::Waits, ..self }
    }

    /// `what` failed because of `error`, with everything that led to it.
    pub(super) fn because(what: impl Into<String>, error: &dyn Error) -> Self {
        let mut message = what.into();
        let mut cause = Some(error);
        while let Some(error) = cause {
            message.push_str(": ");
            message.push_str(&error.to_string());
            cause = error.source();
        }
        Self::failed(message)
    }

    /// Whether it is the refusal with this code.
    pub(super) fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// Names the trust domain that it happened in.
    pub(super) fn within(self, trust_domain: &str) -> Self {
        Self { message: format!("{trust_domain}: {}", self.message), ..self }
    }

    /// The same failure as the user's to repair: `message` before what happened, and what to do instead.
    pub(super) fn or_usage(self, message: &str, next: &str) -> Self {
        let message = format!("{message} ({})", self.message);
        Self { exit: Exit::Usage, message, ..self }.next(next)
    }

    /// Says what to do next.
    pub(super) fn next(self, next: impl Into<String>) -> Self {
        Self { next: Some(next.into()), ..self }
    }

    /// Names the stable code of a refusal.
    pub(super) fn code(self, code: Option<String>) -> Self {
        Self { code, ..self }
    }

    /// Tells it on standard error and gives the exit code: 1 refused or failed, 2 usage, 3 waits for a person.
    pub(super) fn report(&self, format: OutputFormat) -> ExitCode {
        let mut err = anstream::stderr().lock();
        let told = match self.exit {
            Exit::Unheard => return ExitCode::SUCCESS,
            Exit::Failed | Exit::Usage | Exit::Waits => writeln!(err, "{}", self.render(format)),
        };
        drop(told); // With standard error closed nobody can be told; the exit code still says it.
        match self.exit {
            Exit::Usage => ExitCode::from(2),
            Exit::Waits => ExitCode::from(3),
            Exit::Failed | Exit::Unheard => ExitCode::FAILURE,
        }
    }

    /// Tells it on standard error as something that the command goes on after; `then` says how.
    pub(super) fn warn(&self, then: &str) {
        let Self { exit: _, message, code, next: _ } = self;
        let code = code.as_ref().map_or_else(String::new, |code| format!(" (code `{code}`)"));
        let line = visible(&format!("{message}{code}; {then}"));
        // With standard error closed nobody can be told.
        drop(writeln!(anstream::stderr(), "{WARN}warning{WARN:#}: {line}"));
    }

    fn render(&self, format: OutputFormat) -> String {
        let Self { exit: _, message, code, next } = self;
        let (message, next) = (visible(message), next.as_deref().map(visible));
        if format == OutputFormat::Json {
            let report = Report { error: &message, code: code.as_deref(), next: next.as_deref() };
            return serde_json::to_string(&report).unwrap_or(message);
        }
        let mut text = format!("{BAD}error{BAD:#}: {message}");
        if let Some(code) = code {
            text.push_str(&format!(" (code `{}`)", visible(code)));
        }
        if let Some(next) = next {
            text.push_str(&format!("\n{NEXT}next{NEXT:#}:  {next}"));
        }
        text
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let failure = Self::because("cannot write the output", &error);
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self { exit: Exit::Unheard, ..failure },
            _ => failure,
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::because("cannot write the output as JSON", &error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_failed_and_what_to_do_next() {
        let source = io::Error::other("no \u{1b}such file");
        let failure = Failure::because("cannot read `a`", &source).next("look elsewhere");
        let text = anstream::adapter::strip_str(&failure.render(OutputFormat::Text)).to_string();
        assert_eq!(text, "error: cannot read `a`: no \\u{1b}such file\nnext:  look elsewhere");
    }

    #[test]
    fn a_program_gets_the_failure_as_an_object() {
        let failure = Failure::failed("refused").code(Some("self_approval_forbidden".to_owned()));
        assert_eq!(
            failure.render(OutputFormat::Json),
            r#"{"error":"refused","code":"self_approval_forbidden"}"#
        );
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let gone = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(gone.report(OutputFormat::Text), ExitCode::SUCCESS);
        assert_eq!(Failure::usage("x").report(OutputFormat::Json), ExitCode::from(2));
        assert_eq!(Failure::waiting("x").report(OutputFormat::Json), ExitCode::from(3));
    }
}
