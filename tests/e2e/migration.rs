//! `marque import spire`: from what a SPIRE server prints to a folder that is served.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::operator::{Said, run_marque};

fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/registry/spire/tests").join(name)
}

async fn import(out: &Path, more: &[&str]) -> Said {
    let (entries, bundles) = (recorded("entries.json"), recorded("bundles.json"));
    let paths = [entries, bundles, out.to_owned()].map(|path| path.display().to_string());
    let [entries, bundles, out] = &paths;
    let all = [
        &[
            "--output",
            "json",
            "import",
            "spire",
            "--entries",
            entries,
            "--bundles",
            bundles,
            "--out",
            out,
            "--environment",
            "production",
            "--owner",
            "group:platform",
            "--agents",
            "spiffe://example.org/agent/*",
        ],
        more,
    ]
    .concat();
    run_marque(&all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>()).await
}

#[tokio::test]
async fn what_spire_prints_becomes_a_folder_that_the_check_accepts() {
    let scratch = TempDir::new().unwrap();
    let out = scratch.path().join("example.org");
    let unsaid = import(&out, &["--dry-run"]).await;
    assert_eq!(unsaid.code, 2, "{unsaid:?}");
    assert!(unsaid.err.contains("--partner partner.example.org=production"), "{unsaid:?}");
    let with =
        |more: &[&'static str]| [&["--partner", "partner.example.org=production"], more].concat();
    let file = scratch.path().join("report.json").display().to_string();
    let dry = [&with(&["--dry-run", "--report"])[..], &[&file]].concat();
    let dry = import(&out, &dry).await.succeeded().json();
    assert!(dry.get("folder").is_none() && !out.exists(), "{dry:#}");
    let written: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!(written, dry, "the same into a file");
    let parents = dry["notes"].as_array().unwrap().iter().filter(|note| note["code"] == "parent");
    assert!(
        parents.clone().count() > 0 && parents.clone().all(|note| note["lost"].is_array()),
        "{dry:#}"
    );
    let strict = import(&out, &with(&["--strict"])).await.failed();
    assert!(strict.err.contains("left out") && !out.exists(), "{strict:?}");
    let report = import(&out, &with(&[])).await.succeeded().json();
    assert_eq!(report["notes"], dry["notes"]);
    let left_out = report["left_out"].as_u64().unwrap();
    let merged = report["notes"].as_array().unwrap().iter().filter(|note| note["code"] == "merged");
    let read =
        report["entries"].as_u64().unwrap() + left_out + u64::try_from(merged.count()).unwrap();
    assert_eq!(
        report["read"], read,
        "each entry is there, or said to be left out or one with another"
    );
    let folder = out.display().to_string();
    let check = ["--output".to_owned(), "json".to_owned(), "check".to_owned(), folder];
    let checked = run_marque(&check).await.succeeded().json();
    assert_eq!(checked["trust_domains"][0]["entries"], report["entries"]);
    let again = import(&out, &with(&[])).await.failed();
    assert!(again.err.contains("is there already"), "{again:?}");
}

#[tokio::test]
async fn a_file_that_is_not_spires_says_so() {
    let scratch = TempDir::new().unwrap();
    let file = scratch.path().join("entries.json");
    fs::write(&file, "Found 1 entry\n").unwrap();
    let (file, out) = (file.display().to_string(), scratch.path().join("x").display().to_string());
    let arguments = [
        "import",
        "spire",
        "--entries",
        &file,
        "--out",
        &out,
        "--environment",
        "production",
        "--owner",
        "a",
    ]
    .map(ToOwned::to_owned);
    let said = run_marque(&arguments).await.failed();
    assert!(said.err.contains("is no JSON") && said.err.contains("-output json"), "{said:?}");
}
