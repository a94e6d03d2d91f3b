//! Ten thousand playbooks: how long the folder takes to read, what it holds in memory, and how long one is looked for.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use marque_intent::{PlaybookId, PlaybookSet};
use marque_spiffe::{Environment, SpiffeId, TrustDomain};

use crate::issuer::crowd;
use crate::support::folder;

const TRUST_DOMAIN: &str = "dev.example.org";
const PLAYBOOKS: usize = 10_000;
/// How often one is looked for.
const LOOKS: u32 = 100_000;

pub(crate) fn measure() {
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = scratch.path().join("t");
    folder::copy(&folder::shipped().join(TRUST_DOMAIN), &folder);
    let folder = folder.join("playbooks");
    crowd(&folder, PLAYBOOKS);
    let files: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();

    // Once before, so that both find the files in memory.
    let _warm = read_bare(&files);
    let floor = timed(|| read_bare(&files));
    let before = resident();
    let started = Instant::now();
    let set = load(&folder);
    let ours = started.elapsed();
    let held = resident().saturating_sub(before);

    println!("\n## {} playbooks", files.len());
    println!("\n| ratio | ours | ms | floor | ms |\n|---:|---|---:|---|---:|");
    println!(
        "| {:.2} | read, parse, lint, digest | {:.0} | read, parse as TOML | {:.0} |",
        ours.as_secs_f64() / floor.as_secs_f64(),
        millis(ours),
        millis(floor)
    );
    let each = held * 1024 / u64::try_from(files.len()).expect("few");
    println!("\nResident memory: {held} KiB, {each} bytes for each.");
    look(&set);
}

fn look(set: &PlaybookSet) {
    let id: PlaybookId = "restart-preview-5000".parse().expect("an id");
    let found = timed(|| {
        for _ in 0..LOOKS {
            divan::black_box(set.find(divan::black_box(&id)).expect("it is there"));
        }
    });
    let agent = format!("spiffe://{TRUST_DOMAIN}/agent/preview-restarter");
    let agent: SpiffeId = agent.parse().expect("an agent");
    let seen = timed(|| divan::black_box(set.visible_to(&agent).count()));
    println!(
        "One is found in {:.0} ns; those of one agent, nearly all, are listed in {:.1} ms.",
        found.as_secs_f64() * 1e9 / f64::from(LOOKS),
        millis(seen)
    );
}

fn load(folder: &Path) -> PlaybookSet {
    let trust_domain: TrustDomain = TRUST_DOMAIN.parse().expect("a trust domain");
    PlaybookSet::load(folder, &trust_domain, Environment::NonProduction).expect("playbooks")
}

/// What no reader of the folder can do without.
fn read_bare(files: &[PathBuf]) -> usize {
    files
        .iter()
        .map(|file| {
            let text = fs::read_to_string(file).expect("a file");
            text.parse::<toml::Table>().expect("TOML").len()
        })
        .sum()
}

fn timed<T>(call: impl FnOnce() -> T) -> Duration {
    let started = Instant::now();
    divan::black_box(call());
    started.elapsed()
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Of this process, in KiB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("the status of this process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
    kib.expect("its resident memory")
}
