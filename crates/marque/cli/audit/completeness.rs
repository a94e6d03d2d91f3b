//! `marque audit completeness`: has everything that happened a record?

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use marque_audit::LogVerifier;
use marque_audit::completeness::{Compared, Completeness, Period};
use marque_spiffe::Clock as _;
use serde::Deserialize;

use super::super::Session;
use super::super::failure::Failure;
use super::super::output::{put, visible};
use super::KeySource;
use super::source::LogSource;
use super::verify::unsound;
use crate::clock::SystemClock;

/// The largest file of counts.
const MAX_COUNTERS_BYTES: u64 = 1024 * 1024;
const HEADER: &str = "emitter,count";
/// The same for counts of some time.
const HEADER_WITH_PERIOD: &str = "emitter,count,since,until";

#[derive(Debug, Args)]
#[command(after_help = "\
Compared are the tokens that the store keeps (until an hour after they ended) with the leaves that gave, used and revoked
them; the tree of these leaves is verified along. A file of counts, CSV with the header `emitter,count` or a JSON array
of {\"emitter\": …, \"count\": …}, says how many single uses an emitter saw: a gateway or a resource server, by its SPIFFE
ID. They are held against all leaves `token.used` that name it, from the log's first on. A count of some time says so with
two columns (members) more, `since` and `until`: instants, either of which may be empty (absent); `until` is no longer part
of it. Exit codes: 0 complete, 1 a mismatch, 2 usage.

Examples:
  marque audit completeness
  marque audit completeness --counters gateway.csv --output json")]
pub(super) struct CompletenessArgs {
    /// What an emitter counted; may be given more than once
    #[arg(long, value_name = "FILE")]
    counters: Vec<PathBuf>,
    /// The key that verifies checkpoints: a vkey, or a file with one [default: the daemon's own word]
    #[arg(long, value_name = "VKEY|FILE")]
    key: Option<KeySource>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Count {
    emitter: String,
    count: u64,
    #[serde(default)]
    since: Option<Timestamp>,
    #[serde(default)]
    until: Option<Timestamp>,
}

impl CompletenessArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let Self { counters, key } = self;
        let counts = counters.iter().map(|file| read(file)).collect::<Result<Vec<_>, _>>()?;
        let mut home = session.home().await?;
        // Before the store is asked, so that what happens meanwhile is no mismatch.
        let listed_at = home.admin.log_info().await?.size;
        let mut completeness = Completeness::new(listed_at, SystemClock.now());
        for Count { emitter, count, since, until } in counts.into_iter().flatten() {
            completeness.count(&emitter, Period { since, until }, count);
        }
        let mut after = String::new();
        loop {
            let page = home.admin.tokens_after(after).await?;
            let Some(last) = page.last() else { break };
            after = last.id.clone();
            page.into_iter().for_each(|token| completeness.keep(token));
        }
        let mut source = LogSource::open(session, None, key).await?;
        let verifier = LogVerifier::new(source.checkpoint(), source.key(), None);
        // What the leaves did is for `verify` to judge: here they have to be those which the checkpoint was signed for.
        let nothing = u64::MAX..=u64::MAX;
        let mut verifier = verifier.map_err(|error| unsound(&error))?.judging(nothing);
        source
            .each(|leaf| {
                verifier.push(leaf).map_err(|error| unsound(&error))?;
                completeness.record(leaf);
                Ok(false)
            })
            .await?;
        verifier.finish().map_err(|error| unsound(&error))?;
        let compared = completeness.finish();
        session.output.show(&compared, text)?;
        match compared.mismatches.first() {
            None => Ok(()),
            Some(first) => {
                let message = format!("{} mismatches", compared.mismatches.len());
                Err(Failure::failed(message).code(Some(first.kind().to_owned())))
            }
        }
    }
}

fn text(compared: &Compared) -> String {
    let Compared { leaves, tokens, emitters, mismatches } = compared;
    let sum = format!("{tokens} tokens and {emitters} emitters against {leaves} leaves");
    if mismatches.is_empty() {
        return format!("Everything has its record: {sum}");
    }
    let mut text = format!("Not everything fits: {sum}\n");
    for mismatch in mismatches {
        let message = visible(&mismatch.to_string());
        put(&mut text, format_args!("{:<26}  {message}\n", mismatch.kind()));
    }
    text
}

