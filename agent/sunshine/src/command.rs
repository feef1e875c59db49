//! `sunshine` as an ordinary program.

use std::{
    ffi::OsString,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use agent::boot::NotOurs;
use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};
use inventory::Root;

use crate::{refusal::refuse, write};

/// Describes this machine, or a captured one; writes images.
///
/// Exit code 0: done. 1: failed. 2: not understood, or refused to be PID 1 outside of its own image.
#[derive(Debug, Parser)]
#[command(name = "sunshine", version, help_expected = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Shows what the machine is made of.
    Inventory {
        /// Reads a captured machine below this directory instead of the running one.
        #[arg(long, value_name = "DIR")]
        root: Option<PathBuf>,
        /// How to show it.
        #[arg(short, long, value_enum, default_value = "table")]
        output: Output,
    },
    /// Writes an image to a disk of this machine, or to a file; `sunshine write --help` says how.
    #[command(disable_help_flag = true)]
    Write {
        /// What `sunshine write --help` says.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<OsString>,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    /// Text for a person.
    Table,
    /// The JSON that the server gets.
    Json,
}

/// Runs the command; refuses to be PID 1 where the machine is not ours.
pub(crate) fn run(not_ours: &NotOurs) -> ExitCode {
    let is_first = !matches!(not_ours, NotOurs::Process(_));
    if is_first && std::env::args_os().len() < 2 {
        return refuse(not_ours);
    }
    let done = match Arguments::parse().verb {
        Verb::Inventory { root, output } => show(root, output),
        Verb::Write { words } => return write::run(words),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _nobody_reads = writeln!(io::stderr(), "sunshine: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn show(root: Option<PathBuf>, output: Output) -> anyhow::Result<()> {
    let root = root.map_or_else(Root::live, Root::captured);
    let inventory = inventory::collect(&root);
    let text = match output {
        Output::Table => inventory::table(&inventory),
        Output::Json => {
            let json = serde_json::to_string_pretty(&inventory);
            json.context("showing the inventory as JSON")? + "\n"
        }
    };
    io::stdout().write_all(text.as_bytes()).context("writing the inventory")
}
