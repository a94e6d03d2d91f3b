//! Which script an interpreter was started with, by its arguments.
//!
//! An option that is not on the list is refused: it may load code, or take the next argument as
//! its value, after which what looks like the script is something else.

use std::str;

use super::Interpreter;
use super::image::Image;
use super::refusal::Refusal;
use crate::proc::parse_cmdline;

/// How an interpreter reads its arguments and environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Language {
    /// CPython: `-I` or `-s` must be among the options, as code is loaded from the user's own
    /// `site-packages` otherwise.
    Python,
    /// Node.js.
    Node,
    /// Perl.
    Perl,
    /// Ruby.
    Ruby,
}

/// What the arguments say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arguments<'a> {
    /// The interpreter's path as it was executed.
    pub(super) interpreter: &'a str,
    pub(super) language: Language,
    /// An absolute path in its plain form.
    pub(super) script: &'a str,
    /// The kernel put the interpreter before the script, with this option or none.
    pub(super) hash_bang: Option<Option<&'a str>>,
}

impl Language {
    /// Options of one letter, which may be joined after one dash.
    fn letters(self) -> &'static [u8] {
        match self {
            Self::Python => b"uIBsESPqbO",
            Self::Perl => b"wWXtT",
            Self::Ruby => b"w",
            Self::Node => b"",
        }
    }

    /// Options that are one word.
    fn words(self) -> &'static [&'static str] {
        match self {
            Self::Node => &[
                "--enable-source-maps",
                "--no-deprecation",
                "--no-warnings",
                "--trace-uncaught",
                "--trace-warnings",
            ],
            Self::Python | Self::Perl | Self::Ruby => &[],
        }
    }

    /// One of these letters must be among the options, if there are any here.
    fn needed(self) -> &'static [u8] {
        match self {
            Self::Python => b"Is",
            Self::Node | Self::Perl | Self::Ruby => b"",
        }
    }

    /// Whether these options load no code. All of them must be known.
    fn allows(self, options: &[&str]) -> bool {
        let letters = |option: &str| {
            let letters = option.strip_prefix('-').unwrap_or_default();
            !letters.is_empty() && letters.bytes().all(|letter| self.letters().contains(&letter))
        };
        let is_needed = |letter: u8| self.needed().contains(&letter);
        let known = |option: &&str| self.words().contains(option) || letters(option);
        options.iter().all(known)
            && (self.needed().is_empty()
                || options.iter().any(|option| option.bytes().any(is_needed)))
    }
}

impl<'a> Arguments<'a> {
    /// Reads the arguments of a process that runs the program of these interpreters.
    pub(super) fn parse(image: &'a Image, interpreters: &[&Interpreter]) -> Result<Self, Refusal> {
        let arguments = parse_cmdline(&image.arguments).ok_or(Refusal::Layout)?;
        let path = text(&image.path)?;
        let mut rest = arguments.iter().copied();
        let interpreter = text(rest.next().ok_or(Refusal::Layout)?)?;
        // The name counts as well as the file: Python looks for what it loads beside its name.
        let is_named = |known: &&&Interpreter| known.path.to_str() == Some(interpreter);
        let language = interpreters.iter().find(is_named).ok_or(Refusal::Interpreter)?.language;
        let mut options = Vec::new();
        let script = loop {
            let argument = text(rest.next().ok_or(Refusal::Script)?)?;
            if !argument.starts_with('-') {
                break argument;
            }
            options.push(argument);
        };
        let hash_bang = if path == interpreter {
            None
        } else if path == script && options.len() <= 1 {
            Some(options.first().copied())
        } else {
            return Err(Refusal::Interpreter);
        };
        if !language.allows(&options) {
            return Err(Refusal::Option);
        }
        if !is_plain(script) {
            return Err(Refusal::Script);
        }
        Ok(Self { interpreter, language, script, hash_bang })
    }
}

fn text(bytes: &[u8]) -> Result<&str, Refusal> {
    str::from_utf8(bytes).map_err(|_no_path_of_ours| Refusal::Malformed)
}

