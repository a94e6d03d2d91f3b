//! `marque import`: a trust domain's folder from what another system has.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use marque_registry::{Lifetime, Owner, Tenant, parse_spire_bundles, parse_spire_entries};
use marque_spiffe::{Bundle, Environment, SpiffeIdPattern, TrustDomain};
use serde::Serialize;

use super::Session;
use super::failure::Failure;
use super::output::visible;
use crate::spire::{self, ConvertError, Converted, FromSpire, Note, NoteCode, Wanted};

/// Files of other systems are read up to this size, in bytes.
const MAX_FILE: u64 = 512 * 1024 * 1024;

/// Make a trust domain's folder from what another system has
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  spire-server entry show -output json > entries.json
  spire-server bundle list -output json > bundles.json
  marque import spire --entries entries.json --bundles bundles.json --environment production \\
      --partner partner.example.org=production --owner group:platform --out trust-domains/example.org")]
pub(super) struct ImportArgs {
    #[command(subcommand)]
    command: ImportCommand,
}

#[derive(Debug, Subcommand)]
enum ImportCommand {
    Spire(SpireArgs),
}

/// Make a trust domain's folder from a SPIRE server's entries and bundles
///
/// Writes entries/*.toml, federation/*.json and a trust-domain.toml to be completed, which `marque check` accepts; and says of
/// every entry what has no counterpart here. An entry with a condition that nothing here finds is left out whole: without it,
/// it would be for more processes. Nothing is written over.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque import spire --entries entries.json --environment non-production --owner group:platform --out ./example.org --dry-run
  marque import spire --entries entries.json --bundles bundles.json --bundles partner.example.org=partner.json \\
      --environment production --partner partner.example.org=production --owner group:platform \\
      --agents 'spiffe://example.org/agent/*' --out ./example.org
  marque --output json import spire … | jq -r '.notes[] | select(.left_out) | .message'
  marque --output json import spire … | jq -r '.notes[] | select(.code == \"parent\") | [.spiffe_id, .lost[]] | @tsv'")]
