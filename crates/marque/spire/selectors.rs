//! The selectors of a process that mean the same in both.

use marque_registry::SpireEntry;
use marque_spiffe::{Selector, SelectorSet};

use super::NoteCode;
use super::convert::visible;

/// What the attestors of both find, under the same name and with the same meaning.
const SELECTORS: &[(&str, &[&str])] = &[
    (
        "unix",
        &[
            "uid",
            "user",
            "gid",
            "group",
            "supplementary_gid",
            "supplementary_group",
            "path",
            "sha256",
        ],
    ),
    ("docker", &["label", "env", "image_id", "image_config_digest"]),
    (
        "k8s",
        &[
            "ns",
            "sa",
            "container-name",
            "container-image",
            "node-name",
            "pod-label",
            "pod-owner",
            "pod-owner-uid",
            "pod-uid",
            "pod-name",
            "pod-image",
            "pod-image-count",
            "pod-init-image",
            "pod-init-image-count",
        ],
    ),
    ("systemd", &["id", "fragment_path"]),
];
/// Its selectors, all of which have to be known: without one it would be for more processes.
pub(super) fn selectors(entry: &SpireEntry) -> Result<SelectorSet, (NoteCode, String)> {
    let mut selectors = Vec::new();
    for text in &entry.selectors {
        let selector: Selector = text.parse().map_err(|error: marque_spiffe::SelectorError| {
            (NoteCode::Selector, format!("selector `{}`: {error}", visible(text)))
        })?;
        let what = selector.value().split(':').next().unwrap_or_default();
        let known =
            SELECTORS.iter().any(|(kind, known)| *kind == selector.kind() && known.contains(&what));
        if !known {
            let message = format!(
                "selector `{}`: nothing here finds it, and without it the entry would be for more processes",
                visible(text)
            );
            return Err((NoteCode::Selector, message));
        }
        selectors.push(selector);
    }
    Ok(selectors.into_iter().collect())
}
