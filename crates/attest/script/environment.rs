//! Whether a variable of the environment makes an interpreter run other code.
//!
//! A list of what is refused can never be complete: it has what the dynamic loader, the C library,
//! OpenSSL and the interpreters themselves document.

use super::arguments::Language;
use super::image::Image;
use super::refusal::Refusal;
use crate::proc::parse_environ;

/// Refused for every language, by how they begin: `LD_PRELOAD`, `LD_AUDIT`, `LD_LIBRARY_PATH`…
const PREFIXES: &[&str] = &["LD_", "BASH_FUNC_"];

/// Refused for every language.
const NAMES: &[&str] = &[
    "BASH_ENV",
    "ENV",
    "GCONV_PATH",
    "GLIBC_TUNABLES",
    "LOCPATH",
    "NLSPATH",
    "OPENSSL_CONF",
    "OPENSSL_CONF_INCLUDE",
    "OPENSSL_ENGINES",
    "OPENSSL_MODULES",
];

impl Language {
    /// How the variables begin that the interpreter itself looks at.
    fn prefixes(self) -> &'static [&'static str] {
        match self {
            Self::Python => &["PYTHON", "__PYVENV"],
            Self::Node => &["NODE_"],
            Self::Perl => &["PERL"],
            Self::Ruby => &["RUBY", "GEM_", "BUNDLE_"],
        }
    }

    /// Those of them that load no code.
    fn harmless(self) -> &'static [&'static str] {
        match self {
            Self::Python => &[
                "PYTHONDONTWRITEBYTECODE",
                "PYTHONFAULTHANDLER",
                "PYTHONHASHSEED",
                "PYTHONIOENCODING",
                "PYTHONNOUSERSITE",
                "PYTHONUNBUFFERED",
                "PYTHONUTF8",
            ],
            Self::Node => {
                &["NODE_DISABLE_COLORS", "NODE_ENV", "NODE_EXTRA_CA_CERTS", "NODE_NO_WARNINGS"]
            }
            Self::Perl | Self::Ruby => &[],
        }
    }
}

pub(super) fn check(image: &Image, language: Language) -> Result<(), Refusal> {
    let variables = parse_environ(&image.environment).ok_or(Refusal::Environment)?;
    let is_in = |list: &[&str], name: &[u8]| list.iter().any(|known| known.as_bytes() == name);
    let begins =
        |list: &[&str], name: &[u8]| list.iter().any(|known| name.starts_with(known.as_bytes()));
    let loads = |name: &[u8]| {
        begins(PREFIXES, name)
            || is_in(NAMES, name)
            || (begins(language.prefixes(), name) && !is_in(language.harmless(), name))
    };
    if variables.iter().any(|variable| loads(variable.name)) {
        return Err(Refusal::Environment);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(language: Language, variables: &[&str]) -> Result<(), Refusal> {
        let mut environment = Vec::new();
        for variable in variables {
            environment.extend_from_slice(variable.as_bytes());
            environment.push(0);
        }
        check(&Image { arguments: Vec::new(), environment, path: Vec::new() }, language)
    }

    #[test]
    fn a_variable_that_loads_code_is_refused() {
        let all = [Language::Python, Language::Node, Language::Perl, Language::Ruby];
        for name in [
            "LD_PRELOAD",
            "LD_AUDIT",
            "LD_LIBRARY_PATH",
            "LD_BIND_NOW",
            "BASH_ENV",
            "ENV",
            "BASH_FUNC_ls%%",
            "GCONV_PATH",
            "GLIBC_TUNABLES",
            "OPENSSL_CONF",
            "OPENSSL_MODULES",
        ] {
            for language in all {
                let found = checked(language, &["HOME=/", &format!("{name}=x"), "A=b"]);
                assert_eq!(found, Err(Refusal::Environment), "{language:?} {name}");
            }
        }
        for (language, names) in [
            (
                Language::Python,
                &[
                    "PYTHONPATH",
                    "PYTHONSTARTUP",
                    "PYTHONHOME",
                    "PYTHONINSPECT",
                    "PYTHONUSERBASE",
                    "PYTHONBREAKPOINT",
                    "PYTHONPLATLIBDIR",
                    "PYTHONEXECUTABLE",
                    "PYTHONANYTHINGNEW",
                ][..],
            ),
            (Language::Node, &["NODE_OPTIONS", "NODE_PATH", "NODE_REPL_EXTERNAL_MODULE"]),
            (Language::Perl, &["PERL5OPT", "PERL5LIB", "PERLLIB", "PERL5DB"]),
            (Language::Ruby, &["RUBYOPT", "RUBYLIB", "GEM_PATH", "GEM_HOME", "BUNDLE_GEMFILE"]),
        ] {
            for name in names {
                let found = checked(language, &[&format!("{name}=")]);
                assert_eq!(found, Err(Refusal::Environment), "{language:?} {name}");
            }
        }
    }

    #[test]
    fn other_variables_are_no_obstacle() {
        let usual = ["PATH=/usr/bin", "HOME=/home/a", "LANG=C.UTF-8", "OLD_PRELOAD=x", "EMPTY="];
        assert_eq!(checked(Language::Python, &usual), Ok(()));
        assert_eq!(checked(Language::Python, &["PYTHONUNBUFFERED=1", "NODE_OPTIONS=-r x"]), Ok(()));
        assert_eq!(checked(Language::Node, &["NODE_ENV=production", "PYTHONPATH=/x"]), Ok(()));
        assert_eq!(checked(Language::Ruby, &[]), Ok(()));
    }

    #[test]
    fn an_environment_that_was_written_over_is_refused() {
        assert_eq!(checked(Language::Node, &["title"]), Err(Refusal::Environment));
        assert_eq!(checked(Language::Node, &["A=b", "", ""]), Err(Refusal::Environment));
    }
}
