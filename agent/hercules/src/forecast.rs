//! What the checks have against each level, for orders of the level `idle`: nothing is written for that, and no order is
//! used up.

use std::{fmt::Write as _, sync::mpsc, thread, time::Duration};

use disk::permit::{self, Circumstances};
use protocol::{
    Wipe,
    inventory::Disk,
    wipe::{DiskForecast, PowerLevel},
};
use wipe::forecast::LEVELS;

use crate::{chain, confirm::printable, wipe::facts};

/// How long a disk has for the checks of all levels: the kernel gives a command half a minute, and tries again.
pub(crate) const CHECKS_PATIENCE: Duration = Duration::from_mins(3);

/// What is said of a disk that hangs.
pub(crate) const SILENT: &str = "the disk does not answer, and was given up";

/// Returns what is told of a disk, or why nothing is, for a person.
pub(crate) fn shown(disk: &Disk, told: Result<&DiskForecast, &str>) -> String {
    let heading = format!(
        "{}  {} {}, {}, {}",
        disk.name,
        disk.model.as_deref().unwrap_or("no model"),
        disk.serial.as_deref().unwrap_or("no serial number"),
        disk.size_bytes,
        facts(disk).transport,
    );
    let lines = match told {
        Ok(told) => [vec![format!("{heading}, {}", told.medium.word())], told.lines()].concat(),
        Err(why) => vec![heading, format!("  {why}")],
    };
    let mut text = String::new();
    for line in lines {
        let _infallible = writeln!(text, "{}", printable(&line));
    }
    text
}

/// Has something done on a thread of its own. Nothing where that takes longer: the thread is left to itself.
pub(crate) fn within<T: Send + 'static>(
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (tell, done) = mpsc::channel();
    // Where nobody waits any more, nobody needs to be told.
    let work = move || tell.send(work()).unwrap_or_default();
    thread::Builder::new().name("looking".to_owned()).spawn(work).ok()?;
    done.recv_timeout(patience).ok()
}

/// What stands in the way, level by level.
#[derive(Debug)]
pub(crate) struct Against(Vec<(PowerLevel, Vec<Reason>)>);

/// The number of a disk in the order, or none for all of them; and why not.
type Reason = (Option<usize>, String);

impl Against {
    /// Has the checks made that stand before each level. Nobody may hold the disks meanwhile.
    ///
    /// As if the order said that what is on the disks may go: where it does not, that is one reason more, and does not
    /// hide the others.
    pub(crate) fn find(wipe: &Wipe, circumstances: &Circumstances<'_>) -> Self {
        let found = |level: PowerLevel, overwrite: bool| {
            let mut wipe = Wipe { level, ..wipe.clone() };
            wipe.order.disks.iter_mut().for_each(|disk| disk.overwrite |= overwrite);
            permit::obstacles(&wipe, circumstances)
        };
        let told = |(disk, refusal): (_, permit::Refusal)| -> Reason { (disk, chain(&refusal)) };
        let is_blank_only = wipe.order.disks.iter().any(|disk| !disk.overwrite);
        let data: Vec<_> = is_blank_only
            .then(|| found(PowerLevel::Working, false))
            .into_iter()
            .flatten()
            .filter(|(_, refusal)| matches!(refusal, permit::Refusal::HasData { .. }))
            .map(told)
            .collect();
        let at = |level: PowerLevel| {
            let mut all: Vec<_> = found(level, true).into_iter().map(told).collect();
            if level.destroys() {
                all.extend(data.iter().cloned());
            }
            (level, all)
        };
        Self(LEVELS.into_iter().map(at).collect())
    }

    /// Holds when nothing stands in the way of a level.
    #[cfg(feature = "command")]
    pub(crate) fn is_free(&self, level: PowerLevel) -> bool {
        self.0.iter().any(|(one, against)| *one == level && against.is_empty())
    }

    /// Adds it to the forecast of the disk of this number.
    pub(crate) fn add_to(&self, forecast: &mut DiskForecast, number: usize) {
        for (level, against) in &self.0 {
            let of_disk = |disk: Option<usize>| disk.is_none_or(|disk| disk == number);
            let its = against.iter().filter(|(disk, _)| of_disk(*disk)).map(|(_, why)| why.clone());
            for told in forecast.levels.iter_mut().filter(|told| told.level == *level) {
                told.in_the_way.extend(its.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::wipe::{LevelForecast, MediumWord, Outcome};

    use super::*;

    #[test]
    fn a_reason_stands_with_its_level_and_disk_and_one_for_all_with_every_disk() {
        let told = |level: PowerLevel| LevelForecast {
            level,
            ways: Vec::new(),
            asked: level.asked(),
            reaches: Outcome::None,
            in_the_way: vec!["frozen".to_owned()],
            would_remove: None,
            notes: Vec::new(),
        };
        let levels = LEVELS.into_iter().map(told).collect();
        let (obstacles, not_asked) = (Vec::new(), Vec::new());
        let mut forecast = DiskForecast { medium: MediumWord::Flash, levels, obstacles, not_asked };
        let against = Against(vec![
            (PowerLevel::Harbour, Vec::new()),
            (PowerLevel::Full, vec![(Some(1), "one".to_owned()), (Some(0), "other".to_owned())]),
            (PowerLevel::Redline, vec![(None, "all".to_owned())]),
        ]);
        against.add_to(&mut forecast, 1);
        let said: Vec<Vec<&str>> = forecast
            .levels
            .iter()
            .map(|level| level.in_the_way.iter().map(String::as_str).collect())
            .collect();
        let frozen = vec!["frozen"];
        assert_eq!(said, [frozen.clone(), frozen, vec!["frozen", "one"], vec!["frozen", "all"]]);
    }
}
