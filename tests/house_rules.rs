//! House rules that no compiler checks: what may stand in the lock file, which licences may come along, that each
//! package opts in to the workspace lints, and that the requirements map names tests that exist.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests; the lint settings cover test functions alone"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A second TLS or cryptography stack; ring and rustls are the only ones (docs/adr/0001).
const BANNED_PACKAGES: &[&str] = &[
    "aws-lc-rs",
    "aws-lc-sys",
    "native-tls",
    "openssl",
    "openssl-sys",
    "openssl-probe",
    "boring",
    "boring-sys",
];

/// RustCrypto pieces that may be in the lock file, each with the dependency that brings it.
const RUST_CRYPTO: &[(&str, &str)] = &[
    (
        "ed25519-dalek",
        "jsonwebtoken, the verifier of the demo's resource server that is not ours; openidconnect, a client of the tests",
    ),
    ("p256", "jsonwebtoken; openidconnect"),
    ("p384", "jsonwebtoken; openidconnect"),
    (
        "rsa",
        "marque-keys, which makes RSA keys and signs nothing with it; jsonwebtoken; openidconnect",
    ),
];

const ALLOWED_LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

#[test]
fn the_lock_file_holds_one_tls_stack() {
    let names = locked_packages();
    let banned: Vec<_> = BANNED_PACKAGES.iter().filter(|name| names.contains(**name)).collect();
    assert!(
        banned.is_empty(),
        "banned packages in Cargo.lock: {banned:?}; see `cargo tree -i <name>`"
    );
    assert!(
        names.contains("ring") && names.contains("rustls"),
        "the lock file was not read as expected"
    );
}

#[test]
fn rust_crypto_signature_crates_are_listed_with_their_reason() {
    let names = locked_packages();
    for signature_crate in
        ["p256", "p384", "p521", "k256", "rsa", "dsa", "ed25519-dalek", "ed448-goldilocks"]
    {
        let listed = RUST_CRYPTO.iter().any(|(name, _)| *name == signature_crate);
        assert!(
            !names.contains(signature_crate) || listed,
            "`{signature_crate}` came into Cargo.lock; our own signatures are ring's, list who brings it"
        );
    }
}

#[test]
fn every_licence_is_on_the_list() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root())
        .output()
        .expect("cargo metadata runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("metadata is JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    assert!(packages.len() > 100, "metadata was not read as expected");
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let text = package["license"].as_str().unwrap_or_default();
        let expression = spdx::Expression::parse_mode(text, spdx::ParseMode::LAX)
            .unwrap_or_else(|error| panic!("licence of `{name}`: {error}"));
        let allowed = expression
            .evaluate(|requirement| ALLOWED_LICENCES.contains(&requirement.to_string().as_str()));
        assert!(allowed, "`{name}` has the licence `{text}`, which is not on the list");
    }
}

#[test]
fn every_package_opts_in_to_the_workspace_lints() {
    let mut manifests: Vec<PathBuf> = fs::read_dir(root().join("crates"))
        .expect("crates/")
        .map(|entry| entry.expect("entry").path().join("Cargo.toml"))
        .filter(|path| path.exists())
        .collect();
    manifests.push(root().join("Cargo.toml"));
    assert!(manifests.len() > 10, "manifests were not found as expected");
    for manifest in manifests {
        let text = fs::read_to_string(&manifest).expect("manifest");
        let table: toml::Table = text.parse().expect("manifest is TOML");
        assert_eq!(
            table
                .get("lints")
                .and_then(|lints| lints.get("workspace"))
                .and_then(toml::Value::as_bool),
            Some(true),
            "{} does not opt in to [workspace.lints]",
            manifest.display()
        );
    }
}

#[test]
fn every_test_named_in_the_requirements_map_exists() {
    let map =
        fs::read_to_string(root().join("docs/requirements.md")).expect("docs/requirements.md");
    let named = tests_named_in(&map);
    assert!(named.len() > 20, "the map names only {} tests: was it read as expected?", named.len());
    let sources = rust_sources();
    for name in named {
        let function = name.rsplit("::").next().unwrap_or(&name);
        let declaration = format!("fn {function}(");
        let python = format!("def {function}(");
        assert!(
            sources.iter().any(|source| source.contains(&declaration) || source.contains(&python)),
            "docs/requirements.md names the test `{name}`, which does not exist"
        );
    }
}

