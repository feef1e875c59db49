//! Figures: what a boot costs, against what it may cost.

mod boot;
mod fleet;
mod ground;
mod imaging;
mod install;
mod memory;
mod serve;
mod wiping;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

pub(crate) use self::serve::crowd;

use crate::{checkout, lab, story::say};

/// One area of figures, by its name.
type Area = (&'static str, fn() -> Result<Vec<Figure>>);

const AREAS: &[Area] = &[
    ("boot", boot::measure),
    ("imaging", imaging::measure),
    ("install", install::measure),
    ("memory", memory::measure),
    ("serve", serve::measure),
    ("wiping", wiping::measure),
];

/// A figure beside what it is compared with.
#[derive(Debug)]
struct Figure {
    case: &'static str,
    unit: &'static str,
    ours: f64,
    peer: &'static str,
    /// Absent where the peer is not installed, or does not do this.
    theirs: Option<f64>,
    /// How many times better ours shall be, where that is not once.
    wanted: Option<f64>,
}

impl Figure {
    /// Returns how many times better ours is; less is better in all of them.
    fn ratio(&self) -> Option<f64> {
        Some(self.theirs? / self.ours)
    }

    fn json(&self) -> Value {
        let Figure { case, unit, ours, peer, theirs, wanted } = self;
        json!({
            "case": case, "unit": unit, "better": "lower",
            "ours": ours, "peer": peer, "theirs": theirs, "ratio": self.ratio(),
            "wantedRatio": wanted.unwrap_or(1.0),
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
            let Figure { case, unit, ours, peer, theirs, wanted } = figure;
            let theirs =
                theirs.map_or("not there".to_owned(), |theirs| format!("{theirs:.2} {unit:<2}"));
            let ratio = figure.ratio().map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
            let wanted = wanted.map_or(String::new(), |wanted| format!("; wanted {wanted:.2}"));
            say(&format!(
                "{case:44} {ours:>11.2} {unit:<2} {theirs:>14} {ratio:>6}  {peer}{wanted}"
            ));
        }
        if *name == "wiping" {
            wiping::must_hold(&figures)?;
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
fn megabytes(path: &Path) -> Result<f64> {
    let size = fs::metadata(path).with_context(|| format!("looking at {}", path.display()))?.len();
    Ok(bytes_as_float(size) / 1e6)
}

/// Returns a number of bytes as a float; exact, because no file here has 4 PB.
fn bytes_as_float(bytes: u64) -> f64 {
    let thousands = u32::try_from(bytes / 1000).expect("less than 4 TB");
    let rest = u32::try_from(bytes % 1000).expect("less than 1000");
    f64::from(thousands) * 1000.0 + f64::from(rest)
}

/// Returns a number from the environment.
fn number(name: &str, otherwise: usize) -> Result<usize> {
    match env::var(name) {
        Err(env::VarError::NotPresent) => Ok(otherwise),
        Ok(text) => text.parse().with_context(|| format!("{name}: {text:?} is no number")),
        Err(error) => bail!("{name}: {error}"),
    }
}

/// Returns how many processes ran or waited for a processor in the last minute, on the average.
fn load() -> Result<String> {
    let text = fs::read_to_string("/proc/loadavg").context("reading /proc/loadavg")?;
    Ok(text.split(' ').next().unwrap_or_default().to_owned())
}

/// Returns a path as programs are told it.
fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is no text", path.display()))
}

/// Returns where a program is: among those of `make deps-bench`, or on the search path.
fn installed(program: &str) -> Option<PathBuf> {
    let ours = checkout::root().join("target/bench/peers/bin");
    let path = env::var_os("PATH").unwrap_or_default();
    std::iter::once(ours)
        .chain(env::split_paths(&path))
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}
