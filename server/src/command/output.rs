//! What commands print: tables for people, JSON and YAML for programs.

use std::io::{self, ErrorKind, Write};

use anyhow::Context;
use serde::Serialize;

use crate::text::one_line;

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// For people.
    Table,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
}

/// Prints a value; `table` is how people read it.
pub(super) fn show<T: Serialize>(
    format: Format,
    value: &T,
    table: impl FnOnce(&T) -> String,
) -> anyhow::Result<()> {
    match format {
        Format::Table => print(&table(value)),
        Format::Json => {
            let text = serde_json::to_string_pretty(value).context("writing JSON")?;
            print(&(text + "\n"))
        }
        Format::Yaml => print(&serde_saphyr::to_string(value).context("writing YAML")?),
    }
}

/// Prints text on stdout. A reader that has gone away, for example `head`, is no error.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("writing to stdout")
        }
        _ => Ok(()),
    }
}

/// Says something on stderr.
pub(super) fn say(text: &str) {
    // Nobody is left to tell when stderr is closed.
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// Aligns rows of cells in columns, two spaces apart. Each row is one line, whatever machines wrote into it.
pub(super) fn align(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| one_line(cell)).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    rows.iter()
        .map(|row| {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            cells.join("  ").trim_end().to_owned() + "\n"
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_cannot_write_a_line_of_its_own() {
        let cell = "SN\u{1b}[1A\nother  approved";
        let text = align(&[vec!["serial".to_owned(), cell.to_owned()]]);
        assert_eq!(text, "serial  SN\u{fffd}[1A\u{fffd}other  approved\n");
    }
}
