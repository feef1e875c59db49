//! Refuses to be PID 1 where the machine is not ours.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use agent::boot::NotOurs;

/// Says why, and ends with 2.
pub(crate) fn refuse(not_ours: &NotOurs) -> ExitCode {
    let _nobody_reads = writeln!(io::stderr(), "hercules: will not be PID 1 here: {not_ours}");
    ExitCode::from(2)
}
