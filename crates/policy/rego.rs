//! Policies in Rego, for those who have some: they may refuse what Cedar permits, and nothing else.
//!
//! `policy/*.rego`, all of the package `marque`. `data.marque.allow` must be `true`: undefined, and everything that is not
//! `true`, refuses. `data.marque.deny` may be a set of `{"code": "…", "reason": "…"}`; the first by code gives the code.
//! The input is the AuthZEN form of the question ([`crate::Question::to_json`]). Absent: data documents, and builtins of
//! time and network: a decision depends on its question alone.

use std::path::Path;

use marque_intent::{DenialCode, files_in};
use regorus::{Engine, Value};

use crate::decision::{PolicyError, Question};
use crate::finding::PolicyFinding;
use crate::veto::Veto;

/// The largest file, in bytes.
const MAX_FILE_BYTES: u64 = 256 * 1024;
const ALLOW: &str = "data.marque.allow";
const DENY: &str = "data.marque.deny";
/// The longest reason that is kept, in characters.
const MAX_REASON: usize = 200;

/// The Rego policies of one trust domain's folder.
pub struct RegoPolicies {
    engine: Engine,
}

impl std::fmt::Debug for RegoPolicies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegoPolicies").finish_non_exhaustive()
    }
}

impl RegoPolicies {
    /// Reads `dir/*.rego`; `None` if there is none.
    ///
    /// # Errors
    /// A file that cannot be read or parsed, or is of another package.
    pub fn load(dir: &Path) -> Result<Option<Self>, Vec<PolicyFinding>> {
        let failed = |path: &Path, why: String| PolicyFinding::new(path, None, why);
        let files = files_in(dir, "rego")
            .map_err(|error| vec![failed(dir, format!("cannot be read: {error}"))])?;
        if files.is_empty() {
            return Ok(None);
        }
        let mut engine = Engine::new();
        let mut findings = Vec::new();
        for file in &files {
            if let Err(why) = add(&mut engine, file) {
                findings.push(failed(file, why));
            }
        }
        if findings.is_empty() {
            // Whatever is wrong with the rules shows with the first question, whatever it is.
            engine.set_input(Value::new_object());
            for rule in [ALLOW, DENY] {
                if let Err(error) = engine.eval_rule(rule.to_owned())
                    && rule == ALLOW
                {
                    findings.push(failed(dir, format!("`{rule}`: {error}")));
                }
            }
        }
        if findings.is_empty() { Ok(Some(Self { engine })) } else { Err(findings) }
    }

    /// A veto unless the policies allow.
    ///
    /// # Errors
    /// They could not be evaluated.
    pub fn veto(&self, question: &Question<'_>) -> Result<Option<Veto>, PolicyError> {
        let failed = |error: &dyn std::fmt::Display| PolicyError::Evaluation(error.to_string());
        let input = question.to_json().to_string();
        let mut engine = self.engine.clone();
        engine.set_input(Value::from_json_str(&input).map_err(|error| failed(&error))?);
        let denials = engine.eval_rule(DENY.to_owned()).unwrap_or(Value::Undefined);
        if let Some(veto) = first(&denials) {
            return Ok(Some(veto));
        }
        let allow = engine.eval_rule(ALLOW.to_owned()).map_err(|error| failed(&error))?;
        if allow == Value::from(true) {
            return Ok(None);
        }
        Ok(Some(Veto {
            code: DenialCode::AgentNotAllowed,
            rules: vec![format!("rego:{ALLOW}")],
            reason: "the Rego policies do not allow it".to_owned(),
        }))
    }
}

fn add(engine: &mut Engine, file: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot be read: {error}");
    if std::fs::metadata(file).map_err(failed)?.len() > MAX_FILE_BYTES {
        return Err(format!("has more than {MAX_FILE_BYTES} bytes"));
    }
    let text = std::fs::read_to_string(file).map_err(failed)?;
    let package = engine.add_policy(file.display().to_string(), text);
    match package.map_err(|error| error.to_string())? {
        package if package == "data.marque" => Ok(()),
        other => Err(format!("is of the package `{other}`; it has to be `marque`")),
    }
}

/// The first denial of a set, by its code; anything else than a set of objects with codes refuses too.
fn first(denials: &Value) -> Option<Veto> {
    let veto = |code, reason: &str| Veto {
        code,
        rules: vec![format!("rego:{DENY}")],
        reason: reason.chars().filter(|c| !c.is_control()).take(MAX_REASON).collect(),
    };
    match denials {
        Value::Undefined => None,
        Value::Set(denials) => denials.iter().next().map(|denial| {
            let named = |name: &str| denial[name].as_string().map(|text| text.to_string()).ok();
            let code = named("code").and_then(|code| code.parse().ok());
            let reason =
                named("reason").unwrap_or_else(|| "the Rego policies refuse it".to_owned());
            veto(code.unwrap_or(DenialCode::AgentNotAllowed), &reason)
        }),
        _ => Some(veto(DenialCode::PolicyError, "`deny` of the Rego policies is no set")),
    }
}

#[cfg(test)]
mod tests;