struct SpireArgs {
    /// What `spire-server entry show -output json` printed
    #[arg(long, value_name = "FILE")]
    entries: PathBuf,
    /// What `spire-server bundle list -output json` printed, or NAME=FILE with what `bundle show -format spiffe` did
    #[arg(long, value_name = "[NAME=]FILE")]
    bundles: Vec<String>,
    /// The folder to make; it is not there yet, or empty
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The environment of the trust domain: production or non-production
    #[arg(long, value_name = "ENVIRONMENT")]
    environment: Environment,
    /// The environment of a trust domain that entries federate with, such as partner.example.org=production; once for each
    #[arg(long, value_name = "TRUST_DOMAIN=ENVIRONMENT", value_parser = partner)]
    partner: Vec<(TrustDomain, Environment)>,
    /// Who answers for every entry, such as group:platform
    #[arg(long, value_name = "OWNER")]
    owner: Owner,
    /// The tenant that the trust domain belongs to
    #[arg(long, value_name = "TENANT", default_value = "default")]
    tenant: Tenant,
    /// The trust domain, where the entries are of several
    #[arg(long, value_name = "NAME")]
    of: Option<TrustDomain>,
    /// Whose identities are agents', as a pattern over SPIFFE IDs; all others are services'
    #[arg(long, value_name = "PATTERN")]
    agents: Vec<SpiffeIdPattern>,
    /// The ceiling and default for X.509-SVIDs
    #[arg(long, value_name = "LIFETIME", default_value = "1h")]
    x509_svid: Lifetime,
    /// The ceiling and default for JWT-SVIDs
    #[arg(long, value_name = "LIFETIME", default_value = "5m")]
    jwt_svid: Lifetime,
    /// Say what would come of it, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Fail where an entry is left out
    #[arg(long)]
    strict: bool,
    /// Write the report as JSON into this file, too, after a dry run as well
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// A partner and its environment.
fn partner(text: &str) -> Result<(TrustDomain, Environment), String> {
    let (name, environment) = text
        .split_once('=')
        .ok_or("is not TRUST_DOMAIN=ENVIRONMENT, such as partner.example.org=production")?;
    let name: TrustDomain =
        name.parse().map_err(|_source| format!("`{name}` is no trust domain"))?;
    let environment = environment.parse().map_err(|_source| {
        format!("`{environment}` is neither `production` nor `non-production`")
    })?;
    Ok((name, environment))
}

#[derive(Debug, Serialize)]
struct Report {
    trust_domain: String,
    /// Where it was written; absent after a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    folder: Option<PathBuf>,
    /// How many entries were read, and how many came of them.
    read: usize,
    entries: usize,
    left_out: usize,
    /// How many were one with another, and how many came beside others because one was for several groups of nodes.
    merged: usize,
    split: usize,
    federation: Vec<String>,
    notes: Vec<Note>,
}

impl ImportArgs {
    pub(super) fn run(self, session: &mut Session) -> Result<(), Failure> {
        let ImportCommand::Spire(args) = self.command;
        args.run(session)
    }
}

impl SpireArgs {
    fn run(self, session: &mut Session) -> Result<(), Failure> {
        let spire = self.read()?;
        let wanted = Wanted {
            trust_domain: self.of.clone(),
            environment: self.environment,
            partners: self.partners()?,
            tenant: self.tenant.clone(),
            owner: self.owner.clone(),
            agents: self.agents.clone(),
            x509_svid: self.x509_svid,
            jwt_svid: self.jwt_svid,
        };
        let converted = spire::convert(&spire, &wanted)
            .map_err(|error| unconverted(&error, self.environment))?;
        let strict_fails = self.strict && converted.notes.iter().any(|note| note.left_out);
        let dry = self.dry_run || strict_fails;
        let written = spire::write(&converted, &wanted, &self.out, dry);
        written.map_err(|error| {
            let next = match &error {
                spire::WriteError::Exists(_) => "name a folder that is not there yet",
                spire::WriteError::Findings(_) => {
                    "change the options, or the entries there, as the finding says"
                }
                spire::WriteError::Io(_) | spire::WriteError::Toml(_) => {
                    "see whether it can be written"
                }
            };
            Failure::because("nothing was imported", &error).next(next)
        })?;
        let folder = (!dry).then(|| self.out.clone());
        let report = Report::of(converted, spire.entries.len(), folder);
        if let Some(file) = &self.report {
            let text = format!("{:#}\n", serde_json::to_value(&report)?);
            std::fs::write(file, text).map_err(|error| {
                Failure::because(format!("`{}` cannot be written", file.display()), &error)
            })?;
        }
        session.output.show(&report, render)?;
        if strict_fails {
            let message =
                format!("{} entries would be left out; nothing was written", report.left_out);
            return Err(Failure::failed(message));
        }
        Ok(())
    }

    /// Each partner's environment, which is one.
    fn partners(&self) -> Result<BTreeMap<TrustDomain, Environment>, Failure> {
        let mut partners = BTreeMap::new();
        for (name, environment) in &self.partner {
            let before = partners.insert(name.clone(), *environment);
            if before.is_some_and(|before| before != *environment) {
                let message = format!("--partner says two environments of `{name}`");
                return Err(Failure::usage(message).next("say one"));
            }
        }
        Ok(partners)
    }