fn read(file: &Path) -> Result<Vec<Count>, Failure> {
    let read = || {
        let mut text = String::new();
        fs::File::open(file)?.take(MAX_COUNTERS_BYTES + 1).read_to_string(&mut text)?;
        Ok::<_, std::io::Error>(text)
    };
    let name = file.display();
    let text = read().map_err(|error| Failure::because(format!("cannot read `{name}`"), &error))?;
    if text.len() as u64 > MAX_COUNTERS_BYTES {
        return Err(Failure::usage(format!("`{name}` is larger than 1 MiB")).next("split it"));
    }
    parse(&text).map_err(|what| {
        Failure::usage(format!("`{name}` is no file of counts: {what}"))
            .next("it is CSV with the header `emitter,count` or `emitter,count,since,until`, or a JSON array of such objects")
    })
}

/// Reads counts as JSON or CSV.
fn parse(text: &str) -> Result<Vec<Count>, String> {
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(text).map_err(|error| error.to_string());
    }
    let mut lines = text.lines();
    let has_period = match lines.next().map(str::trim) {
        Some(HEADER) => false,
        Some(HEADER_WITH_PERIOD) => true,
        _ => return Err(format!("its first line is not `{HEADER}`")),
    };
    let lines = (2..).zip(lines).filter(|(_, line)| !line.trim().is_empty());
    let row = |(number, line): (usize, &str)| {
        let wrong = match has_period {
            true => "an emitter, a count and two instants or nothing, each behind a comma",
            false => "an emitter, a comma and a count",
        };
        row(line, has_period).ok_or_else(|| format!("line {number} is not {wrong}"))
    };
    lines.map(row).collect()
}

/// One line of CSV.
fn row(line: &str, has_period: bool) -> Option<Count> {
    let values: Vec<&str> = line.split(',').map(str::trim).collect();
    let instant = |text: &str| match text {
        "" => Some(None),
        text => text.parse().ok().map(Some),
    };
    let (emitter, count, since, until) = match (has_period, values.as_slice()) {
        (false, [emitter, count]) => (*emitter, *count, "", ""),
        (true, [emitter, count, since, until]) => (*emitter, *count, *since, *until),
        _ => return None,
    };
    let emitter = Some(emitter.to_owned()).filter(|emitter| !emitter.is_empty())?;
    let (since, until) = (instant(since)?, instant(until)?);
    Some(Count { emitter, count: count.parse().ok()?, since, until })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_as_csv_and_as_json_and_as_nothing_else() {
        let one = |emitter: &str, count| {
            let emitter = emitter.to_owned();
            Count { emitter, count, since: None, until: None }
        };
        let both = vec![one("spiffe://prod.example.org/gateway", 3), one("b", 0)];
        let csv = "emitter,count\r\nspiffe://prod.example.org/gateway, 3\n\nb,0\n";
        assert_eq!(parse(csv).unwrap(), both);
        let json = r#"[{"emitter":"spiffe://prod.example.org/gateway","count":3},{"emitter":"b","count":0}]"#;
        assert_eq!(parse(json).unwrap(), both);
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        let (since, until) = (at("2026-05-01T00:00:00Z"), at("2026-06-01T00:00:00Z"));
        let within = vec![Count { since, until, ..one("a", 3) }, Count { since, ..one("b", 1) }];
        let csv = "emitter,count,since,until\na,3,2026-05-01T00:00:00Z,2026-06-01T00:00:00Z\n\
                   b,1,2026-05-01T00:00:00Z,\n";
        assert_eq!(parse(csv).unwrap(), within);
        let json = r#"[{"emitter":"a","count":3,"since":"2026-05-01T00:00:00Z","until":"2026-06-01T00:00:00Z"},
                       {"emitter":"b","count":1,"since":"2026-05-01T00:00:00Z"}]"#;
        assert_eq!(parse(json).unwrap(), within);
        for wrong in [
            "emitter,count,since,until\na,1",
            "emitter,count,since,until\na,1,yesterday,",
            "emitter,count,since\na,1,2026-05-01T00:00:00Z",
            "emitter,count\na,1,2026-05-01T00:00:00Z,",
            "",
            "a,1",
            "emitter,count\na",
            "emitter,count\na,-1",
            "emitter,count\n,1",
            "emitter,count\na,1,2",
            "[{}]",
            r#"[{"emitter":"a","count":1,"x":2}]"#,
            r#"{"emitter":"a","count":1}"#,
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
