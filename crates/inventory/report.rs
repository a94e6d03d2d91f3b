//! What an inventory says: findings with what to do next, and which boundary to introduce first (M 130, M 136).

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Serialize;

use crate::{Credential, Fingerprint, Problem, Scanned, Standing};

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingCode {
    /// One secret stands in more than one place.
    SharedCredential,
    /// It opens a cloud or a cluster at any time, or says that it is an administrator's.
    StandingPrivilege,
    /// Others than its owner may read the file.
    LoosePermissions,
    /// No playbook permits the same, and nobody answers for it.
    UndocumentedException,
    /// A secret that does not end by itself.
    StaticSecret,
    /// Something that was not read.
    NotRead,
}

/// Something that somebody should look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What is wrong.
    pub code: FindingCode,
    /// In words.
    pub message: String,
    /// Where; in JSON as text, whatever bytes they are made of.
    #[serde(serialize_with = "crate::shown::paths")]
    pub files: Vec<PathBuf>,
    /// What to do.
    pub next: &'static str,
}

/// What to replace, in the order in which it pays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What the credentials open.
    pub reach: String,
    /// How many there are that do not end by themselves.
    pub credentials: usize,
    /// In how many files.
    pub files: usize,
    /// Of how many users.
    pub users: usize,
    /// Whether one says that it is an administrator's.
    pub privileged: bool,
    /// The playbook that permits the same, where one is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub playbook: Option<String>,
    /// What to do, one after the other.
    pub steps: Vec<String>,
}

/// The numbers of an inventory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Files that were read.
    pub files: usize,
    /// Credentials, by kind.
    pub by_kind: BTreeMap<&'static str, usize>,
    /// Credentials, by how long they stand.
    pub by_standing: BTreeMap<&'static str, usize>,
    /// Secrets that stand in more than one place.
    pub shared: usize,
    /// Users with what secrets that do not end open for them: each pair is one workflow on stored secrets, in however many
    /// files they stand (M 122).
    pub stored_secret_workflows: usize,
    /// Findings, by code.
    pub findings: BTreeMap<&'static str, usize>,
}

/// An inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Every credential.
    pub credentials: Vec<Credential>,
    /// What somebody should look at, the worst first.
    pub findings: Vec<Finding>,
    /// What to replace, the first first.
    pub plan: Vec<Step>,
    /// What was not read.
    pub problems: Vec<Problem>,
    /// The numbers.
    pub counts: Counts,
    /// What an inventory cannot know.
    pub limits: [&'static str; 3],
}

/// What is true of every inventory (M 137).
const LIMITS: [&str; 3] = [
    "A file does not say what its credential may do: an integration with too many rights keeps them, however it gets its tokens. \
     Ask the cloud, and cut the rights themselves.",
    "A static secret that was exposed stays exposed: give it up and make another before anything else. Just-in-time access replaces \
     the next one, and mends nothing that got out.",
    "Only the files that were named are in here: not other hosts, not memory, not the stores of CI services, and not what clouds \
     hold themselves.",
];

impl FindingCode {
    /// Every code, the worst first.
    pub const ALL: [Self; 6] = [
        Self::SharedCredential,
        Self::StandingPrivilege,
        Self::LoosePermissions,
        Self::UndocumentedException,
        Self::StaticSecret,
        Self::NotRead,
    ];

    /// The name in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SharedCredential => "shared_credential",
            Self::StandingPrivilege => "standing_privilege",
            Self::LoosePermissions => "loose_permissions",
            Self::UndocumentedException => "undocumented_exception",
            Self::StaticSecret => "static_secret",
            Self::NotRead => "not_read",
        }
    }

    const fn next(self) -> &'static str {
        match self {
            Self::SharedCredential => {
                "give each user an identity of its own, then take the shared secret away"
            }
            Self::StandingPrivilege => {
                "write a playbook for what it is used for, observe it, enforce it, then delete the key"
            }
            Self::LoosePermissions => {
                "chmod 600, and replace the secret: somebody else may have read it"
            }
            Self::UndocumentedException => {
                "name the playbook that replaces it, or write down who answers for it until when"
            }
            Self::StaticSecret => {
                "replace it by a token for one task, or by an identity token of the CI service"
            }
            Self::NotRead => "read it as a user who may, or name the file that is meant",
        }
    }
}

/// Puts an inventory together. `compared` is whether playbooks were given to compare with.
#[must_use]
pub fn report(scanned: Scanned, compared: bool) -> Report {
    let Scanned { credentials, problems, files } = scanned;
    let mut findings = Vec::new();
    let shared = shared(&credentials);
    for places in shared.values() {
        let first = places.first().map_or("", |one| one.kind.as_str());
        let users: BTreeSet<u32> = places.iter().map(|one| one.place.uid).collect();
        let message =
            format!("one {first} stands in {} places of {} users", places.len(), users.len());
        findings.push(finding(FindingCode::SharedCredential, message, places));
    }
    for credential in &credentials {
        findings.extend(of_one(credential, compared));
    }
    findings.extend(loose(&credentials));
    findings.extend(problems.iter().map(|problem| Finding {
        code: FindingCode::NotRead,
        message: problem.message.clone(),
        files: vec![problem.file.clone()],
        next: FindingCode::NotRead.next(),
    }));
    findings.sort_by(|one, other| (one.code, &one.files).cmp(&(other.code, &other.files)));
    let counts = counts(files, &credentials, shared.len(), &findings);
    let plan = plan(&credentials);
    Report { credentials, findings, plan, problems, counts, limits: LIMITS }
}

