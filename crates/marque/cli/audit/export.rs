//! `marque audit export`: the log as tiles, or its records in a form that other systems read.
//!
//! Records come at least once and in order: the cursor is written when what it says is on disk, and each record has its
//! number, by which what came twice is known.

mod records;

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, ValueEnum};
use futures::StreamExt as _;
use jiff::Timestamp;
use marque_audit::find::first_recorded;
use marque_audit::folder::FolderLog;
use marque_audit::format::Format;
use marque_audit::{Leaf, LogStore as _, folder};

use self::records::Records;
use super::super::Session;
use super::super::failure::Failure;
use super::{KeySource, export_tiles, key_or_ask};
use crate::grpc::admin::{LeafView, RemoteLog};

/// How many records are written before the cursor is, at most.
const PAGE: usize = 256;

/// Copy the log, or write its records in a form that other systems read
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque audit export --to /backup/log                       # tiles: an earlier copy is continued
  marque audit export --format csv --since 2026-11-01T00:00:00Z --to november.csv
  marque audit export --format ocsf --cursor /var/lib/siem/cursor --follow --to /var/lib/siem/log.jsonl
  marque audit export --format cadf --log /backup/log --key prod.vkey

Records come at least once: after a crash some may come again. Each has its number in the log (`sequence`, `id`, `seq`)
and the hash of its leaf. With --to, records are added to what the file has. What a pipe holds when its reader dies is
lost: a cursor loses nothing with --to alone.")]
pub(super) struct ExportArgs {
    /// The form: tiles copy the whole log, the others write records one a line
    #[arg(long, value_enum, default_value_t)]
    format: Form,
    /// The folder for tiles, or the file for records [default for records: standard output]
    #[arg(long, value_name = "PATH")]
    to: Option<PathBuf>,
    /// A copy of the log made by `marque audit export`, which is verified first [default: the log of the running daemon]
    #[arg(long, value_name = "DIR")]
    log: Option<PathBuf>,
    /// The key that verifies tiles, or the copy named by --log: a vkey, or a file with one [default: the daemon's own word]
    #[arg(long, value_name = "VKEY|FILE")]
    key: Option<KeySource>,
    /// The number of the first record, or the time from which they were recorded, where there is no cursor yet
    #[arg(long, value_name = "SEQ|TIME")]
    since: Option<Since>,
    /// A file that keeps how far the records have come; the next export goes on there
    #[arg(long, value_name = "FILE")]
    cursor: Option<PathBuf>,
    /// Go on with new records as they come
    #[arg(long, short = 'f')]
    follow: bool,
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Form {
    /// The whole log as C2SP tlog-tiles, which anyone can verify
    #[default]
    Tiles,
    /// Open Cybersecurity Schema Framework, as JSON lines
    Ocsf,
    /// CloudEvents 1.0, as JSON lines
    #[value(name = "cloudevents")]
    CloudEvents,
    /// Cloud Auditing Data Federation, as JSON lines
    Cadf,
    /// Comma-separated values
    Csv,
    /// OpenTelemetry logs, as lines of OTLP's JSON
    Otlp,
}

impl Form {
    fn of_records(self) -> Option<Format> {
        match self {
            Self::Tiles => None,
            Self::Ocsf => Some(Format::Ocsf),
            Self::CloudEvents => Some(Format::CloudEvents),
            Self::Cadf => Some(Format::Cadf),
            Self::Csv => Some(Format::Csv),
            Self::Otlp => Some(Format::Otlp),
        }
    }
}

/// Where to begin.
#[derive(Debug, Clone, Copy)]
enum Since {
    Seq(u64),
    Time(Timestamp),
}

impl FromStr for Since {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (text.parse(), text.parse()) {
            (Ok(seq), _) => Ok(Self::Seq(seq)),
            (_, Ok(time)) => Ok(Self::Time(time)),
            _ => Err("neither a number nor a time such as 2026-11-01T00:00:00Z"),
        }
    }
}

