//! `marque inventory`: which stored credentials there are, who shares them, and which playbook could take their place.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use jiff::tz::TimeZone;
use marque_inventory::{
    Credential, FindingCode, FingerprintKey, Known, Permitted, Report, Scan, Step, report,
};
use marque_spiffe::{Clock as _, Random as _, TrustDomain};
use nix::unistd::{User, geteuid};

use super::Session;
use super::failure::Failure;
use super::output::{OutputFormat, put, table, visible};
use crate::clock::{SystemClock, SystemRandomness};
use crate::issuer::folder;

/// The longest file of a key, or of what is known.
const MAX_BYTES: u64 = 1024 * 1024;

/// List stored credentials of clouds, clusters, registries and CI, and what could take their place
///
/// Reads files only: nothing is sent, changed or tried, and no secret is shown. Two credentials with one fingerprint are the
/// same secret. What an inventory cannot know is at its end.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque inventory                                    the usual places of the own home
  marque inventory --home /home/deploy --home /root   of several users; as root
  marque inventory ~/src                              every pipeline, .env and kubeconfig below a folder
  marque inventory --home /root --trust-domains /etc/marque/trust-domains --known exceptions.toml
  marque inventory ~/src --fail-on shared_credential,static_secret
  marque inventory --home /root --metrics /var/lib/node_exporter/marque_inventory.prom
  marque inventory --home /root --metrics /var/lib/marque/inventory.prom --workflows-of prod.example.org
  marque --output json inventory --key-file host.key | jq '.findings[]'")]
pub(super) struct InventoryArgs {
    /// Files, or folders that are searched
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// A home whose usual places are read; the own one where nothing is named
    #[arg(long = "home", value_name = "DIR")]
    homes: Vec<PathBuf>,
    /// A trust domain's folder, or a folder of such folders, to compare with its playbooks
    #[arg(long, value_name = "DIR")]
    trust_domains: Option<PathBuf>,
    /// What replaces which credential, and who answers for those that stay (docs/inventory.md)
    #[arg(long, value_name = "FILE", requires = "trust_domains")]
    known: Option<PathBuf>,
    /// The key of fingerprints, 16 bytes or more: with one key reports of several hosts can be compared
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// End with exit code 1 when there is such a finding; several with a comma between
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    fail_on: Vec<FailOn>,
    /// Write the numbers for a textfile collector of Prometheus
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
    /// Also write there how many workflows on stored secrets there are, as those of this trust domain: all that was found
    /// has to be on its behalf
    #[arg(long, value_name = "TRUST-DOMAIN", requires = "metrics")]
    workflows_of: Option<TrustDomain>,
}

/// Findings by their codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum FailOn {
    /// One secret in more than one place
    SharedCredential,
    /// It opens a cloud or a cluster at any time, or is an administrator's by its name
    StandingPrivilege,
    /// Others than its owner may read the file
    LoosePermissions,
    /// No playbook permits the same, and nobody answers for it
    UndocumentedException,
    /// A secret that does not end by itself
    StaticSecret,
    /// Something that was not read
    NotRead,
    /// Any of them
    Any,
}

impl FailOn {
    fn has(self, code: FindingCode) -> bool {
        match self {
            Self::SharedCredential => code == FindingCode::SharedCredential,
            Self::StandingPrivilege => code == FindingCode::StandingPrivilege,
            Self::LoosePermissions => code == FindingCode::LoosePermissions,
            Self::UndocumentedException => code == FindingCode::UndocumentedException,
            Self::StaticSecret => code == FindingCode::StaticSecret,
            Self::NotRead => code == FindingCode::NotRead,
            Self::Any => true,
        }
    }
}

