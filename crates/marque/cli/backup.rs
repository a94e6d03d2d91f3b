//! `marque backup` and `marque restore`: the state of a trust domain, out of the house and back.

use std::fs;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use marque_registry::TrustDomainDocument;
use marque_spiffe::Clock as _;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use super::output::{OutputFormat, pairs};
use super::{Session, StoreOption};
use crate::backup::{
    self, BackupError, KeptHere, Manifest, RestoreOptions, Restored, Site, Step, Work,
};
use crate::clock::{SystemClock, SystemRandomness};
use crate::issuer::folder;

/// Back up the state of trust domains: log, grants, kills, sealed keys, kept bundles
///
/// The daemon may go on serving. A backup is one tar file, mode 0600, with a manifest of all that is in it. The key that
/// unseals the private keys is never in it: keep that elsewhere, or the backup is worth nothing.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
Examples:
  marque backup --data-dir /var/lib/marque --trust-domains /etc/marque/trust-domains --to /backup/
  marque backup --trust-domain prod.example.org --to /backup/prod.marque-backup
  marque backup verify /backup/prod.marque-backup
  marque backup --store @/run/secrets/marque-store --to /backup/    PostgreSQL: then `pg_dump`, see docs/backup.md"
)]
pub(super) struct BackupArgs {
    #[command(subcommand)]
    command: Option<BackupCommand>,
    /// The file to write, which must not exist; in a folder, a file named after trust domain and time
    #[arg(long, value_name = "FILE|DIR", required = true)]
    to: Option<PathBuf>,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    watch: WatchArgs,
}

#[derive(Debug, Subcommand)]
enum BackupCommand {
    /// Hold a backup against its manifest: digests, the store, the log's root and its checkpoint's signature
    Verify {
        /// The backup
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        watch: WatchArgs,
    },
}

/// Restore the state of one trust domain from a backup, with the daemon stopped
///
/// All of it or nothing: what was there is moved aside, not deleted. Refuses whatever would take the audit log, a kill or an
/// authority back, another trust domain and the other environment; nothing forces it. Sealed keys and fetched bundles that are
/// newer here stay. A restore that was cut short is finished or undone by the next one, or by the daemon's start. The log says
/// at the next start that there was a restore.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque restore --trust-domain prod.example.org --data-dir /var/lib/marque \\
      --trust-domains /etc/marque/trust-domains --from /backup/prod.marque-backup --last-checkpoint /sink/checkpoint
  marque restore --trust-domain prod.example.org --from /backup/prod.marque-backup --check     compare, and change nothing
  marque restore --trust-domain prod.example.org --from /backup/prod.marque-backup --keep-kills
  marque restore --trust-domain prod.example.org --from /backup/prod.marque-backup --store @/run/secrets/marque-store
                                                                 PostgreSQL: after `pg_restore`, see docs/backup.md")]
pub(super) struct RestoreArgs {
    /// The backup
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The last signed checkpoint that somebody outside has, as an audit sink: the backup must have all that it covers
    #[arg(long, value_name = "FILE")]
    last_checkpoint: Option<PathBuf>,
    /// Take along the kills and lifts that only the kill journal here has, which are refused otherwise
    #[arg(long)]
    keep_kills: bool,
    /// Unpack and compare everything, and change nothing
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    watch: WatchArgs,
}

#[derive(Debug, Args)]
struct WatchArgs {
    /// Tell each step on standard error, also where that is no terminal
    #[arg(long)]
    progress: bool,
}

#[derive(Debug, Args)]
struct SourceArgs {
    /// The folder with one folder for each trust domain, whose documents say the environment
    #[arg(long, value_name = "DIR", default_value = "./trust-domains")]
    trust_domains: PathBuf,
    /// Where state is kept: `sqlite` (in the data directory), a `postgres://` URL, or `@FILE` with such a URL in it
    #[arg(long, value_name = "STORE", default_value = "sqlite")]
    store: StoreOption,
}

#[derive(Debug, Serialize)]
struct Shown<'a> {
    file: &'a Path,
    manifest: &'a Manifest,
}

#[derive(Debug, Serialize)]
struct ShownRestore<'a> {
    trust_domain: String,
    /// Where the state is that was there before.
    replaced: Option<&'a Path>,
    /// Whether there was anything that the backup could be held against.
    compared: bool,
    /// Whether it was compared alone: nothing was changed.
    checked: bool,
    /// Whether an earlier restore had put it in place already and was cut short.
    resumed: bool,
    kept: ShownKept<'a>,
    /// What could not be done after it was in place.
    unfinished: &'a [String],
    manifest: &'a Manifest,
}

