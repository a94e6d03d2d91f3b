//! `marque demo`: the main job as a story, on real processes that it starts itself.
//!
//! The daemon is this program run as `marque dev`; the agents and the resource servers are copies of it, each under a
//! name of its own, because a program is part of who they are. Nothing is simulated: what the steps see is what any
//! client sees. Deliberately absent: any shortcut past the sockets.

mod agent;
mod ending;
mod orders;
mod player;
mod report;
mod resource;
mod stage;
mod story;

use std::path::PathBuf;
use std::process::ExitCode;

pub use self::resource::ResourceOptions;

use crate::cli::DemoOptions;

/// Tells the story; success only if every step did what it should.
///
/// # Errors
/// When the stage cannot be set up or cleared, or the report cannot be written.
pub async fn run(options: DemoOptions) -> anyhow::Result<ExitCode> {
    let mut report = report::Report::new(options.output);
    let mut stage = stage::Stage::new(options)?;
    story::tell(&mut stage, &mut report).await?;
    stage.clear().await?;
    Ok(if report.close()? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs an agent of the story until its standard input ends.
///
/// # Errors
/// When the Workload API cannot be reached or an order cannot be read.
pub async fn agent(ca_file: PathBuf) -> anyhow::Result<ExitCode> {
    agent::run(ca_file).await?;
    Ok(ExitCode::SUCCESS)
}

/// Runs the resource server of the story until it is stopped.
///
/// # Errors
/// When its port cannot be bound or the Workload API cannot be reached.
pub async fn resource(options: ResourceOptions) -> anyhow::Result<ExitCode> {
    resource::run(options).await?;
    Ok(ExitCode::SUCCESS)
}