impl InventoryArgs {
    pub(super) fn run(self, session: &mut Session) -> Result<(), Failure> {
        let key = self.key()?;
        let permitted = self.permitted()?;
        let known = match &self.known {
            Some(file) => {
                let text = text(file)?;
                let known = Known::parse(&text, &permitted);
                known.map_err(|error| {
                    Failure::because(format!("`{}` is of no use", file.display()), &error)
                })?
            }
            None => Known::default(),
        };
        let mut scan = Scan::new(&key);
        for home in self.homes()? {
            scan.home(&home);
        }
        self.paths.iter().for_each(|path| scan.path(path));
        let mut scanned = scan.finish();
        let now = SystemClock.now();
        let today = now.to_zoned(TimeZone::UTC).date();
        known.apply(&mut scanned.credentials, &permitted, today);
        let report = report(scanned, self.trust_domains.is_some());
        if let Some(file) = &self.metrics {
            let workflows = self.workflows_of.as_ref();
            write_metrics(file, &metrics(&report, now.as_second(), workflows))?;
            if workflows.is_some() && !report.problems.is_empty() {
                let told = "Something was not read, so that nobody knows how many workflows have stored secrets: no number of \
                            them was written.";
                session.output.remark(told)?;
            }
        }
        match session.output.format() {
            OutputFormat::Json => session.output.show(&report, |_| String::new())?,
            OutputFormat::Text => session.output.remark(&render(&report))?,
        }
        let failing: BTreeSet<&str> = report
            .findings
            .iter()
            .filter(|finding| self.fail_on.iter().any(|on| on.has(finding.code)))
            .map(|finding| finding.code.as_str())
            .collect();
        if failing.is_empty() {
            return Ok(());
        }
        let failing: Vec<&str> = failing.into_iter().collect();
        Err(Failure::failed(format!("there are findings of {}", failing.join(", "))))
    }

    /// Those that were named, or the own one where nothing was.
    fn homes(&self) -> Result<Vec<PathBuf>, Failure> {
        if !self.homes.is_empty() || !self.paths.is_empty() {
            return Ok(self.homes.clone());
        }
        let own = User::from_uid(geteuid()).ok().flatten().map(|user| vec![user.dir]);
        own.ok_or_else(|| Failure::usage("no home of one's own: name one with --home"))
    }

    /// A key that nobody keeps, where none is given.
    fn key(&self) -> Result<FingerprintKey, Failure> {
        let bytes = match &self.key_file {
            Some(file) => text(file)?.trim_end().as_bytes().to_vec(),
            None => {
                let mut bytes = vec![0; 32];
                let filled = SystemRandomness::default().fill(&mut bytes);
                filled.map_err(|error| Failure::because("no fingerprints can be made", &error))?;
                bytes
            }
        };
        FingerprintKey::new(&bytes).map_err(|error| Failure::usage(error.to_string()))
    }

    /// What the playbooks of the folder permit.
    fn permitted(&self) -> Result<Permitted, Failure> {
        let mut permitted = Permitted::default();
        let Some(path) = &self.trust_domains else { return Ok(permitted) };
        let wrong = |finding: &dyn std::fmt::Display| {
            Failure::failed(format!("{finding}; see `marque check {}`", path.display()))
        };
        for folder in folder::find(path).map_err(|finding| wrong(&finding))? {
            let checked = folder::check(&folder).map_err(|findings| match findings.first() {
                Some(finding) => wrong(finding),
                None => wrong(&"the folder cannot be read"),
            })?;
            for playbook in checked.playbooks.iter() {
                let permits = playbook.permissions().into_iter().chain(playbook.resources());
                permitted.add(playbook.id().as_str(), permits);
            }
        }
        Ok(permitted)
    }
}

/// A small file as text.
fn text(file: &Path) -> Result<String, Failure> {
    let failed = |error: &std::io::Error| {
        Failure::because(format!("cannot read `{}`", file.display()), error)
    };
    let length = fs::metadata(file).map_err(|error| failed(&error))?.len();
    if length > MAX_BYTES {
        return Err(Failure::usage(format!("`{}` is too large", file.display())));
    }
    fs::read_to_string(file).map_err(|error| failed(&error))
}

/// Writes the numbers: whole, or not at all.
fn write_metrics(file: &Path, text: &str) -> Result<(), Failure> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = file.with_file_name(name);
    let written = || {
        // What a run that was stopped left there, or a link that somebody put there, is not written through.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut draft = fs::File::options().write(true).create_new(true).open(&new)?;
        draft.write_all(text.as_bytes())?;
        fs::rename(&new, file)
    };
    written()
        .map_err(|error| Failure::because(format!("cannot write `{}`", file.display()), &error))
}