/// What of the state of before was taken along.
#[derive(Debug, Serialize)]
struct ShownKept<'a> {
    /// Sealed keys, by their slots.
    keys: &'a [String],
    /// The folder of keys, where it is elsewhere.
    key_folder: Option<&'a Path>,
    /// Files of bundles of other trust domains.
    bundles: &'a [String],
    /// How many kills and lifts.
    kills: usize,
}

impl<'a> ShownKept<'a> {
    fn of(kept: &'a KeptHere) -> Self {
        let KeptHere { keys, key_folder, bundles, orders } = kept;
        Self { keys, key_folder: key_folder.as_deref(), bundles, kills: *orders }
    }
}

impl BackupArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let Self { command, to, source, watch } = self;
        match (command, to) {
            (Some(BackupCommand::Verify { file, watch }), _) => {
                verify(session, &file, &watch.work(session)?).await
            }
            (None, Some(to)) => {
                let work = watch.work(session)?;
                take(session, &source, &to, &work).await
            }
            (None, None) => Err(Failure::usage("--to says where the backup goes")),
        }
    }
}

impl RestoreArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let Self { from, last_checkpoint, keep_kills, check, source, watch } = self;
        let mut sites = source.sites(session)?;
        let (Some(site), true) = (sites.pop(), sites.is_empty()) else {
            return Err(Failure::usage("a backup is of one trust domain")
                .next("pass --trust-domain with its name"));
        };
        let work = watch.work(session)?;
        let options = RestoreOptions { from, last_checkpoint, keep_kills, check };
        let random = SystemRandomness::default();
        let restored = backup::restore(&site, &options, (&SystemClock, &random), &work).await;
        let restored = restored.map_err(|error| refused(&error))?;
        let Restored { manifest, replaced, compared, kept, resumed, unfinished } = &restored;
        let shown = ShownRestore {
            trust_domain: site.trust_domain.to_string(),
            replaced: replaced.as_deref(),
            compared: *compared,
            checked: check,
            resumed: *resumed,
            kept: ShownKept::of(kept),
            unfinished,
            manifest,
        };
        session.output.show(&shown, render_restore)?;
        for what in unfinished {
            Failure::failed(what.clone()).warn("the backup is in place all the same");
        }
        if !compared {
            let warning = Failure::failed("nothing is there to hold the backup against");
            warning.warn("name the last checkpoint of a sink with --last-checkpoint to be sure that it is the newest");
        }
        Ok(())
    }
}

impl WatchArgs {
    /// Work that is told here, and that SIGTERM and SIGINT stop.
    fn work(&self, session: &Session) -> Result<Work, Failure> {
        let unheard = |error: std::io::Error| Failure::because("cannot listen for signals", &error);
        let mut terminate = signal(SignalKind::terminate()).map_err(unheard)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(unheard)?;
        let stop = CancellationToken::new();
        let told = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            told.cancel();
        });
        let format = session.output.format();
        let shows =
            self.progress || (format == OutputFormat::Text && std::io::stderr().is_terminal());
        let tell = move |step: Step| {
            if !shows {
                return;
            }
            let line = match format {
                OutputFormat::Text => format!("{} …", step.told()),
                OutputFormat::Json => serde_json::json!({ "step": step.as_str() }).to_string(),
            };
            // With standard error closed nobody can be told.
            drop(writeln!(anstream::stderr(), "{line}"));
        };
        Ok(Work::new(tell, stop))
    }
}

impl SourceArgs {
    /// The trust domains that were named, or all of the folder.
    fn sites(&self, session: &Session) -> Result<Vec<Site>, Failure> {
        let folders = folder::find(&self.trust_domains).map_err(|finding| {
            Failure::usage(finding.to_string()).next("name the folder with --trust-domains")
        })?;
        let named = session.place.names();
        let mut sites = Vec::new();
        for folder in folders {
            let document = read_document(&folder)?;
            if named.is_empty() || named.contains(document.name()) {
                sites.push(Site {
                    data_dir: session.place.data_dir(),
                    trust_domain: document.name().clone(),
                    environment: document.environment(),
                    store: self.store.clone(),
                });
            }
        }
        match named.iter().find(|name| sites.iter().all(|site| site.trust_domain != **name)) {
            Some(unknown) => Err(Failure::usage(format!("there is no trust domain `{unknown}`"))
                .next("name the folder that has its document with --trust-domains")),
            None => Ok(sites),
        }
    }
}

