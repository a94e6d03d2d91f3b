//! `[keys]`: where the private keys of a trust domain's authorities are.
//!
//! Deliberately absent: a PIN in the document, and more than one token.

use std::path::{Path, PathBuf};

use marque_spiffe::Environment;

use crate::fields::{Fields, Log};

/// How many sessions with a token are open at once where the document does not say, and the most.
const DEFAULT_SESSIONS: u32 = 8;
const MAX_SESSIONS: u32 = 64;
/// The longest label of a token (PKCS #11, `CK_TOKEN_INFO`).
const MAX_TOKEN_LABEL: usize = 32;

/// `[keys]`. It may be absent: then each key is in a sealed file.
///
/// ```toml
/// [keys]
/// kind = "pkcs11"                      # or "sealed-file", or in non-production "memory"
/// module = "/usr/lib/softhsm/libsofthsm2.so"   # the vendor's library; absolute
/// token = "marque-prod"                # the label of the token; at most 32 bytes
/// pin_file = "/etc/marque/token.pin"   # absolute; mode 0600: the PIN and perhaps a line feed
/// sessions = 8                         # with the token at once; 1 to 64
/// checkpoint_key = "token"             # or "sealed-file", for a token that makes no Ed25519 keys
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum KeySettings {
    /// Each in its own file of the data folder, sealed.
    #[default]
    SealedFile,
    /// In memory: every start makes new ones. Never in production.
    Memory,
    /// In a hardware token.
    Pkcs11(TokenRule),
}

/// A hardware token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRule {
    module: PathBuf,
    token: String,
    pin_file: PathBuf,
    sessions: u32,
    seals_checkpoint_key: bool,
}

impl TokenRule {
    /// The vendor's library.
    pub fn module(&self) -> &Path {
        &self.module
    }

    /// The label of the token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The file with the PIN.
    pub fn pin_file(&self) -> &Path {
        &self.pin_file
    }

    /// How many sessions are open at once.
    pub fn sessions(&self) -> u32 {
        self.sessions
    }

    /// Whether the key for audit checkpoints is in a sealed file, since the token makes none of its kind.
    pub fn seals_checkpoint_key(&self) -> bool {
        self.seals_checkpoint_key
    }
}

/// Reads the section; the default where it is absent.
pub(super) fn read(
    top: &mut Fields<'_, '_>,
    environment: Option<Environment>,
    log: &mut Log<'_>,
) -> KeySettings {
    let Some(mut table) = top.optional_table("keys", log) else { return KeySettings::default() };
    let line = table.line();
    let kind: Option<String> = table.text("kind", log);
    let settings = match kind.as_deref() {
        Some("sealed-file") => KeySettings::SealedFile,
        Some("memory") => {
            if environment == Some(Environment::Production) {
                let message = "`kind = \"memory\"` in [keys] is for non-production: no start would find the keys of the one \
                               before; use \"sealed-file\" or \"pkcs11\"";
                log.at(line, message);
            }
            KeySettings::Memory
        }
        Some("pkcs11") => {
            let rule = token(&mut table, log);
            rule.map(KeySettings::Pkcs11).unwrap_or_default()
        }
        Some(_unknown) => {
            log.at(line, "`kind` in [keys] is none of `sealed-file`, `pkcs11` and `memory`");
            // What else stands there cannot be judged.
            return KeySettings::default();
        }
        None => return KeySettings::default(),
    };
    table.finish(log);
    settings
}

