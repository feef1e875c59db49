//! Figures: what a boot costs, against what it may cost.

mod boot;
mod fleet;
mod install;
mod memory;
mod serve;

use std::fs;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

pub(crate) use self::serve::crowd;

use crate::{checkout, lab, story::say};

/// One area of figures, by its name.
type Area = (&'static str, fn() -> Result<Vec<Figure>>);

const AREAS: &[Area] = &[
    ("boot", boot::measure),
    ("install", install::measure),
    ("memory", memory::measure),
    ("serve", serve::measure),
];

/// A figure beside what it is compared with.
#[derive(Debug)]
struct Figure {
    case: &'static str,
    unit: &'static str,
    ours: f64,
    peer: &'static str,
    theirs: f64,
}

impl Figure {
    /// Returns how many times better ours is; less is better in all of them.
    fn ratio(&self) -> f64 {
        self.theirs / self.ours
    }

    fn json(&self) -> Value {
        let Figure { case, unit, ours, peer, theirs } = self;
        json!({
            "case": case, "unit": unit, "better": "lower",
            "ours": ours, "peer": peer, "theirs": theirs, "ratio": self.ratio(),
        })
    }
}

/// Measures an area, or all, prints a table and writes `target/bench/<area>.json`.
pub(crate) fn run(area: Option<&str>) -> Result<()> {
    lab::clean_leftovers()?;
    let chosen: Vec<&Area> =
        AREAS.iter().filter(|(name, _)| area.is_none_or(|area| area == *name)).collect();
    if chosen.is_empty() {
        let names: Vec<_> = AREAS.iter().map(|(name, _)| *name).collect();
        bail!("there is no such area; there are {}", names.join(", "));
    }
    let directory = checkout::root().join("target/bench");
    fs::create_dir_all(&directory).context("making target/bench")?;
    for (name, measure) in chosen {
        let figures = measure().with_context(|| format!("measuring {name}"))?;
        let table: Vec<Value> = figures.iter().map(Figure::json).collect();
        let text = serde_json::to_string_pretty(&table).context("writing JSON")?;
        let path = directory.join(format!("{name}.json"));
        fs::write(&path, text + "\n").with_context(|| format!("writing {}", path.display()))?;
        say(&format!("{:44} {:>14} {:>14}  ratio  compared with", name, "ours", "theirs"));
        for figure in &figures {
            let Figure { case, unit, ours, peer, theirs } = figure;
            let ratio = figure.ratio();
            say(&format!(
                "{case:44} {ours:>11.2} {unit:<2} {theirs:>11.2} {unit:<2} {ratio:5.2}  {peer}"
            ));
        }
    }
    Ok(())
}

/// Returns the value in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Returns a file's size in MB.
fn megabytes(path: &std::path::Path) -> Result<f64> {
    let size = fs::metadata(path).with_context(|| format!("looking at {}", path.display()))?.len();
    Ok(bytes_as_float(size) / 1e6)
}

/// Returns a number of bytes as a float; exact, because no file here has 4 PB.
fn bytes_as_float(bytes: u64) -> f64 {
    let thousands = u32::try_from(bytes / 1000).expect("less than 4 TB");
    let rest = u32::try_from(bytes % 1000).expect("less than 1000");
    f64::from(thousands) * 1000.0 + f64::from(rest)
}