fn metrics(report: &Report, now: i64, workflows_of: Option<&TrustDomain>) -> String {
    let counts = &report.counts;
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, label: &str, values: &[(&str, usize)]| {
        put(&mut text, format_args!("# HELP {name} {help}\n# TYPE {name} gauge\n"));
        for (value, count) in values {
            let labels =
                if label.is_empty() { String::new() } else { format!("{{{label}=\"{value}\"}}") };
            put(&mut text, format_args!("{name}{labels} {count}\n"));
        }
    };
    let all = |counts: &std::collections::BTreeMap<&'static str, usize>| -> Vec<(&str, usize)> {
        counts.iter().map(|(name, count)| (*name, *count)).collect()
    };
    let (kinds, standings) = (all(&counts.by_kind), all(&counts.by_standing));
    let findings: Vec<(&str, usize)> = FindingCode::ALL
        .iter()
        .map(|code| {
            (code.as_str(), counts.findings.get(code.as_str()).copied().unwrap_or_default())
        })
        .collect();
    gauge("marque_inventory_credentials", "Credentials in files, by kind", "kind", &kinds);
    let help = "Credentials in files, by how long they stand";
    gauge("marque_inventory_standing", help, "standing", &standings);
    let help = "Secrets that stand in more than one file";
    gauge("marque_inventory_shared_credentials", help, "", &[("", counts.shared)]);
    gauge("marque_inventory_findings", "Findings of the inventory, by code", "code", &findings);
    gauge("marque_inventory_files", "Files that were read", "", &[("", counts.files)]);
    // Of what was not read nobody knows: no number is better than one that is too low.
    if let Some(name) = workflows_of.filter(|_| report.problems.is_empty()) {
        let help = "Users with what their secrets that do not end open";
        let trust_domain = [(name.as_str(), counts.stored_secret_workflows)];
        gauge("marque_inventory_stored_secret_workflows", help, "trust_domain", &trust_domain);
    }
    let name = "marque_inventory_last_run_timestamp_seconds";
    put(
        &mut text,
        format_args!(
            "# HELP {name} When the inventory was made\n# TYPE {name} gauge\n{name} {now}\n"
        ),
    );
    text
}

fn render(report: &Report) -> String {
    let mut text = String::new();
    if report.credentials.is_empty() {
        text.push_str("No credentials were found.\n");
    } else {
        let rows = report.credentials.iter().map(credential);
        let head = ["KIND", "NAME", "OPENS", "STANDING", "FINGERPRINT", "UID", "FILE"];
        text.push_str(&table(head, rows));
        text.push('\n');
    }
    for finding in &report.findings {
        let files: Vec<String> =
            finding.files.iter().map(|file| file.display().to_string()).collect();
        let line = format!(
            "\n{}: {} ({})\n  next: {}",
            finding.code.as_str(),
            finding.message,
            files.join(", "),
            finding.next
        );
        line.lines().for_each(|line| put(&mut text, format_args!("{}\n", visible(line))));
    }
    for (place, step) in report.plan.iter().enumerate() {
        put(&mut text, format_args!("\n{}. {}\n", place + 1, visible(&heading(step))));
        for (place, what) in (b'a'..=b'z').zip(&step.steps) {
            put(&mut text, format_args!("   {}) {}\n", char::from(place), visible(what)));
        }
    }
    text.push('\n');
    report.limits.iter().for_each(|limit| put(&mut text, format_args!("{limit}\n")));
    text.trim_end().to_owned()
}

fn heading(step: &Step) -> String {
    let Step { reach, credentials, files, users, privileged, .. } = step;
    let admin = if *privileged { ", an administrator's by its name" } else { "" };
    format!("{reach}: {credentials} credential(s) in {files} file(s) of {users} user(s){admin}")
}

fn credential(credential: &Credential) -> [String; 7] {
    let fingerprint = credential.fingerprint.map(|fingerprint| fingerprint.to_string());
    let admin = if credential.privileged { " (admin)" } else { "" };
    [
        credential.kind.as_str().to_owned(),
        visible(&credential.place.name),
        visible(&format!("{}{admin}", credential.reach)),
        credential.standing.as_str().to_owned(),
        fingerprint.unwrap_or_else(|| "-".to_owned()),
        credential.place.uid.to_string(),
        visible(&credential.place.file.display().to_string()),
    ]
}
