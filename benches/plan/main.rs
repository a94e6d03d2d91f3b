//! What a plan over 10,000 entries costs, beside reading one of the two folders.
//!
//! `cargo bench --bench plan` prints divan's figures.

#![expect(clippy::expect_used, reason = "a benchmark fails by a panic that says why")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use divan::Bencher;
use marque::issuer::folder::{CheckedFolder, check};
use marque::plan::Plan;
use tempfile::TempDir;

const ENTRIES: usize = 10_000;
const IN_A_FILE: usize = 1000;

fn main() {
    divan::main();
}

/// The shipped production trust domain with 10,000 entries, of which the last `others` have another selector.
fn folder(others: usize) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    copy(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("trust-domains/prod.example.org"),
        folder.path(),
    );
    for file in 0..ENTRIES / IN_A_FILE {
        let mut text = String::new();
        for index in file * IN_A_FILE..(file + 1) * IN_A_FILE {
            let user = if index + others >= ENTRIES { "other" } else { "user" };
            writeln!(
                text,
                "[[entry]]\nid = \"e{index}\"\nspiffe_id = \"spiffe://prod.example.org/load/{index}\"\nrole = \"service\"\n\
                 owner = \"group:load\"\nexpires_at = \"2031-01-01T00:00:00Z\"\nselectors = [\"unix:user:{user}-{index}\", \"unix:path:/bin/{index}\"]"
            )
            .expect("a text takes more");
        }
        fs::write(folder.path().join(format!("entries/load-{file}.toml")), text).expect("a file");
    }
    folder
}

fn copy(from: &Path, to: &Path) {
    for item in fs::read_dir(from).expect("a folder") {
        let item = item.expect("a file");
        let target = to.join(item.file_name());
        if item.path().is_dir() {
            fs::create_dir_all(&target).expect("a folder");
            copy(&item.path(), &target);
        } else {
            fs::copy(item.path(), target).expect("a copy");
        }
    }
}

fn checked(folder: &TempDir) -> CheckedFolder {
    check(folder.path()).expect("a sound folder")
}

#[divan::bench(sample_count = 20)]
fn plan_of_one_change_in_10_000_entries(bencher: Bencher<'_, '_>) {
    let (before, after) = (folder(0), folder(1));
    let (before, after) = (checked(&before), checked(&after));
    bencher.bench_local(|| Plan::between([&before], [&after]));
}

#[divan::bench(sample_count = 20)]
fn plan_of_10_000_changes(bencher: Bencher<'_, '_>) {
    let (before, after) = (folder(0), folder(ENTRIES));
    let (before, after) = (checked(&before), checked(&after));
    bencher.bench_local(|| Plan::between([&before], [&after]));
}

#[divan::bench(sample_count = 5)]
fn reading_10_000_entries(bencher: Bencher<'_, '_>) {
    let folder = folder(0);
    bencher.bench_local(|| checked(&folder));
}
