//! Policies in Rego, for those who have some: they may refuse what Cedar permits, and nothing else.
//!
//! `policy/*.rego`, all of the package `marque`. `data.marque.allow` must be `true`: undefined, and everything that is not
//! `true`, refuses. `data.marque.deny` may be a set of `{"code": "…", "reason": "…"}`; the first by code gives the code.
//! The input is the AuthZEN form of the question ([`crate::Question::to_json`]). A rule that cannot be evaluated, or not in
//! time, is no answer. Absent: data documents, and builtins of time and network: a decision depends on its question alone.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use marque_intent::DenialCode;
use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, Value};

use crate::decision::{PolicyError, SlowRules};
use crate::finding::PolicyFinding;
use crate::veto::Veto;

/// Everything that the policies say. It is evaluated whole: a rule that fails is nobody's to leave out.
const PACKAGE: &str = "data.marque";
const ALLOW: &str = "data.marque.allow";
const DENY: &str = "data.marque.deny";
/// The longest reason that is kept, in characters.
const MAX_REASON: usize = 200;
/// How long one question may take, and after how many steps the time is looked at.
const MAX_TIME: Duration = Duration::from_millis(250);
const STEPS: NonZeroU32 = NonZeroU32::MIN.saturating_add(1023);

/// The Rego policies of one trust domain's folder.
pub(crate) struct RegoPolicies {
    engine: Engine,
}

impl std::fmt::Debug for RegoPolicies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegoPolicies").finish_non_exhaustive()
    }
}

impl RegoPolicies {
    /// From the texts of `*.rego`; `None` if there is none.
    ///
    /// # Errors
    /// A file that cannot be parsed, is of another package, or has rules that cannot be evaluated; and none of them says
    /// `allow`.
    pub(crate) fn parse(files: &[(PathBuf, String)]) -> Result<Option<Self>, Vec<PolicyFinding>> {
        let Some((first, _)) = files.first() else { return Ok(None) };
        let mut engine = Engine::new();
        engine.set_strict_builtin_errors(true);
        engine.set_execution_timer_config(ExecutionTimerConfig {
            limit: MAX_TIME,
            check_interval: STEPS,
        });
        let mut findings = Vec::new();
        for (file, text) in files {
            match engine.add_policy(file.display().to_string(), text.clone()) {
                Ok(package) if package == PACKAGE => {}
                Ok(other) => {
                    let why = format!("is of the package `{other}`; it has to be `marque`");
                    findings.push(PolicyFinding::new(file, None, why));
                }
                Err(error) => findings.push(finding(&error.to_string(), file, files)),
            }
        }
        if findings.is_empty() {
            // Whatever is wrong with the rules shows with the first question, whatever it is.
            engine.set_input(Value::new_object());
            if let Err(error) = evaluated(&mut engine) {
                findings.push(finding(&error, first, files));
            } else if engine.eval_rule(ALLOW.to_owned()).is_err() {
                let why = "no file has a rule `allow`, so that everything would be refused";
                findings.push(PolicyFinding::new(first, None, why));
            }
        }
        if findings.is_empty() { Ok(Some(Self { engine })) } else { Err(findings) }
    }
}

impl SlowRules for RegoPolicies {
    fn veto(&self, question: &serde_json::Value) -> Result<Option<Veto>, PolicyError> {
        let input = Value::from_json_str(&question.to_string());
        let mut engine = self.engine.clone();
        engine.set_input(input.map_err(|error| PolicyError::Evaluation(error.to_string()))?);
        let said = evaluated(&mut engine);
        let said = said.map_err(|error| PolicyError::Evaluation(one_line(&error)))?;
        if let Some(veto) = first(&said["deny"]) {
            return Ok(Some(veto));
        }
        if said["allow"] == Value::from(true) {
            return Ok(None);
        }
        Ok(Some(Veto {
            code: DenialCode::AgentNotAllowed,
            rules: vec![format!("rego:{ALLOW}")],
            reason: "the Rego policies do not allow it".to_owned(),
        }))
    }
}

/// What the package comes to.
fn evaluated(engine: &mut Engine) -> Result<Value, String> {
    let found = engine.eval_query(PACKAGE.to_owned(), false).map_err(|error| error.to_string())?;
    let mut expressions = found.result.into_iter().flat_map(|result| result.expressions);
    Ok(expressions.next().map_or(Value::Undefined, |expression| expression.value))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// An error as the engine writes one, `--> FILE:LINE:COLUMN`, the line itself and `error: WHY`.
fn finding(error: &str, file: &PathBuf, files: &[(PathBuf, String)]) -> PolicyFinding {
    let placed = files.iter().find_map(|(file, _)| {
        let (_, rest) = error.split_once(&format!("--> {}:", file.display()))?;
        let line = rest.split(':').next()?.parse().ok()?;
        Some((file, line))
    });
    let why = error.rsplit_once("error: ").map_or(error, |(_, why)| why);
    match placed {
        Some((file, line)) => PolicyFinding::new(file, Some(line), one_line(why)),
        None => PolicyFinding::new(file, None, one_line(why)),
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
