//! The playbooks of one trust domain's folder.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use marque_spiffe::{Environment, SpiffeId, TrustDomain};

use super::exception::today;
use super::{
    ApprovalMode, Exception, ExceptionId, MAX_PLAYBOOK_BYTES, Playbook, PlaybookError, PlaybookId,
};
use crate::denial::{Denial, DenialCode};
use crate::folder::files_in;
use crate::request::IntentRequest;
use crate::roles::HumanJob;

/// The most playbooks that one folder may hold.
const MAX_PLAYBOOKS: usize = 10_000;

/// Something wrong with a file of the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaybookFinding {
    /// The file or folder.
    pub file: PathBuf,
    /// The line, from 1, where it is known.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for PlaybookFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file.display(), self.message),
            None => write!(f, "{}: {}", self.file.display(), self.message),
        }
    }
}

/// Every playbook of one trust domain, by id.
#[derive(Debug, Clone)]
pub struct PlaybookSet {
    trust_domain: TrustDomain,
    environment: Environment,
    playbooks: BTreeMap<PlaybookId, Arc<Playbook>>,
    exceptions: BTreeMap<ExceptionId, Arc<Exception>>,
    overdue: Overdue,
    roles: Vec<HumanJob>,
}

/// What becomes of a playbook whose review is overdue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Overdue {
    /// It is told.
    #[default]
    Warn,
    /// Nobody gets a grant of it.
    Refuse,
}

impl PlaybookSet {
    /// No playbooks: every request is for an unknown one.
    #[must_use]
    pub const fn empty(trust_domain: TrustDomain, environment: Environment) -> Self {
        Self {
            trust_domain,
            environment,
            playbooks: BTreeMap::new(),
            exceptions: BTreeMap::new(),
            overdue: Overdue::Warn,
            roles: Vec::new(),
        }
    }

    /// Reads `<id>.toml` for every playbook in `dir`. A folder that is not there holds none.
    ///
    /// # Errors
    /// Everything that is wrong in the folder. One bad file refuses the whole set: a playbook that silently fell out
    /// would be missed only when it is needed.
    pub fn load(
        dir: &Path,
        trust_domain: &TrustDomain,
        environment: Environment,
    ) -> Result<Self, Vec<PlaybookFinding>> {
        let mut set = Self::empty(trust_domain.clone(), environment);
        let mut findings = Vec::new();
        for file in toml_files(dir)? {
            match read(&file, Playbook::parse) {
                Ok(playbook) => findings.extend(set.add(&file, playbook)),
                Err(errors) => findings.extend(errors),
            }
        }
        if findings.is_empty() { Ok(set) } else { Err(findings) }
    }

    /// With the exceptions of `dir`, each in `<id>.toml`. A folder that is not there holds none.
    ///
    /// # Errors
    /// Everything that is wrong in the folder.
    pub fn with_exceptions(mut self, dir: &Path) -> Result<Self, Vec<PlaybookFinding>> {
        let mut findings = Vec::new();
        for file in toml_files(dir)? {
            let exception = match read(&file, Exception::parse) {
                Ok(exception) => exception,
                Err(errors) => {
                    findings.extend(errors);
                    continue;
                }
            };
            let mut wrong = exception.check(self.find(exception.playbook()).map(AsRef::as_ref));
            if file.file_stem().is_none_or(|stem| stem != exception.id().as_str()) {
                wrong.push(format!(
                    "the file is named after its exception: `{}.toml`",
                    exception.id()
                ));
            }
            let finding = |message| PlaybookFinding { file: file.clone(), line: None, message };
            findings.extend(wrong.into_iter().map(finding));
            self.exceptions.insert(exception.id().clone(), Arc::new(exception));
        }
        if findings.is_empty() { Ok(self) } else { Err(findings) }
    }

    /// With what becomes of playbooks whose review is overdue.
    #[must_use]
    pub const fn with_overdue(mut self, overdue: Overdue) -> Self {
        self.overdue = overdue;
        self
    }

    /// What becomes of playbooks whose review is overdue.
    #[must_use]
    pub const fn overdue(&self) -> Overdue {
        self.overdue
    }

    /// Every exception, those that have ended too.
    pub fn exceptions(&self) -> impl Iterator<Item = &Arc<Exception>> {
        self.exceptions.values()
    }

    /// The exception that this request is under, if there is one: the first by id.
    #[must_use]
    pub fn exception_for(
        &self,
        agent: &SpiffeId,
        playbook: &Playbook,
        request: &IntentRequest,
        now: Timestamp,
    ) -> Option<&Arc<Exception>> {
        self.exceptions().find(|exception| exception.is_for(agent, playbook, request, now))
    }

    /// Whether a playbook may be used as far as its review goes.
    ///
    /// # Errors
    /// `playbook_version_stale` where its review is overdue and this folder refuses such playbooks.
    pub fn check_review(&self, playbook: &Playbook, now: Timestamp) -> Result<(), Denial> {
        if self.overdue == Overdue::Refuse && playbook.is_overdue(now) {
            let detail = format!(
                "the review of version {} was due on {}; its owner `{}` has to review it",
                playbook.version(),
                playbook.review_by(),
                playbook.owner()
            );
            return Err(Denial::new(DenialCode::PlaybookVersionStale, detail));
        }
        Ok(())
    }

