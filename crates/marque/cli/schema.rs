//! `marque schema`: the formats of a trust domain's folder as JSON Schema.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::Session;
use super::failure::Failure;
use super::output::{OutputFormat, table};
use crate::schema::{SCHEMAS, Schema};

/// Print the JSON Schema of a document, for editors
///
/// Without a name, lists the kinds of documents and the files that are of them. Even Better TOML and taplo check a file
/// against the schema that its first line names: #:schema ../../../schemas/playbook.schema.json
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque schema                             list the kinds of documents
  marque schema playbook                    print one
  marque schema --out schemas               write all of them into a folder")]
pub(super) struct SchemaArgs {
    /// The kind of document, such as trust-domain, entries or playbook
    #[arg(value_name = "NAME", conflicts_with = "out")]
    name: Option<String>,
    /// Write every schema into this folder, as NAME.schema.json
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Listed {
    name: &'static str,
    files: &'static str,
}

impl SchemaArgs {
    pub(super) fn run(self, session: &mut Session) -> Result<(), Failure> {
        match (self.name, self.out) {
            (Some(name), _) => print(session, &name),
            (None, Some(folder)) => {
                std::fs::create_dir_all(&folder)?;
                for Schema { name, text, .. } in SCHEMAS {
                    std::fs::write(folder.join(format!("{name}.schema.json")), text)?;
                }
                session.output.remark(&format!("wrote {} schemas", SCHEMAS.len()))
            }
            (None, None) => list(session),
        }
    }
}

fn print(session: &mut Session, name: &str) -> Result<(), Failure> {
    let Some(schema) = Schema::find(name) else {
        let names: Vec<&str> = SCHEMAS.iter().map(|schema| schema.name).collect();
        return Err(Failure::usage(format!("there is no schema `{name}`"))
            .next(format!("name one of {}", names.join(", "))));
    };
    match session.output.format() {
        OutputFormat::Text => session.output.remark(schema.text),
        OutputFormat::Json => {
            let value: serde_json::Value = serde_json::from_str(schema.text)?;
            session.output.show(&value, |_| String::new())
        }
    }
}

fn list(session: &mut Session) -> Result<(), Failure> {
    let all: Vec<Listed> =
        SCHEMAS.iter().map(|schema| Listed { name: schema.name, files: schema.files }).collect();
    session.output.show(&all, |all| {
        let rows =
            all.iter().map(|Listed { name, files }| [(*name).to_owned(), (*files).to_owned()]);
        table(["NAME", "FILES"], rows)
    })
}