fn read_document(folder: &Path) -> Result<TrustDomainDocument, Failure> {
    let file = folder.join("trust-domain.toml");
    let text = fs::read_to_string(&file)
        .map_err(|error| Failure::because(format!("cannot read `{}`", file.display()), &error))?;
    TrustDomainDocument::parse(&file, &text).map_err(|findings| {
        let first = findings.first().map(ToString::to_string).unwrap_or_default();
        Failure::failed(first).next("see `marque check`")
    })
}

async fn take(
    session: &mut Session,
    source: &SourceArgs,
    to: &Path,
    work: &Work,
) -> Result<(), Failure> {
    let sites = source.sites(session)?;
    if sites.len() > 1 && !to.is_dir() {
        return Err(Failure::usage(
            "there are several trust domains, and each has a backup of its own",
        )
        .next("name a folder with --to, or one of them with --trust-domain"));
    }
    let random = SystemRandomness::default();
    let mut taken = Vec::new();
    for site in &sites {
        let file = if to.is_dir() { to.join(name_of(site)) } else { to.to_owned() };
        let manifest = backup::take(site, &file, (&SystemClock, &random), work).await;
        taken.push((file, manifest.map_err(|error| refused(&error))?));
    }
    let shown: Vec<Shown<'_>> =
        taken.iter().map(|(file, manifest)| Shown { file, manifest }).collect();
    session.output.show(&shown, |shown| shown.iter().map(render).collect::<Vec<_>>().join("\n"))
}

fn name_of(site: &Site) -> String {
    let now = SystemClock.now().to_zoned(jiff::tz::TimeZone::UTC);
    format!("{}-{}.marque-backup", site.trust_domain, now.strftime("%Y%m%dT%H%M%S%3fZ"))
}

async fn verify(session: &mut Session, file: &Path, work: &Work) -> Result<(), Failure> {
    let manifest = backup::verify(file, &SystemRandomness::default(), work)
        .await
        .map_err(|error| refused(&error))?;
    session.output.show(&Shown { file, manifest: &manifest }, render)
}

fn refused(error: &BackupError) -> Failure {
    let code = error.code();
    Failure::because("not done", error).code(Some(code.as_str().to_owned())).next(code.next())
}

/// A daemon that did not start or had to end; with the code of it and what to do, where it is its store that is refused.
pub(super) fn not_started(error: &anyhow::Error) -> Failure {
    let failure = Failure::because("cannot run", error.as_ref());
    match error.chain().find_map(|cause| cause.downcast_ref::<BackupError>()) {
        Some(refused) => {
            let code = refused.code();
            failure.code(Some(code.as_str().to_owned())).next(code.next())
        }
        None => failure,
    }
}

fn render(shown: &Shown<'_>) -> String {
    let Shown { file, manifest } = shown;
    let keys = manifest.authorities.iter();
    let elsewhere: Vec<&str> =
        keys.filter(|key| !key.key_included).map(|key| key.slot.as_str()).collect();
    pairs([
        ("backup", file.display().to_string()),
        ("trust domain", manifest.trust_domain.to_string()),
        ("environment", manifest.environment.to_string()),
        ("taken", manifest.taken_at.to_string()),
        ("engine", manifest.engine.clone()),
        ("log leaves", manifest.log.size.to_string()),
        ("log root", manifest.log.root.clone()),
        ("kill epoch", manifest.kill_epoch.to_string()),
        ("files", manifest.files.len().to_string()),
        ("keys not in it", if elsewhere.is_empty() { "-".to_owned() } else { elsewhere.join(" ") }),
    ])
}

fn render_restore(shown: &ShownRestore<'_>) -> String {
    let ShownRestore { trust_domain, replaced, checked, resumed, kept, manifest, .. } = shown;
    let before = replaced.map_or_else(|| "-".to_owned(), |path| path.display().to_string());
    let verb = match (checked, resumed) {
        (true, _) => "would restore",
        (false, true) => "was restored",
        (false, false) => "restored",
    };
    let list = |items: &[String]| if items.is_empty() { "-".to_owned() } else { items.join(" ") };
    let keys = kept
        .key_folder
        .map_or_else(|| list(kept.keys), |folder| format!("those of {}", folder.display()));
    pairs([
        (verb, trust_domain.clone()),
        ("as of", manifest.taken_at.to_string()),
        ("log leaves", manifest.log.size.to_string()),
        ("kill epoch", manifest.kill_epoch.to_string()),
        ("kept keys", keys),
        ("kept bundles", list(kept.bundles)),
        ("kept kills", kept.kills.to_string()),
        ("before", before),
    ])
}
