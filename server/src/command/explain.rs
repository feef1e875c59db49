//! `drydock explain`: a machine's last boot, and what to try.

use super::{
    Server,
    output::{self, Format},
};
use crate::{api::client::segment, explain::Explanation};

/// Prints the explanation.
pub(super) fn run(machine: &str, format: Format, server: &Server) -> anyhow::Result<()> {
    let explanation: Explanation =
        server.ask("GET", &format!("/v1/explain/{}", segment(machine)))?;
    output::show(format, &explanation, ToString::to_string)
}
