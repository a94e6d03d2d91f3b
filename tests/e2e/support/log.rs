//! The exported log, read by its published layout and not by our own code.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::operator::Operator;

/// Exports the log and gives its leaves in their order, after `marque audit verify` has passed on daemon and copy.
pub(crate) async fn export(operator: &Operator, folder: &Path) -> Vec<Value> {
    let to = folder.display().to_string();
    operator.run(&["audit", "verify"]).await.succeeded();
    operator.run(&["audit", "export", "--to", &to]).await.succeeded();
    operator.run(&["audit", "verify", "--log", &to]).await.succeeded();
    leaves(folder)
}

/// The leaves of an exported log: C2SP tlog-tiles entry bundles, each entry behind its length in two bytes.
pub(crate) fn leaves(log: &Path) -> Vec<Value> {
    let mut bundles = Vec::new();
    collect(&log.join("tile").join("entries"), 0, &mut bundles);
    bundles.sort();
    let mut leaves = Vec::new();
    for (_index, bytes) in bundles {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
            leaves.push(serde_json::from_slice(&rest[2..2 + length]).expect("a leaf is JSON"));
            rest = &rest[2 + length..];
        }
    }
    leaves
}

/// The file with the first entries of an exported log.
pub(crate) fn first_bundle(log: &Path) -> PathBuf {
    let whole = log.join("tile/entries/000");
    if whole.exists() {
        return whole;
    }
    let mut partial = fs::read_dir(log.join("tile/entries/000.p")).expect("a partial bundle");
    partial.next().expect("a file").expect("an entry").path()
}

/// Finds bundles; the index of one is spread over its path: `x001/x234/567` is 1234567, `567.p/8` its first 8 entries.
fn collect(folder: &Path, prefix: u64, bundles: &mut Vec<(u64, Vec<u8>)>) {
    for entry in
        fs::read_dir(folder).unwrap_or_else(|error| panic!("read {}: {error}", folder.display()))
    {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        if let Some(partial) = name.strip_suffix(".p") {
            let index = prefix * 1000 + partial.parse::<u64>().expect("an index");
            let widest = fs::read_dir(&path)
                .expect("a partial bundle")
                .map(|entry| entry.expect("an entry").path())
                .max_by_key(|path| width(path))
                .expect("a partial bundle has a file");
            bundles.push((index, fs::read(widest).expect("a bundle")));
        } else if let Some(part) = name.strip_prefix('x') {
            collect(&path, prefix * 1000 + part.parse::<u64>().expect("an index"), bundles);
        } else {
            bundles.push((
                prefix * 1000 + name.parse::<u64>().expect("an index"),
                fs::read(&path).expect("a bundle"),
            ));
        }
    }
}

fn width(path: &Path) -> u64 {
    path.file_name()
        .and_then(|name| name.to_str())
        .and_then(|name| name.parse().ok())
        .expect("a width")
}
