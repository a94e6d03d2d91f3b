//! The id of a playbook.

use crate::short_name::short_name;

short_name! {
    /// A playbook's id: 1 to 63 of `a-z 0-9 -`.
    PlaybookId up to 63;
    /// The text is not the id of a playbook.
    PlaybookIdError "a playbook id has 1 to 63 of the characters `a-z`, `0-9` and `-`"
}