    /// With the human roles that its playbooks are held against.
    #[must_use]
    pub fn with_roles(self, roles: Vec<HumanJob>) -> Self {
        Self { roles, ..self }
    }

    /// The human roles that its playbooks are held against.
    #[must_use]
    pub fn roles(&self) -> &[HumanJob] {
        &self.roles
    }

    /// The trust domain.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Its environment, as the trust domain's document declares it.
    #[must_use]
    pub const fn environment(&self) -> Environment {
        self.environment
    }

    /// One playbook, whatever its status.
    #[must_use]
    pub fn find(&self, id: &PlaybookId) -> Option<&Arc<Playbook>> {
        self.playbooks.get(id)
    }

    /// Every playbook, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Playbook>> {
        self.playbooks.values()
    }

    /// The playbooks that this agent may ask for (M 4).
    pub fn visible_to<'a>(
        &'a self,
        agent: &'a SpiffeId,
    ) -> impl Iterator<Item = &'a Arc<Playbook>> {
        self.iter().filter(move |playbook| playbook.is_for(agent))
    }

    fn add(&mut self, file: &Path, playbook: Playbook) -> Vec<PlaybookFinding> {
        let mut findings = Vec::new();
        let mut finding = |message: String| {
            findings.push(PlaybookFinding { file: file.to_owned(), line: None, message });
        };
        if *playbook.trust_domain() != self.trust_domain {
            finding(format!(
                "`trust_domain` is `{}`, the folder belongs to `{}`",
                playbook.trust_domain(),
                self.trust_domain
            ));
        }
        if file.file_stem().is_none_or(|stem| stem != playbook.id().as_str()) {
            finding(format!("the file is named after its playbook: `{}.toml`", playbook.id()));
        }
        if self.environment == Environment::Production {
            for wrong in playbook.not_for_production() {
                finding(wrong);
            }
        }
        if self.playbooks.len() >= MAX_PLAYBOOKS {
            finding(format!("the folder has more than {MAX_PLAYBOOKS} playbooks"));
        }
        if findings.is_empty() {
            // File names are unique, and so are the ids that they are named after.
            self.playbooks.insert(playbook.id().clone(), Arc::new(playbook));
        }
        findings
    }
}

impl Playbook {
    /// Whether its review is overdue.
    #[must_use]
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        today(now) > self.review_by
    }

    /// What production does not take, whoever approves (M 47, M 55).
    pub(super) fn not_for_production(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let phases = self.phases.iter().map(AsRef::as_ref);
        for playbook in std::iter::once(self).chain(phases) {
            let of = playbook
                .phase()
                .map_or_else(String::new, |phase| format!(" in phase `{}`", phase.name()));
            let destructive = playbook.tools.values().any(|tool| tool.destructive);
            match playbook.approval_mode {
                ApprovalMode::Auto => wrong.push(format!(
                    "`approval.mode = \"auto\"` is not for production{of}; use `rule` or `always`"
                )),
                ApprovalMode::Rule if destructive && self.phases.is_empty() | playbook.phase.is_some() => wrong.push(format!(
                    "a destructive tool in production{of} takes `approval.mode = \"always\"`: a person approves what cannot be undone"
                )),
                ApprovalMode::Rule | ApprovalMode::Always => {}
            }
        }
        wrong
    }
}

pub(crate) fn toml_files(dir: &Path) -> Result<Vec<PathBuf>, Vec<PlaybookFinding>> {
    files_in(dir, "toml").map_err(|error| {
        let message = format!("cannot be read: {error}");
        vec![PlaybookFinding { file: dir.to_owned(), line: None, message }]
    })
}

fn read<T>(
    file: &Path,
    parse: impl Fn(&str) -> Result<T, Vec<PlaybookError>>,
) -> Result<T, Vec<PlaybookFinding>> {
    read_with(file, MAX_PLAYBOOK_BYTES, parse)
}

/// Reads a file of at most `limit` bytes and what it says.
pub(crate) fn read_with<T>(
    file: &Path,
    limit: usize,
    parse: impl Fn(&str) -> Result<T, Vec<PlaybookError>>,
) -> Result<T, Vec<PlaybookFinding>> {
    let finding = |line: Option<usize>, message: String| PlaybookFinding {
        file: file.to_owned(),
        line,
        message,
    };
    let failed = |error: std::io::Error| vec![finding(None, format!("cannot be read: {error}"))];
    let size = std::fs::metadata(file).map_err(failed)?.len();
    if size > limit as u64 {
        return Err(vec![finding(None, format!("has more than {limit} bytes"))]);
    }
    let text = std::fs::read_to_string(file).map_err(failed)?;
    parse(&text).map_err(|errors| {
        let of = |error: PlaybookError| finding(error.line(), error.message().to_owned());
        errors.into_iter().map(of).collect()
    })
}