fn token(table: &mut Fields<'_, '_>, log: &mut Log<'_>) -> Option<TokenRule> {
    let line = table.line();
    let absolute = |table: &mut Fields<'_, '_>, key: &'static str, log: &mut Log<'_>| {
        let path: PathBuf = table.text(key, log)?;
        if !path.is_absolute() {
            log.at(line, format!("`{key}` in [keys] must be an absolute path"));
            return None;
        }
        Some(path)
    };
    let module = absolute(table, "module", log);
    let pin_file = absolute(table, "pin_file", log);
    let label: Option<String> = table.text("token", log);
    let label = label.filter(|label| {
        let is_label =
            (1..=MAX_TOKEN_LABEL).contains(&label.len()) && !label.chars().any(char::is_control);
        if !is_label {
            log.at(line, "`token` in [keys] is the label of a token: 1 to 32 bytes");
        }
        is_label
    });
    let sessions = table.optional_number("sessions", log).unwrap_or(DEFAULT_SESSIONS);
    if !(1..=MAX_SESSIONS).contains(&sessions) {
        log.at(line, "`sessions` in [keys] must be from 1 to 64");
    }
    let checkpoint_key: Option<String> = table.optional_text("checkpoint_key", log);
    let seals_checkpoint_key = match checkpoint_key.as_deref() {
        None | Some("token") => false,
        Some("sealed-file") => true,
        Some(_unknown) => {
            log.at(line, "`checkpoint_key` in [keys] is neither `token` nor `sealed-file`");
            false
        }
    };
    Some(TokenRule {
        module: module?,
        token: label?,
        pin_file: pin_file?,
        sessions,
        seals_checkpoint_key,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Finding, TrustDomainDocument};

    const DOCUMENT: &str = include_str!("../folder/tests/trust-domain.toml");
    const TOKEN: &str = "kind = \"pkcs11\"\nmodule = \"/usr/lib/p11.so\"\ntoken = \"marque\"\n\
                         pin_file = \"/etc/marque/token.pin\"\n";

    fn with(lines: &str) -> Result<KeySettings, Vec<Finding>> {
        parse(&format!("{DOCUMENT}\n[keys]\n{lines}\n"))
    }

    fn parse(document: &str) -> Result<KeySettings, Vec<Finding>> {
        let document = TrustDomainDocument::parse(Path::new("trust-domain.toml"), document)?;
        Ok(document.keys().clone())
    }

    fn refused(lines: &str) -> String {
        let findings = with(lines).unwrap_err();
        findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn keys_are_in_sealed_files_unless_the_document_says_otherwise() {
        assert_eq!(parse(DOCUMENT).unwrap(), KeySettings::SealedFile);
        assert_eq!(with("kind = \"sealed-file\"").unwrap(), KeySettings::SealedFile);
    }

    #[test]
    fn a_token_is_named_by_module_label_and_the_file_of_its_pin() {
        let KeySettings::Pkcs11(rule) = with(TOKEN).unwrap() else { panic!("no token") };
        assert_eq!(rule.module(), Path::new("/usr/lib/p11.so"));
        assert_eq!((rule.token(), rule.sessions()), ("marque", 8));
        assert_eq!(rule.pin_file(), Path::new("/etc/marque/token.pin"));
        assert!(!rule.seals_checkpoint_key());
        let more = format!("{TOKEN}sessions = 64\ncheckpoint_key = \"sealed-file\"");
        let KeySettings::Pkcs11(rule) = with(&more).unwrap() else { panic!("no token") };
        assert_eq!((rule.sessions(), rule.seals_checkpoint_key()), (64, true));
        with(&TOKEN.replace("\"marque\"", &format!("\"{}\"", "x".repeat(32)))).unwrap();
    }

    #[test]
    fn what_a_token_cannot_be_opened_by_is_found() {
        let cases = [
            ("kind = \"kms\"".to_owned(), "none of"),
            ("sessions = 8".to_owned(), "kind"),
            ("kind = \"pkcs11\"".to_owned(), "pin_file"),
            (format!("{TOKEN}pin = \"1234\""), "unknown field"),
            (format!("{TOKEN}sessions = 0"), "from 1 to 64"),
            (format!("{TOKEN}sessions = 65"), "from 1 to 64"),
            (format!("{TOKEN}checkpoint_key = \"hsm\""), "neither"),
            (TOKEN.replace("/usr/lib/p11.so", "p11.so"), "absolute"),
            (TOKEN.replace("/etc/marque/token.pin", "token.pin"), "absolute"),
            (TOKEN.replace("\"marque\"", "\"\""), "1 to 32 bytes"),
            (TOKEN.replace("\"marque\"", &format!("\"{}\"", "x".repeat(33))), "1 to 32 bytes"),
            ("kind = \"sealed-file\"\nmodule = \"/x\"".to_owned(), "unknown field"),
        ];
        for (lines, told) in cases {
            let text = refused(&lines);
            assert!(text.contains(told), "{lines}: {text}");
        }
    }

    #[test]
    fn production_keeps_no_keys_in_memory() {
        assert_eq!(with("kind = \"memory\"").unwrap(), KeySettings::Memory);
        let production = DOCUMENT.replace("\"non-production\"", "\"production\"");
        assert_ne!(production, DOCUMENT);
        let findings = parse(&format!("{production}\n[keys]\nkind = \"memory\"\n")).unwrap_err();
        assert!(
            findings.iter().any(|finding| finding.to_string().contains("non-production")),
            "{findings:?}"
        );
    }
}
