//! The findings of other rooms as those of a folder, each with its code.

use marque_intent::PlaybookFinding;
use marque_policy::PolicyFinding;
use marque_registry::{Finding, FindingCode};

/// How the reader of a document says what kind of thing is wrong: a text of its messages, and the code for it.
const SAID: [(&str, FindingCode); 6] = [
    ("missing field `owner`", FindingCode::OwnerMissing),
    ("missing field `", FindingCode::FieldMissing),
    ("unknown field `", FindingCode::FieldUnknown),
    ("invalid type: ", FindingCode::FieldType),
    ("unknown variant `", FindingCode::FieldValue),
    ("and so names everybody", FindingCode::PatternNamesEverybody),
];

pub(super) fn of_playbook(found: PlaybookFinding) -> Finding {
    let PlaybookFinding { file, line, message } = found;
    let code = SAID.iter().find(|(said, _)| message.contains(said)).map(|(_, code)| *code);
    let finding = Finding::new(&file, line, message);
    match code {
        Some(code) => finding.coded(code),
        None => finding,
    }
}

pub(super) fn of_policy(found: PolicyFinding) -> Finding {
    let PolicyFinding { file, line, message } = found;
    Finding::new(&file, line, message)
}