#[test]
fn every_requirement_has_one_row_and_every_failure_mode_a_test_of_its_name() {
    let map =
        fs::read_to_string(root().join("docs/requirements.md")).expect("docs/requirements.md");
    let (requirements, modes) = map.split_once("## Failure modes").expect("the failure modes");
    let rows = |text: &str| -> Vec<Vec<String>> {
        text.lines()
            .filter(|line| line.starts_with("| M "))
            .map(|line| line.split('|').map(|cell| cell.trim().to_owned()).collect())
            .collect()
    };
    let mut seen = BTreeSet::new();
    for row in rows(requirements) {
        assert!(seen.insert(row[1].clone()), "{} has two rows", row[1]);
        let number = row[1].strip_prefix("M ").and_then(|number| number.parse::<u32>().ok());
        assert!(number.is_some(), "`{}` is no single number", row[1]);
    }
    let modes = rows(modes);
    assert!(modes.len() >= 20, "the failure modes were not read as expected");
    for row in modes {
        let name = row[2].replace([' ', '-'], "_");
        assert!(row[3].starts_with(&format!("`{name}")), "{} is shown by {}", row[2], row[3]);
    }
}

/// Where the marks of a token's end are touched, each with its reason.
const MARKS_OF_THE_END: &[(&str, &str)] = &[
    ("crates/exchange/live.rs", "the one answer to whether a token is live"),
    ("crates/exchange/ending.rs", "sets them, and leaves those alone that are set"),
    ("crates/exchange/token.rs", "the instant, for storage"),
    ("crates/store/sqlite/save.rs", "writes the instant into its column"),
    ("crates/store/postgres/save.rs", "writes the instant into its column"),
    ("crates/marque/cli/token.rs", "shows them to operators, beside the answer"),
    ("crates/marque/grpc/admin/tokens.rs", "tells them, to be held against the log's records"),
];

#[test]
fn cve_2026_8922_only_one_place_decides_whether_a_token_is_live() {
    let marks = [".revoked_at", ".used_at", ".ended_at()"];
    let mut touched = BTreeSet::new();
    for (path, source) in files_of(&["rs"], &["crates"]) {
        let path = path.strip_prefix(root()).expect("below the root").display().to_string();
        let is_test = path.contains("/tests/")
            || path.ends_with("/tests.rs")
            || path.contains("/fixture")
            || path.starts_with("crates/testkit/");
        let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        if !is_test && marks.iter().any(|mark| code.contains(mark)) {
            touched.insert(path);
        }
    }
    let listed: BTreeSet<String> =
        MARKS_OF_THE_END.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(
        touched, listed,
        "whether a token may be used is `marque_exchange::is_live`'s to say and nobody else's; if something else has to \
         touch the marks of its end, list it with its reason"
    );
}

#[test]
fn no_private_key_is_committed() {
    let output = Command::new("git")
        .args(["grep", "-lE", "BEGIN (EC |RSA |ED25519 |)PRIVATE KEY"])
        .current_dir(root())
        .output();
    let Ok(output) = output else {
        eprintln!("skipped: git is not at hand");
        return;
    };
    let found = String::from_utf8_lossy(&output.stdout);
    let found: Vec<_> = found.lines().filter(|file| !file.ends_with("house_rules.rs")).collect();
    assert!(found.is_empty(), "private keys in the tree: {found:?}");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn locked_packages() -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock");
    let lock: toml::Table = text.parse().expect("Cargo.lock is TOML");
    lock["package"]
        .as_array()
        .expect("packages")
        .iter()
        .map(|package| package["name"].as_str().expect("name").to_owned())
        .collect()
}

/// Test names stand in the last column of the map's tables, in backticks.
fn tests_named_in(map: &str) -> BTreeSet<String> {
    map.lines()
        .filter(|line| line.starts_with("| M "))
        .filter_map(|line| line.trim_end_matches(['|', ' ']).rsplit('|').next())
        .flat_map(|column| column.split('`').skip(1).step_by(2))
        .map(ToOwned::to_owned)
        .collect()
}

