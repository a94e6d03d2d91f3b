//! The corpora of the fuzz targets as ordinary tests: what a fuzzer once found, or a person thought of, is tried each time.

#![expect(
    clippy::expect_used,
    reason = "helpers of tests; the lint settings cover test functions alone"
)]

#[path = "../fuzz/checks.rs"]
mod checks;

use std::fs;
use std::path::Path;

/// Runs `check` over every file of a corpus, and over each with a byte missing, doubled or flipped.
fn over_corpus(name: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut files = 0;
    for file in fs::read_dir(&folder).expect("a corpus") {
        let bytes = fs::read(file.expect("a file").path()).expect("a file");
        files += 1;
        check(&bytes);
        // The neighbourhood of what is valid is where parsers differ; a large file gets fewer places.
        let step = (bytes.len() / 256).max(1);
        for at in (0..bytes.len()).step_by(step) {
            check(bytes.get(..at).unwrap_or_default());
            let mut near = bytes.clone();
            if let Some(byte) = near.get_mut(at) {
                *byte ^= 1 << (at % 8);
            }
            check(&near);
            near.insert(at, 0x22);
            check(&near);
        }
    }
    assert!(files >= 3, "{name} has {files} files: was it read as expected?");
}

#[test]
fn spiffe_ids() {
    over_corpus("spiffe_id", checks::spiffe_id);
}

#[test]
fn bundles() {
    over_corpus("bundle", checks::bundle);
}

#[test]
fn downstream_requests() {
    over_corpus("downstream_request", checks::downstream_request);
}

#[test]
fn signed_authorities() {
    over_corpus("signed_authority", checks::signed_authority);
}

#[test]
fn x509_svids() {
    over_corpus("x509_svid", checks::x509_svid);
}

#[test]
fn wit_svids() {
    over_corpus("wit_svid", checks::wit_svid);
}

#[test]
fn dpop_proofs() {
    over_corpus("dpop_proof", checks::dpop_proof);
}

#[test]
fn security_events() {
    over_corpus("security_event", checks::security_event);
}

#[test]
fn inventory_files() {
    over_corpus("inventory_file", checks::inventory_file);
}

#[test]
fn what_spire_prints() {
    over_corpus("spire", checks::spire);
}

#[test]
fn bundle_maps() {
    over_corpus("bundle_map", checks::bundle_map);
}

#[test]
fn jwt_svids() {
    over_corpus("jwt_svid", checks::jwt_svid);
}

#[test]
fn cgroup_files() {
    over_corpus("cgroup", checks::cgroup);
}

#[test]
fn proc_files() {
    over_corpus("proc_file", checks::proc_file);
}

#[test]
fn forms() {
    over_corpus("form", checks::form);
}

#[test]
fn token_requests() {
    over_corpus("token_request", checks::token_request);
}

#[test]
fn authorization_details() {
    over_corpus("authorization_details", checks::authorization_details);
}

#[test]
fn workload_proofs() {
    over_corpus("workload_proof", checks::workload_proof);
}

#[test]
fn attestation_proofs() {
    over_corpus("attestation_proof", checks::attestation_proof);
}

#[test]
fn playbooks() {
    over_corpus("playbook", checks::playbook);
}

#[test]
fn parameters_of_playbooks() {
    over_corpus("parameters", checks::parameters);
}

#[test]
fn templates_of_playbooks() {
    over_corpus("template", checks::template);
}

#[test]
fn comparisons_of_rights() {
    over_corpus("rights", checks::rights);
}

#[test]
fn narrowings_of_rights() {
    over_corpus("narrowing", checks::narrowing);
}

#[test]
fn exceptions_to_playbooks() {
    over_corpus("exception", checks::exception);
}

#[test]
fn witness_answers() {
    over_corpus("witness_answer", checks::witness_answer);
}

#[test]
fn tlog_proofs() {
    over_corpus("tlog_proof", checks::tlog_proof);
}

#[test]
fn tile_paths() {
    over_corpus("tile_path", checks::tile_path);
}

#[test]
fn windows() {
    over_corpus("window", checks::window);
}

#[test]
fn calendars() {
    over_corpus("calendar", checks::calendar);
}

#[test]
fn traceparents() {
    over_corpus("traceparent", checks::traceparent);
}

#[test]
fn kills() {
    over_corpus("kill", checks::kill);
}

#[test]
fn entry_templates() {
    over_corpus("entry_template", checks::entry_template);
}

#[test]
fn backups() {
    over_corpus("backup", checks::backup);
}