fn finding(code: FindingCode, message: String, places: &[&Credential]) -> Finding {
    let files: BTreeSet<&PathBuf> = places.iter().map(|one| &one.place.file).collect();
    Finding { code, message, files: files.into_iter().cloned().collect(), next: code.next() }
}

/// The secrets that stand in more than one file.
fn shared(credentials: &[Credential]) -> BTreeMap<Fingerprint, Vec<&Credential>> {
    let mut by_secret: BTreeMap<Fingerprint, Vec<&Credential>> = BTreeMap::new();
    for credential in credentials {
        if let Some(fingerprint) = credential.fingerprint {
            by_secret.entry(fingerprint).or_default().push(credential);
        }
    }
    by_secret.retain(|_, places| {
        let files: BTreeSet<&PathBuf> = places.iter().map(|one| &one.place.file).collect();
        files.len() > 1
    });
    by_secret
}

fn of_one(credential: &Credential, compared: bool) -> Vec<Finding> {
    let is_static = credential.standing == Standing::Static;
    let what = format!(
        "{} `{}` for {}",
        credential.kind.as_str(),
        credential.place.name,
        credential.reach
    );
    let of = |code, message| finding(code, message, &[credential]);
    let mut found = Vec::new();
    let opens_at_any_time = is_static && credential.kind.is_infrastructure();
    if credential.privileged || opens_at_any_time {
        let whose = if credential.privileged { ", an administrator's by its name" } else { "" };
        found.push(of(FindingCode::StandingPrivilege, format!("{what}{whose}")));
    }
    if is_static {
        found.push(of(FindingCode::StaticSecret, what.clone()));
    }
    let is_known = credential.playbook.is_some() || credential.exception.is_some();
    if compared && (is_static || credential.privileged) && !is_known {
        found.push(of(FindingCode::UndocumentedException, what));
    }
    found
}

/// Files with a secret that others than their owner may read.
fn loose(credentials: &[Credential]) -> Vec<Finding> {
    let with_secrets = credentials.iter().filter(|one| one.fingerprint.is_some());
    let loose = with_secrets.filter(|one| one.place.mode & 0o077 != 0);
    let by_file: BTreeMap<&PathBuf, &Credential> =
        loose.map(|one| (&one.place.file, one)).collect();
    let told = |one: &&Credential| {
        let message =
            format!("mode {:04o} lets others than uid {} in", one.place.mode, one.place.uid);
        finding(FindingCode::LoosePermissions, message, &[one])
    };
    by_file.values().map(told).collect()
}

fn counts(files: usize, credentials: &[Credential], shared: usize, findings: &[Finding]) -> Counts {
    let mut counts = Counts { files, shared, ..Counts::default() };
    for credential in credentials {
        *counts.by_kind.entry(credential.kind.as_str()).or_default() += 1;
        *counts.by_standing.entry(credential.standing.as_str()).or_default() += 1;
    }
    let lasting = credentials.iter().filter(|one| one.standing == Standing::Static);
    let workflows: BTreeSet<_> = lasting.map(|one| (one.place.uid, &one.reach)).collect();
    counts.stored_secret_workflows = workflows.len();
    for finding in findings {
        *counts.findings.entry(finding.code.as_str()).or_default() += 1;
    }
    counts
}

/// By what is opened: what is shared and an administrator's first, what somebody answers for last.
fn plan(credentials: &[Credential]) -> Vec<Step> {
    let mut by_reach: BTreeMap<&str, Vec<&Credential>> = BTreeMap::new();
    let standing = credentials.iter().filter(|one| one.standing == Standing::Static);
    for credential in standing.filter(|one| one.exception.is_none()) {
        by_reach.entry(&credential.reach).or_default().push(credential);
    }
    let mut plan: Vec<Step> = by_reach.into_iter().map(|(reach, all)| step(reach, &all)).collect();
    plan.sort_by_key(|step| {
        let Step { privileged, users, files, credentials, .. } = step;
        std::cmp::Reverse((*privileged, *users, *files, *credentials))
    });
    plan
}

fn step(reach: &str, all: &[&Credential]) -> Step {
    let files: BTreeSet<&PathBuf> = all.iter().map(|one| &one.place.file).collect();
    let users: BTreeSet<u32> = all.iter().map(|one| one.place.uid).collect();
    let playbook = all.iter().find_map(|one| one.playbook.clone());
    let mut steps = Vec::new();
    match &playbook {
        Some(playbook) => {
            steps.push(format!("playbook `{playbook}` names {reach}: check that it permits what is needed"));
        }
        None => steps.push(format!(
            "write a playbook for one task at {reach} (`marque playbook new`), in `enforcement = \"observe\"`"
        )),
    }
    steps.push(
        "register each agent that uses it, with a SPIFFE ID of its own (`marque entry create`)"
            .to_owned(),
    );
    steps.push("let the agents ask under the playbook while the old credential still works, and read what would be refused".to_owned());
    steps.push("enforce the playbook; have the agents use its tokens".to_owned());
    steps.push(format!(
        "revoke the credential where it was made, then delete it from {} file(s)",
        files.len()
    ));
    Step {
        reach: reach.to_owned(),
        credentials: all.len(),
        files: files.len(),
        users: users.len(),
        privileged: all.iter().any(|one| one.privileged),
        playbook,
        steps,
    }
}