    fn read(&self) -> Result<FromSpire, Failure> {
        let unreadable = |file: &Path, error: &dyn std::error::Error| {
            Failure::because(format!("`{}`", file.display()), error)
                .next("have SPIRE print it anew with -output json")
        };
        let entries = parse_spire_entries(&bytes(&self.entries)?)
            .map_err(|error| unreadable(&self.entries, &error))?;
        let (mut bundles, mut notes) = (BTreeMap::new(), Vec::new());
        for named in &self.bundles {
            if let Some((name, file)) = named.split_once('=') {
                let name: TrustDomain = name
                    .parse()
                    .map_err(|_source| Failure::usage(format!("`{name}` is no trust domain")))?;
                let file = PathBuf::from(file);
                let bundle = Bundle::parse(name.clone(), &bytes(&file)?)
                    .map_err(|error| unreadable(&file, &error))?;
                bundles.insert(name, bundle);
                continue;
            }
            let file = PathBuf::from(named);
            let found = parse_spire_bundles(&bytes(&file)?).map_err(|error| {
                unreadable(&file, &error)
                    .next("write NAME=FILE for what `bundle show -format spiffe` printed")
            })?;
            for one in found {
                if one.tainted > 0 {
                    let message =
                        format!("{} tainted authorities of `{}`", one.tainted, one.trust_domain);
                    notes.push(Note::general(NoteCode::Tainted, message));
                }
                for member in &one.unknown {
                    let message = format!(
                        "bundle of `{}`: `{}`: this version does not know it",
                        visible(&one.trust_domain),
                        visible(member)
                    );
                    notes.push(Note::general(NoteCode::UnknownMember, message));
                }
                let bundle = one.to_bundle().map_err(|error| unreadable(&file, &error))?;
                if let Ok(name) = one.trust_domain.parse() {
                    bundles.insert(name, bundle);
                }
            }
        }
        Ok(FromSpire { entries, bundles, notes })
    }
}

/// Why nothing was converted, and what to add to the command.
fn unconverted(error: &ConvertError, own: Environment) -> Failure {
    let next = match error {
        ConvertError::NoTrustDomain | ConvertError::SeveralTrustDomains(..) => {
            "name the trust domain with --of".to_owned()
        }
        ConvertError::Partners(names) => {
            let add =
                names.iter().map(|name| format!(" --partner {name}={own}")).collect::<String>();
            format!("find out and add, for those that are {own}:{add}")
        }
    };
    Failure::usage(error.to_string()).next(next)
}

fn bytes(file: &Path) -> Result<Vec<u8>, Failure> {
    use std::io::Read as _;

    let mut bytes = Vec::new();
    let read =
        std::fs::File::open(file).and_then(|open| open.take(MAX_FILE + 1).read_to_end(&mut bytes));
    read.map_err(|error| Failure::usage(format!("cannot read `{}`: {error}", file.display())))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_FILE) {
        return Err(Failure::usage(format!("`{}` has more than {MAX_FILE} bytes", file.display())));
    }
    Ok(bytes)
}

impl Report {
    fn of(converted: Converted, read: usize, folder: Option<PathBuf>) -> Self {
        let Converted { trust_domain, entries, federation, notes } = converted;
        let left_out = notes.iter().filter(|note| note.left_out).count();
        let merged = notes.iter().filter(|note| note.code == NoteCode::Merged).count();
        // INVARIANT: each entry that was read is there, left out, or one with another; what is there besides came of a split.
        let split = (entries.len() + left_out + merged).saturating_sub(read);
        Self {
            trust_domain: trust_domain.to_string(),
            folder,
            read,
            entries: entries.len(),
            left_out,
            merged,
            split,
            federation: federation.keys().map(ToString::to_string).collect(),
            notes,
        }
    }
}

fn render(report: &Report) -> String {
    let mut lines: Vec<String> = report.notes.iter().map(line).collect();
    let Report { trust_domain, folder, read, entries, left_out, .. } = report;
    lines.push(format!("{trust_domain}: {entries} entries of {read}, {left_out} left out"));
    lines.push(match folder {
        Some(folder) => format!(
            "Wrote {}. Complete its trust-domain.toml, then: marque check {}",
            folder.display(),
            folder.display()
        ),
        None => "Nothing was written.".to_owned(),
    });
    lines.join("\n")
}

fn line(note: &Note) -> String {
    let left_out = if note.left_out { "left out: " } else { "" };
    let of = match (&note.entry, &note.spiffe_id) {
        (Some(entry), Some(spiffe_id)) => format!("entry {entry} ({spiffe_id}): "),
        (None, Some(spiffe_id)) => format!("{spiffe_id}: "),
        _ => String::new(),
    };
    visible(&format!("{left_out}{of}{}", note.message))
}
