//! Records in the forms that other systems read: OCSF, CloudEvents, CADF, CSV and OTLP.
//!
//! A form is a function of the leaf alone, so that whoever reads an export, a pushed record or a copied log gets the same
//! record of the same number. Every record says its number and the hash of its leaf: by the one what came twice is known,
//! by the other it is found in the tree. Deliberately absent: where records go, and how far that has come.

mod cadf;
mod cloud_events;
mod csv;
pub mod frameworks;
mod meaning;
mod ocsf;
mod otlp;

use std::fmt;
use std::str::FromStr;

use marque_spiffe::SpiffeId;
use serde_json::Value;

pub use meaning::{Severity, severity};
pub use ocsf::VERSION as OCSF_VERSION;

use crate::Leaf;

/// A form of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// Open Cybersecurity Schema Framework, version [`OCSF_VERSION`]: one JSON object a line.
    Ocsf,
    /// CloudEvents 1.0 in its JSON format, one event a line: the leaf, and an extension attribute with its frameworks.
    CloudEvents,
    /// Cloud Auditing Data Federation (DMTF DSP0262 1.0): one JSON object a line.
    Cadf,
    /// Comma-separated values (RFC 4180) with a header, safe to open in a spreadsheet.
    Csv,
    /// OpenTelemetry logs in OTLP's JSON encoding: one `LogsData` a line, as OTLP files have it.
    Otlp,
}

/// The text names no form of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the form is `ocsf`, `cloudevents`, `cadf`, `csv` or `otlp`")]
pub struct UnknownFormat;

/// Why records could not be put into a form.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// A record does not become JSON.
    #[error("a record cannot be written as JSON")]
    Json(#[from] serde_json::Error),
    /// A record does not become a line of values.
    #[error("a record cannot be written as CSV")]
    Csv(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Format {
    /// Every form.
    pub const ALL: [Self; 5] = [Self::Ocsf, Self::CloudEvents, Self::Cadf, Self::Csv, Self::Otlp];

    /// Its name in settings and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ocsf => "ocsf",
            Self::CloudEvents => "cloudevents",
            Self::Cadf => "cadf",
            Self::Csv => "csv",
            Self::Otlp => "otlp",
        }
    }

    /// What stands before the first record, with its line end; empty where nothing does.
    ///
    /// # Errors
    /// The header cannot be written.
    pub fn header(self) -> Result<String, FormatError> {
        match self {
            Self::Csv => csv::header(),
            Self::Ocsf | Self::CloudEvents | Self::Cadf | Self::Otlp => Ok(String::new()),
        }
    }

    /// One record on one line, without the line end.
    ///
    /// # Errors
    /// The record cannot be written in this form.
    pub fn line(self, leaf: &Leaf) -> Result<String, FormatError> {
        match self {
            Self::Ocsf => Ok(ocsf::record(leaf)?.to_string()),
            Self::CloudEvents => Ok(cloud_events::record(leaf)?.to_string()),
            Self::Cadf => Ok(cadf::record(leaf)?.to_string()),
            Self::Csv => csv::line(leaf),
            Self::Otlp => Ok(otlp::request(std::slice::from_ref(leaf)).to_string()),
        }
    }

    /// Several records as the body of one HTTP request, and its media type.
    ///
    /// # Errors
    /// A record cannot be written in this form.
    pub fn body(self, leaves: &[Leaf]) -> Result<(String, &'static str), FormatError> {
        let array = |record: fn(&Leaf) -> Result<Value, serde_json::Error>| {
            leaves.iter().map(record).collect::<Result<Vec<_>, _>>().map(Value::Array)
        };
        Ok(match self {
            Self::Ocsf => (array(ocsf::record)?.to_string(), "application/json"),
            Self::CloudEvents => {
                (array(cloud_events::record)?.to_string(), "application/cloudevents-batch+json")
            }
            Self::Cadf => (array(cadf::record)?.to_string(), "application/json"),
            Self::Csv => {
                let mut body = csv::header()?;
                for leaf in leaves {
                    body.push_str(&csv::line(leaf)?);
                    body.push_str("\r\n");
                }
                (body, "text/csv; charset=utf-8; header=present")
            }
            Self::Otlp => (otlp::request(leaves).to_string(), "application/json"),
        })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        Self::ALL.into_iter().find(|format| format.as_str() == text).ok_or(UnknownFormat)
    }
}

/// The leaf's JSON, read again.
fn envelope(leaf: &Leaf) -> Result<serde_json::Map<String, Value>, serde_json::Error> {
    serde_json::from_slice(leaf.bytes())
}

/// A member of the event's detail, if it is text.
fn told<'a>(leaf: &'a Leaf, name: &str) -> Option<&'a str> {
    leaf.event().detail.get(name).and_then(Value::as_str)
}

/// The workload that an actor is, where it has a SPIFFE ID; people have none.
fn workload_named(actor: &str) -> Option<SpiffeId> {
    actor.parse().ok()
}

/// The name of the trust domain.
fn trust_domain(leaf: &Leaf) -> &str {
    leaf.source().trust_domain().as_str()
}

#[cfg(test)]
mod tests;