impl ExportArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let Some(format) = self.format.of_records() else { return self.tiles(session).await };
        if self.follow && self.log.is_some() {
            return Err(Failure::usage("a copy of the log does not grow")
                .next("leave --follow or --log out"));
        }
        if self.key.is_some() && self.log.is_none() {
            return Err(Failure::usage(
                "--key verifies a copy of the log, and none was given: a running daemon's records are its own word",
            )
            .next("name a copy with --log, or leave --key out"));
        }
        let mut records = Records::open(format, self.to.as_deref(), self.cursor.as_deref())?;
        match &self.log {
            Some(log) => {
                let key = key_or_ask(session, self.key).await?;
                of_folder(log, &key, self.since, &mut records)?;
            }
            None => of_daemon(session, self.since, self.follow, &mut records).await?,
        }
        let (written, next) = (records.written, records.next);
        let Some(to) = self.to else { return Ok(()) };
        let told = serde_json::json!({ "file": to, "records": written, "next": next });
        session.output.show(&told, |_| format!("Wrote {written} records to {}", to.display()))
    }

    async fn tiles(self, session: &mut Session) -> Result<(), Failure> {
        if self.log.is_some() || self.since.is_some() || self.cursor.is_some() || self.follow {
            return Err(Failure::usage(
                "--log, --since, --cursor and --follow are for records, and tiles copy the whole log",
            )
            .next("name the form of records with --format, or leave them out"));
        }
        let Some(to) = &self.to else {
            return Err(Failure::usage("tiles are a folder, and none was given")
                .next("name it with --to, or a form of records with --format"));
        };
        export_tiles(session, to, self.key).await
    }
}

/// The records of a daemon's log.
async fn of_daemon(
    session: &Session,
    since: Option<Since>,
    follow: bool,
    records: &mut Records,
) -> Result<(), Failure> {
    let mut home = session.home().await?;
    let from = match (records.belongs_to(home.at.name.as_str())?, since) {
        (Some(next), _) => {
            let log = RemoteLog::open(home.admin.clone()).await?;
            let before = match next.checked_sub(1).filter(|before| *before < log.info().size) {
                Some(before) => log.leaves(before, 1).await,
                None => Ok(Vec::new()),
            };
            let before = before.map_err(|error| Failure::because("cannot read the log", &error))?;
            records.goes_on(log.info().size, before.first())?;
            next
        }
        (None, None) => 0,
        (None, Some(Since::Seq(seq))) => seq,
        (None, Some(Since::Time(time))) => {
            let log = RemoteLog::open(home.admin.clone()).await?;
            first_recorded(&log, log.info().size, time)
                .await
                .map_err(|error| Failure::because("cannot read the log", &error))?
        }
    };
    records.begin(from)?;
    let mut leaves = home.admin.leaves(from, follow).await?.ready_chunks(PAGE);
    while let Some(page) = leaves.next().await {
        let mut read = Vec::with_capacity(page.len());
        for leaf in page {
            let LeafView { seq, bytes } = leaf?;
            let leaf = Leaf::from_bytes(seq, bytes)
                .map_err(|error| Failure::because(format!("leaf {seq} does not read"), &error))?;
            read.push(leaf);
        }
        records.write(&read)?;
    }
    records.end()
}

/// The records of a copy, which is verified first.
fn of_folder(
    log: &Path,
    key: &marque_audit::VerifierKey,
    since: Option<Since>,
    records: &mut Records,
) -> Result<(), Failure> {
    let unsound = |error| Failure::because("the copy is not sound", &error);
    let (mut begun, mut size) = (None, 0);
    folder::verify_folder(log, key, None).map_err(unsound)?;
    let mut copy = FolderLog::open(log, key).map_err(unsound)?;
    while let Some(bundle) = copy.next_page().map_err(unsound)? {
        let Some(first) = bundle.first() else { continue };
        let from = match begun {
            Some(from) => from,
            None => *begun.insert(records.belongs_to(first.source().trust_domain().as_str())?),
        };
        size += bundle.len() as u64;
        if let Some(before) = from.and_then(|next| next.checked_sub(1))
            && let Some(before) = bundle.iter().find(|leaf| leaf.seq() == before)
        {
            records.goes_on(size, Some(before))?;
        }
        let wanted = |leaf: &&Leaf| match (from, since) {
            (Some(next), _) => leaf.seq() >= next,
            (None, None) => true,
            (None, Some(Since::Seq(seq))) => leaf.seq() >= seq,
            (None, Some(Since::Time(time))) => leaf.recorded() >= time,
        };
        let wanted: Vec<Leaf> = bundle.iter().filter(wanted).cloned().collect();
        if let Some(first) = wanted.first() {
            if records.written == 0 {
                records.begin(first.seq())?;
            }
            records.write(&wanted)?;
        }
    }
    records.reaches(size)?;
    records.end()
}
