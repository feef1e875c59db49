//! What the checks have against each level, for orders of the level `idle`: nothing is written for that, and no order is
//! used up.

use disk::permit::{self, Circumstances};
use protocol::{
    Wipe,
    wipe::{DiskForecast, PowerLevel},
};
use wipe::forecast::LEVELS;

use crate::chain;

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