/// An absolute path without empty, `.` or `..` parts, outside the kernel's own file systems.
fn is_plain(path: &str) -> bool {
    let Some(parts) = path.strip_prefix('/') else { return false };
    let kernels = matches!(parts.split('/').next(), Some("proc" | "dev" | "sys"));
    !kernels && parts.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "/opt/agent/main";

    fn parse(
        language: Language,
        path: &str,
        arguments: &[&str],
    ) -> Result<(String, bool), Refusal> {
        let interpreter = Interpreter { path: "/usr/bin/x".into(), language };
        let mut image = Image {
            arguments: Vec::new(),
            environment: Vec::new(),
            path: path.as_bytes().to_vec(),
        };
        for argument in arguments {
            image.arguments.extend_from_slice(argument.as_bytes());
            image.arguments.push(0);
        }
        Arguments::parse(&image, &[&interpreter])
            .map(|found| (found.script.to_owned(), found.hash_bang.is_some()))
    }

    fn direct(language: Language, arguments: &[&str]) -> Result<(String, bool), Refusal> {
        parse(language, "/usr/bin/x", &[&["/usr/bin/x"], arguments].concat())
    }

    #[test]
    fn the_script_is_the_first_argument_that_is_no_option() {
        for (language, options) in [
            (Language::Python, &["-I"][..]),
            (Language::Python, &["-u", "-s", "-E", "-B"]),
            (Language::Python, &["-uIOO"]),
            (Language::Node, &[]),
            (Language::Node, &["--no-warnings", "--enable-source-maps"]),
            (Language::Perl, &["-wT"]),
            (Language::Ruby, &[]),
        ] {
            let arguments = [options, &[SCRIPT, "-c", "x", "--require"]].concat();
            assert_eq!(direct(language, &arguments), Ok((SCRIPT.to_owned(), false)), "{options:?}");
        }
    }

    #[test]
    fn an_option_that_may_load_code_is_refused() {
        for (language, refused) in [
            (
                Language::Python,
                &["-c", "-m", "-i", "-x", "-X", "-W", "-Ic", "-Im", "-", "--", "-V"][..],
            ),
            (Language::Python, &["-Wdefault", "-Xfrozen_modules=off", "--help", "-d"]),
            (
                Language::Node,
                &[
                    "-r",
                    "-e",
                    "-p",
                    "-i",
                    "-",
                    "--",
                    "--require",
                    "--require=/x",
                    "--import",
                    "--import=/x",
                ],
            ),
            (
                Language::Node,
                &[
                    "--loader",
                    "--experimental-loader=/x",
                    "--inspect",
                    "--inspect-brk",
                    "--env-file=x",
                    "--eval",
                ],
            ),
            (
                Language::Perl,
                &["-e", "-E", "-M", "-Mlib", "-I", "-I/x", "-d", "-x", "-s", "-", "--"],
            ),
            (Language::Ruby, &["-e", "-r", "-rx", "-I", "-I/x", "-x", "-S", "-C/x", "-", "--"]),
        ] {
            for option in refused {
                let needed: &[&str] = if language == Language::Python { &["-I"] } else { &[] };
                let arguments = [needed, &[option, SCRIPT]].concat();
                assert_eq!(
                    direct(language, &arguments),
                    Err(Refusal::Option),
                    "{language:?} {option}"
                );
            }
        }
    }

    #[test]
    fn python_must_keep_away_from_the_users_own_packages() {
        for options in [&[][..], &["-u"], &["-E", "-B"], &["-S"]] {
            let arguments = [options, &[SCRIPT]].concat();
            assert_eq!(direct(Language::Python, &arguments), Err(Refusal::Option), "{options:?}");
        }
    }

    #[test]
    fn a_path_that_may_mean_another_file_is_refused() {
        for script in [
            "main.py",
            "./main.py",
            "",
            "/",
            "/opt//main",
            "/opt/./main",
            "/opt/../main",
            "/opt/main/",
            "/dev/fd/3",
            "/dev/stdin",
            "/proc/self/fd/3",
            "/sys/x",
        ] {
            assert_eq!(direct(Language::Node, &[script]), Err(Refusal::Script), "{script}");
        }
        assert_eq!(direct(Language::Node, &[]), Err(Refusal::Script));
        assert!(direct(Language::Node, &["/device/process/..."]).is_ok());
    }

    #[test]
    fn the_interpreter_goes_by_a_configured_path() {
        for (path, first) in [
            ("/usr/bin/x", "x"),
            ("/usr/bin/x", "/usr/bin/y"),
            ("/usr/bin/y", "/usr/bin/x"),
            ("/dev/fd/3", "/usr/bin/x"),
            ("", "/usr/bin/x"),
        ] {
            let found = parse(Language::Node, path, &[first, SCRIPT]);
            assert_eq!(found, Err(Refusal::Interpreter), "{path} {first}");
        }
    }

    #[test]
    fn the_kernel_puts_at_most_one_option_before_the_script_it_executes() {
        let script = |arguments: &[&str]| parse(Language::Python, SCRIPT, arguments);
        let expected = Ok((SCRIPT.to_owned(), true));
        assert_eq!(script(&["/usr/bin/x", "-uI", SCRIPT, "a"]), expected);
        assert_eq!(script(&["/usr/bin/x", "-u", "-I", SCRIPT]), Err(Refusal::Interpreter));
        assert_eq!(script(&["/usr/bin/x", "-u -I", SCRIPT]), Err(Refusal::Option));
        assert_eq!(script(&["/usr/bin/x", SCRIPT]), Err(Refusal::Option));
        assert_eq!(script(&["/usr/bin/x", "-I", "/other"]), Err(Refusal::Interpreter));
        assert_eq!(parse(Language::Node, SCRIPT, &["/usr/bin/x", SCRIPT]), expected);
    }
}
