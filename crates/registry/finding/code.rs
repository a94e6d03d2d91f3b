//! The stable codes of findings, and what to do about each.

use std::fmt;
use std::path::Path;

/// What kind of thing is wrong in a folder. The texts are stable; docs/check.md has them as a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FindingCode {
    /// A file cannot be read.
    FileUnreadable,
    /// A file is no TOML.
    TomlSyntax,
    /// A field that the format does not have.
    FieldUnknown,
    /// A field that has to be there is not.
    FieldMissing,
    /// A value is of another kind.
    FieldType,
    /// A value is of the right kind and not one that is taken.
    FieldValue,
    /// Nobody answers for it (M 27).
    OwnerMissing,
    /// Something crosses from one environment to the other.
    EnvironmentBoundary,
    /// Something in `trust-domain.toml` that has no code of its own.
    TrustDomainInvalid,
    /// Something in `entries/` that has no code of its own.
    EntryInvalid,
    /// Something in `playbooks/` that has no code of its own.
    PlaybookInvalid,
    /// Something in `exceptions/` that has no code of its own.
    ExceptionInvalid,
    /// Something in `calendars/` that has no code of its own.
    CalendarInvalid,
    /// Something in `rosters/` that has no code of its own.
    RosterInvalid,
    /// Something in `roles/` that has no code of its own.
    RoleInvalid,
    /// Something in `policy/` that has no code of its own.
    PolicyInvalid,
    /// A bundle, a key set, a certificate or a revocation list that is none.
    FileInvalid,
    /// There is no trust domain in the folder.
    FolderWithoutTrustDomain,
    /// Two folders are of one trust domain.
    TrustDomainTwice,
    /// Two entries have one id.
    EntryDuplicateId,
    /// Two entries have one SPIFFE ID and do not both say that they share it (M 1).
    EntryDuplicateSpiffeId,
    /// The SPIFFE ID is of another trust domain, has no path or a reserved one.
    EntryOutsideTrustDomain,
    /// A lifetime is longer than the trust domain's.
    EntryOverCeiling,
    /// An entry asks for the bundle of a trust domain that is not federated with.
    EntryNotFederated,
    /// An entry or a template never ends by itself (M 25).
    EntryNoExpiry,
    /// An entry or a template has ended.
    EntryExpired,
    /// Entries share one identity, and say why.
    EntryShared,
    /// The playbooks that an identity may ask for permit, together, all that a human role does (M 11).
    EntryHumanRole,
    /// A pattern over SPIFFE IDs has a wildcard at its root.
    PatternNamesEverybody,
    /// Something names a thing that is not there.
    ReferenceUnknown,
    /// A case of `policy/tests` or `playbooks/tests` comes out otherwise.
    CaseFailed,
    /// A playbook permits all that a human role does (M 11).
    PlaybookHumanRole,
    /// A playbook is of another tenant.
    PlaybookForeignTenant,
    /// Production only observes a playbook, without an end.
    PlaybookObservedForEver,
    /// A playbook's `review_by` has passed.
    PlaybookReviewOverdue,
    /// A playbook is about to go.
    PlaybookDeprecated,
    /// An exception has ended.
    ExceptionEnded,
    /// An exception's `review_by` has passed.
    ExceptionReviewOverdue,
    /// A calendar's `review_by` has passed.
    CalendarReviewOverdue,
    /// Roots with name constraints, below which many clients refuse everything.
    AuthorityNameConstraints,
}

