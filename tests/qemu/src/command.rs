//! The command line.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};

use crate::{
    bench,
    cases::{self, When},
    demo, interrupt, lab,
    story::{complain, say},
    suite,
};

/// Boots whole machines in QEMU against the real server.
///
/// Exit code 0: everything went as told. 1: something did not. 2: the command line is wrong.
#[derive(Debug, Parser)]
struct CommandLine {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Boots one machine that nobody has ever seen, and prints the record that it caused.
    Demo {
        /// Shows the serial console while the machine talks.
        #[arg(long)]
        show_serial: bool,
    },
    /// Tells every mechanism once.
    Test {
        /// Shows the serial consoles while the machines talk.
        #[arg(long)]
        show_serial: bool,
    },
    /// Tells one case.
    Case {
        /// Its name, as `list` prints it; or the beginning of several names.
        name: String,
        /// Shows the serial consoles while the machines talk.
        #[arg(long)]
        show_serial: bool,
    },
    /// Tells everything, the matrices included.
    Soak,
    /// Measures, prints a table, and writes target/bench/AREA.json.
    Bench {
        /// One area only: boot, install or memory.
        area: Option<String>,
    },
    /// Prints the names of all cases and what they show.
    List,
    /// Removes what runs that were killed have left behind.
    Clean,
}

/// Does what the command line says.
pub(crate) fn run() -> ExitCode {
    match obey(CommandLine::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn obey(verb: Verb) -> Result<()> {
    if !matches!(verb, Verb::List) {
        lab::acquire_root()?;
    }
    interrupt::listen()?;
    match verb {
        Verb::Demo { show_serial } => demo::run(show_serial),
        Verb::Test { show_serial } => {
            let mut cases = cases::all();
            cases.retain(|case| case.when == When::Test);
            suite::run(&cases, show_serial)
        }
        Verb::Case { name, show_serial } => {
            let mut cases = cases::all();
            match cases.iter().copied().find(|case| case.name == name) {
                Some(case) => cases = vec![case],
                None => cases.retain(|case| case.name.starts_with(&name)),
            }
            if cases.is_empty() {
                bail!("no case is called {name}: see `qemu list`");
            }
            suite::run(&cases, show_serial)
        }
        Verb::Soak => suite::run(&cases::all(), false),
        Verb::Bench { area } => bench::run(area.as_deref()),
        Verb::List => {
            for case in cases::all() {
                say(&format!("{:36} {}", case.name, case.claim));
            }
            Ok(())
        }
        Verb::Clean => lab::clean_leftovers(),
    }
}