fn rust_sources() -> Vec<String> {
    let files = files_of(&["rs", "py"], &["crates", "tests"]);
    files.into_iter().map(|(_, source)| source).collect()
}

/// The texts of all files of these kinds in these folders and below.
fn files_of(extensions: &[&str], folders: &[&str]) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("folder").map(|entry| entry.expect("entry").path())
        {
            let extension = entry.extension().and_then(|extension| extension.to_str());
            if entry.is_dir() {
                folders.push(entry);
            } else if extension.is_some_and(|extension| extensions.contains(&extension)) {
                let source = fs::read_to_string(&entry).expect("source");
                files.push((entry, source));
            }
        }
    }
    files
}

/// Codes of the table (docs/denials.md) that nothing gives yet, each with what will.
const NOT_GIVEN_YET: &[(&str, &[&str])] = &[
    (
        "the gateway, which looks at every call",
        &[
            "purpose_mismatch",
            "drift_detected",
            "tool_not_in_grant",
            "tool_definition_changed",
            "tool_ambiguous",
            "call_header_body_mismatch",
            "tool_argument_denied",
            "resource_not_in_grant",
            "data_class_denied",
            "record_limit",
            "destructive_limit",
            "min_interval",
            "vault_unavailable",
            "upstream_unreachable",
            "outcome_ambiguous",
            "token_reused_elsewhere",
        ],
    ),
    (
        "kills of delegators, tenants and tools, which the kill switch does not have yet",
        &["kill_switch_delegator", "kill_switch_tenant", "kill_switch_tool"],
    ),
    (
        "people's sessions and rights at their own provider, which nobody asks",
        &["delegator_session_ended", "exceeds_delegator_rights"],
    ),
    (
        "shared identities, which are refused at the Workload API with a code of its own",
        &["shared_identity_detected"],
    ),
];

#[test]
fn every_denial_code_is_given_somewhere_or_says_what_will_give_it() {
    let root = root();
    let table = fs::read_to_string(root.join("crates/intent/denial/codes.rs")).expect("the table");
    let codes: Vec<(String, String)> = table
        .lines()
        .filter_map(|line| {
            let mut words = line.strip_prefix("    ")?.split(' ');
            let (variant, code) = (words.next()?, words.next()?);
            let code = code.strip_prefix('"')?.strip_suffix('"')?;
            let is_variant = variant.starts_with(|first: char| first.is_ascii_uppercase());
            is_variant.then(|| (format!("DenialCode::{variant}"), code.to_owned()))
        })
        .collect();
    assert!(codes.len() > 80, "the table is read wrongly");
    let mut sources = String::new();
    read_sources(&root.join("crates"), &mut sources);
    let said: Vec<&str> =
        NOT_GIVEN_YET.iter().flat_map(|(_, codes)| codes.iter().copied()).collect();
    let is_given = |variant: &str| {
        let mut rests = sources.split(variant).skip(1);
        rests.any(|rest| !rest.starts_with(|next: char| next.is_ascii_alphanumeric()))
    };
    let dead: Vec<&str> = codes
        .iter()
        .filter(|(variant, _)| !is_given(variant))
        .map(|(_, code)| code.as_str())
        .filter(|code| !said.contains(code))
        .collect();
    assert!(dead.is_empty(), "codes that nothing gives: {dead:?}");
    let unknown: Vec<_> =
        said.iter().filter(|code| !codes.iter().any(|(_, known)| known == *code)).collect();
    assert!(unknown.is_empty(), "codes that are not in the table: {unknown:?}");
}

/// Everything but tests, and the table with what explains it.
fn read_sources(folder: &Path, sources: &mut String) {
    for item in fs::read_dir(folder).expect("a folder") {
        let path = item.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            let tests = ["tests", "negative", "fixture", "testdata", "testkit"];
            if !tests.contains(&name) {
                read_sources(&path, sources);
            }
        } else if name.ends_with(".rs")
            && !["tests.rs", "codes.rs", "guide.rs", "model.rs", "fixtures.rs"].contains(&name)
        {
            sources.push_str(&fs::read_to_string(&path).expect("a source"));
        }
    }
}