impl FindingCode {
    /// Every code.
    pub const ALL: &'static [Self] = &[
        Self::FileUnreadable,
        Self::TomlSyntax,
        Self::FieldUnknown,
        Self::FieldMissing,
        Self::FieldType,
        Self::FieldValue,
        Self::OwnerMissing,
        Self::EnvironmentBoundary,
        Self::TrustDomainInvalid,
        Self::EntryInvalid,
        Self::PlaybookInvalid,
        Self::ExceptionInvalid,
        Self::CalendarInvalid,
        Self::RosterInvalid,
        Self::RoleInvalid,
        Self::PolicyInvalid,
        Self::FileInvalid,
        Self::FolderWithoutTrustDomain,
        Self::TrustDomainTwice,
        Self::EntryDuplicateId,
        Self::EntryDuplicateSpiffeId,
        Self::EntryOutsideTrustDomain,
        Self::EntryOverCeiling,
        Self::EntryNotFederated,
        Self::EntryNoExpiry,
        Self::EntryExpired,
        Self::EntryShared,
        Self::EntryHumanRole,
        Self::PatternNamesEverybody,
        Self::ReferenceUnknown,
        Self::CaseFailed,
        Self::PlaybookHumanRole,
        Self::PlaybookForeignTenant,
        Self::PlaybookObservedForEver,
        Self::PlaybookReviewOverdue,
        Self::PlaybookDeprecated,
        Self::ExceptionEnded,
        Self::ExceptionReviewOverdue,
        Self::CalendarReviewOverdue,
        Self::AuthorityNameConstraints,
    ];

    /// The code as text: `a-z` and `_`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.told().0
    }

    /// What to do about it, as one sentence.
    #[must_use]
    pub const fn help(self) -> &'static str {
        self.told().1
    }

    /// The code of whatever is wrong in a file and has no code of its own: by where the file lies.
    #[must_use]
    pub fn of_place(file: &Path) -> Self {
        let toml = file.extension().is_some_and(|ending| ending == "toml");
        if file.ends_with("trust-domain.toml") {
            return Self::TrustDomainInvalid;
        }
        let folders = file.ancestors().filter_map(|folder| folder.file_name());
        let mut places = folders.filter_map(|name| match name.to_str()? {
            "entries" if toml => Some(Self::EntryInvalid),
            "playbooks" if toml => Some(Self::PlaybookInvalid),
            "exceptions" if toml => Some(Self::ExceptionInvalid),
            "calendars" if toml => Some(Self::CalendarInvalid),
            "rosters" if toml => Some(Self::RosterInvalid),
            "roles" if toml => Some(Self::RoleInvalid),
            "policy" => Some(Self::PolicyInvalid),
            _ => None,
        });
        places.next().unwrap_or(Self::FileInvalid)
    }

    const fn told(self) -> (&'static str, &'static str) {
        match self {
            Self::FileUnreadable => (
                "file_unreadable",
                "make the file readable for whoever runs this, below 1 MiB and in UTF-8",
            ),
            Self::TomlSyntax => (
                "toml_syntax",
                "repair the TOML at this line; https://toml.io says how it is written",
            ),
            Self::FieldUnknown => (
                "field_unknown",
                "correct the field's name, or delete it: an unknown field is refused, because a misspelt setting would silently do nothing",
            ),
            Self::FieldMissing => {
                ("field_missing", "add the field; `marque schema` says what it takes")
            }
            Self::FieldType => ("field_type", "write a value of the kind that the finding names"),
            Self::FieldValue => (
                "field_value",
                "write a value that the finding describes; `marque schema` has the whole format",
            ),
            Self::OwnerMissing => (
                "owner_missing",
                "say with `owner` who answers for it, such as `group:platform-sre`",
            ),
            Self::EnvironmentBoundary => (
                "environment_boundary",
                "name nothing of the other environment: production and non-production share nothing",
            ),
            Self::TrustDomainInvalid => {
                ("trust_domain_invalid", "change trust-domain.toml as the finding says")
            }
            Self::EntryInvalid => ("entry_invalid", "change the entry as the finding says"),
            Self::PlaybookInvalid => (
                "playbook_invalid",
                "change the playbook as the finding says; `marque playbook lint` says more of it",
            ),
            Self::ExceptionInvalid => {
                ("exception_invalid", "change the exception as the finding says, or delete it")
            }
            Self::CalendarInvalid => {
                ("calendar_invalid", "change the calendar as the finding says")
            }
            Self::RosterInvalid => ("roster_invalid", "change the roster as the finding says"),
            Self::RoleInvalid => ("role_invalid", "change the role as the finding says"),
            Self::PolicyInvalid => (
                "policy_invalid",
                "change the policy as the finding says; `marque policy` tries it without a daemon",
            ),
            Self::FileInvalid => {
                ("file_invalid", "replace the file by one that the finding describes")
            }
            Self::FolderWithoutTrustDomain => (
                "folder_without_trust_domain",
                "name a folder with a trust-domain.toml, or a folder of such folders",
            ),
            Self::TrustDomainTwice => {
                ("trust_domain_twice", "keep one of the two folders: a trust domain has one")
            }
            Self::EntryDuplicateId => {
                ("entry_duplicate_id", "give one of the two entries another id")
            }
            Self::EntryDuplicateSpiffeId => (
                "entry_duplicate_spiffe_id",
                "give each agent a SPIFFE ID of its own; where two entries are one identity on purpose, write `shared = true` and a `reason` in both",
            ),
            Self::EntryOutsideTrustDomain => (
                "entry_outside_trust_domain",
                "give the entry a SPIFFE ID of this trust domain, with a path that is not below /marque or /spire",
            ),
            Self::EntryOverCeiling => {
                ("entry_over_ceiling", "shorten the lifetime, or raise the ceiling in [lifetimes]")
            }
            Self::EntryNotFederated => (
                "entry_not_federated",
                "add a [[federation]] for that trust domain, or take it out of `federates_with`",
            ),
            Self::EntryNoExpiry => (
                "entry_no_expiry",
                "say with `expires_at` when the entry ends by itself; renew it while it is in use",
            ),
            Self::EntryExpired => {
                ("entry_expired", "delete the entry, or give it a later `expires_at`")
            }
            Self::EntryShared => (
                "entry_shared",
                "nothing, as long as the reason holds; `marque report shared-identities` lists it",
            ),
            Self::EntryHumanRole => (
                "entry_human_role",
                "let other identities ask for some of the playbooks: no agent has all the permissions of a person's admin role",
            ),
            Self::PatternNamesEverybody => (
                "pattern_names_everybody",
                "begin the path with a name: a pattern whose path begins with `*` is for everybody",
            ),
            Self::ReferenceUnknown => {
                ("reference_unknown", "add what is named, or correct the name")
            }
            Self::CaseFailed => (
                "case_failed",
                "repair the policy or the playbook, or the case if it expects the wrong thing",
            ),
            Self::PlaybookHumanRole => (
                "playbook_human_role",
                "split the playbook: no agent has all the permissions of a person's admin role",
            ),
            Self::PlaybookForeignTenant => {
                ("playbook_foreign_tenant", "write the trust domain's own `tenant`")
            }
            Self::PlaybookObservedForEver => (
                "playbook_observed_for_ever",
                "set `observe_until` in [decisions], or `enforcement = \"enforce\"`",
            ),
            Self::PlaybookReviewOverdue => {
                ("playbook_review_overdue", "review the playbook and set `review_by` anew")
            }
            Self::PlaybookDeprecated => {
                ("playbook_deprecated", "move its agents to the successor, then delete it")
            }
            Self::ExceptionEnded => ("exception_ended", "delete the exception"),
            Self::ExceptionReviewOverdue => (
                "exception_review_overdue",
                "review the exception and set `review_by` anew, or delete it",
            ),
            Self::AuthorityNameConstraints => (
                "authority_name_constraints",
                "leave `name_constraints` out of [authorities] unless every client of the trust domain is of Go or OpenSSL",
            ),
            Self::CalendarReviewOverdue => {
                ("calendar_review_overdue", "review the calendar and set `review_by` anew")
            }
        }
    }
}

impl fmt::Display for FindingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_a_text_of_its_own_and_says_what_to_do() {
        let mut seen = std::collections::BTreeSet::new();
        for code in FindingCode::ALL {
            assert!(seen.insert(code.as_str()), "{code} twice");
            assert!(code.as_str().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
            assert!(code.help().len() > 10, "{code}");
        }
    }

    #[test]
    fn a_file_has_the_code_of_its_place() {
        for (file, code) in [
            ("td/trust-domain.toml", FindingCode::TrustDomainInvalid),
            ("td/entries/a.toml", FindingCode::EntryInvalid),
            ("td/playbooks/a.toml", FindingCode::PlaybookInvalid),
            ("td/playbooks/tests/a.toml", FindingCode::PlaybookInvalid),
            ("td/policy/playbooks/a/gate.cedar", FindingCode::PolicyInvalid),
            ("td/policy/tests/a.toml", FindingCode::PolicyInvalid),
            ("td/crls/a.crl", FindingCode::FileInvalid),
        ] {
            assert_eq!(FindingCode::of_place(Path::new(file)), code, "{file}");
        }
    }
}
