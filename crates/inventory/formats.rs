//! The files that hold credentials, by their place, and what each says.
//!
//! Which file is what is decided by its name and folder, never by what it says, except for the JSON files of Google Cloud, which
//! have any name. Absent: opening files.

mod aws;
mod ci;
mod environment;
mod gcp;
mod kubernetes;
mod packages;

use std::collections::HashMap;
use std::path::Path;

use configparser::ini::{Ini, IniDefault};
use serde_json::Value;

use crate::Found;

/// How many credentials of one file are looked at.
pub const MAX_FOUND: usize = 4096;
/// How deep YAML may be nested.
const MAX_DEPTH: usize = 64;

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// `.aws/credentials`
    AwsCredentials,
    /// `.aws/config`
    AwsConfig,
    /// `application_default_credentials.json`, or any JSON file with the members of one of Google Cloud's.
    GoogleCloud,
    /// `.kube/config`, `kubeconfig`, `*.kubeconfig`
    Kubeconfig,
    /// `.netrc`, `_netrc`
    Netrc,
    /// `.npmrc`
    Npmrc,
    /// `.pypirc`
    Pypirc,
    /// `.docker/config.json`, `.dockerconfigjson`
    DockerConfig,
    /// `.github/workflows/*.yml`
    GithubWorkflow,
    /// `.gitlab-ci.yml`
    GitlabCi,
    /// `.env`, `.env.*`, `*.env`
    Environment,
    /// `.git-credentials`
    GitCredentials,
}

/// Why a file does not say what its place promises. What it says is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// It is not UTF-8.
    #[error("is not text")]
    Text,
    /// It is not of its format.
    #[error("does not read as {0}")]
    Syntax(&'static str),
    /// It holds more than [`MAX_FOUND`] credentials.
    #[error("holds more than {MAX_FOUND} credentials")]
    TooMany,
}

impl Format {
    /// What a file is by its place; `None` where it is nothing that is known.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let (name, folder) = (part(Some(path)), part(path.parent()));
        let above = part(path.parent().and_then(Path::parent));
        let is_yaml = name.ends_with(".yml") || name.ends_with(".yaml");
        Some(match (folder, name) {
            (".aws", "credentials") => Self::AwsCredentials,
            (".aws", "config") => Self::AwsConfig,
            (".kube", "config") | (_, "kubeconfig") => Self::Kubeconfig,
            (_, ".netrc" | "_netrc") => Self::Netrc,
            (_, ".git-credentials") => Self::GitCredentials,
            ("containers", "auth.json") => Self::DockerConfig,
            (_, ".npmrc") => Self::Npmrc,
            (_, ".pypirc") => Self::Pypirc,
            (".docker", "config.json") | (_, ".dockerconfigjson") => Self::DockerConfig,
            (_, ".gitlab-ci.yml" | ".gitlab-ci.yaml") => Self::GitlabCi,
            ("workflows", _) if above == ".github" && is_yaml => Self::GithubWorkflow,
            (_, ".env.example" | ".env.sample" | ".env.template" | ".env.dist") => return None,
            (_, name) if name == ".env" || name.starts_with(".env.") || name.ends_with(".env") => {
                Self::Environment
            }
            (_, name) if name.ends_with(".kubeconfig") => Self::Kubeconfig,
            (_, name) if name.ends_with(".json") => Self::GoogleCloud,
            _ => return None,
        })
    }

    /// What a file of this kind says.
    ///
    /// # Errors
    /// See [`FormatError`].
    pub fn parse(self, bytes: &[u8]) -> Result<Vec<Found>, FormatError> {
        let text = std::str::from_utf8(bytes).map_err(|_position| FormatError::Text)?;
        let found = match self {
            Self::AwsCredentials => aws::credentials(&ini(text, &['='])?),
            Self::AwsConfig => aws::config(&ini(text, &['='])?),
            Self::GoogleCloud => gcp::credentials(text),
            Self::Kubeconfig => kubernetes::kubeconfig(&one_yaml(text)?),
            Self::Netrc => packages::netrc(text),
            Self::Npmrc => packages::npmrc(text),
            Self::Pypirc => packages::pypirc(&ini(text, &['=', ':'])?),
            Self::DockerConfig => packages::docker(&json(text)?),
            Self::GithubWorkflow => ci::github(&one_yaml(text)?),
            Self::GitlabCi => ci::gitlab(&yaml(text)?),
            Self::Environment => environment::variables(text),
            Self::GitCredentials => packages::git(text),
        };
        if found.len() > MAX_FOUND { Err(FormatError::TooMany) } else { Ok(found) }
    }
}

/// The last part of a path.
fn part(path: Option<&Path>) -> &str {
    path.and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default()
}

/// An INI file as sections with their members. A value is taken as it is: a comment sign in a secret belongs to it.
fn ini(text: &str, delimiters: &[char]) -> Result<Vec<Section>, FormatError> {
    let mut form = IniDefault::default();
    form.delimiters = delimiters.to_vec();
    form.comment_symbols = vec!['#', ';'];
    form.enable_inline_comments = false;
    form.case_sensitive = true;
    let mut reader = Ini::new_from_defaults(form);
    // The reader's own error shows the line.
    let sections = reader.read(text.to_owned()).map_err(|_line| FormatError::Syntax("INI"))?;
    let section = |(name, members): (String, HashMap<String, Option<String>>)| {
        let members = members.into_iter().filter_map(|(key, value)| {
            let value = value.filter(|value| !value.trim().is_empty())?;
            Some((key.to_ascii_lowercase(), value.trim().to_owned()))
        });
        Section { name, members: members.collect() }
    };
    let mut sections: Vec<Section> = sections.into_iter().map(section).collect();
    sections.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(sections)
}

/// A section of an INI file.
struct Section {
    name: String,
    members: std::collections::BTreeMap<String, String>,
}

impl Section {
    fn get(&self, key: &str) -> Option<&str> {
        self.members.get(key).map(String::as_str)
    }
}

fn json(text: &str) -> Result<Value, FormatError> {
    serde_json::from_str(text).map_err(|_line| FormatError::Syntax("JSON"))
}

/// The documents of a YAML file.
fn yaml(text: &str) -> Result<Vec<Value>, FormatError> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|_line| FormatError::Syntax("YAML"))?;
    if documents.iter().any(|document| depth(document) > MAX_DEPTH) {
        return Err(FormatError::Syntax("YAML"));
    }
    Ok(documents)
}

fn one_yaml(text: &str) -> Result<Value, FormatError> {
    let mut documents = yaml(text)?.into_iter();
    match (documents.next(), documents.next()) {
        (document, None) => Ok(document.unwrap_or(Value::Null)),
        _ => Err(FormatError::Syntax("one YAML document")),
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}

/// A text member that is not empty.
fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str().filter(|text| !text.is_empty())
}

/// The items of a list member.
fn items<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests;
