//! Drivers and firmware that are not here: who wants what of the server's store, in which order it is fetched, and what
//! is said where it does not come.
//!
//! ```text
//!   a device's driver is absent ──► wanted ──► fetched, from a medium or once the machine was announced ──► loaded, or a gap
//! ```

use std::{
    collections::BTreeMap,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use modules::{Index, Place};
use protocol::inventory::Gap;
use tracing::{debug, info};

use super::{
    class,
    class::Class,
    fetch::{self, Failure, Source},
    findings::Findings,
    medium::Media,
    stock::{Parcel, Stock},
};

/// The most files that are fetched at once.
pub(super) const HANDS: usize = 4;

/// How long everything that is wanted at one time may take altogether.
pub(super) const PATIENCE: Duration = Duration::from_mins(2);

/// The most names in the one gap of a server without a store.
const MOST_NAMES: usize = 24;

/// What is here, and what is still wanted of the store. Shared by all threads that load or fetch.
#[derive(Debug)]
pub(super) struct Supply<'t> {
    stock: Stock,
    findings: Findings,
    media: &'t Media,
    state: Mutex<State<'t>>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State<'t> {
    /// Those that still lack something, in the order of their classes.
    wants: Vec<Want<'t>>,
    /// What was begun to be fetched.
    files: BTreeMap<Place, Fate>,
    /// When what is wanted now is given up.
    deadline: Option<Instant>,
    /// Drivers that the server has nothing of, as they are told: name, device.
    absent: Vec<(String, String)>,
    /// Whether the server ever sent a file.
    has_come: bool,
    door: Door,
    /// How many times a medium had been found when it was asked for last.
    media: usize,
    /// Whether the last want has ended since somebody asked.
    has_ended: bool,
}

/// Whether files are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Door {
    /// Not yet: the server does not know this machine.
    #[default]
    Shut,
    /// As they are wanted.
    Open,
    /// No longer.
    Closed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Busy,
    Here,
    /// On no medium: left to the server, once it knows this machine.
    Left,
    /// To be asked for once more.
    Free,
    Failed(Failure),
}

/// A driver that lacks something.
#[derive(Debug, Clone)]
pub(super) struct Want<'t> {
    /// Its module's file.
    pub(super) file: &'t str,
    /// The `modalias` of the device that asks for it; empty where none does.
    pub(super) device: String,
    class: Class,
    /// Whether it is loaded meanwhile: what comes makes it better.
    pub(super) is_loaded: bool,
    parcels: Vec<Parcel>,
    /// Whether it is being passed on.
    is_ending: bool,
}

impl Want<'_> {
    fn name(&self) -> String {
        modules::name(self.file)
    }

    /// Holds for drivers that disks or ports may appear with.
    fn is_awaited(&self) -> bool {
        !self.is_loaded && matches!(self.class, Class::Port | Class::Disk)
    }
}

#[cfg(test)]
impl<'t> Want<'t> {
    /// One that lacks nothing.
    pub(super) fn of(file: &'t str, device: &str) -> Self {
        let (class, device) = (class::of(file), device.to_owned());
        Self { file, device, class, is_loaded: true, parcels: Vec::new(), is_ending: false }
    }
}

impl<'t> Supply<'t> {
    /// Begins with nothing wanted, and with nobody to ask.
    pub(super) fn new(stock: Stock, findings: Findings, media: &'t Media) -> Self {
        Self { stock, findings, media, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Returns what is here.
    pub(super) fn stock(&self) -> &Stock {
        &self.stock
    }

    /// Returns what is noticed on the way.
    pub(super) fn findings(&self) -> &Findings {
        &self.findings
    }

    /// Says whether a driver is to be loaded at once. What it lacks is wanted; where it can never be loaded that is a gap.
    pub(super) fn is_ready(
        &self,
        index: &Index<'t>,
        file: &'t str,
        plan: &[&'t str],
        device: &str,
    ) -> bool {
        let name = modules::name(file);
        let essentials = index.essentials(&name);
        if essentials.iter().any(|path| self.stock.is_unordered(path)) {
            let reason = "not loaded: storage on a network, ordered by nobody";
            debug!(module = name, reason);
            self.findings.add_quietly(gap(&name, device, reason));
            return false;
        }
        let lack = self.stock.lack(plan, &essentials);
        if !lack.left_out.is_empty() {
            let count = lack.left_out.len();
            let reason = format!("too much firmware: {count} more, {} first", lack.left_out[0]);
            self.findings.add_quietly(gap(&name, device, &reason));
        }
        if let Some(path) = lack.missing.first() {
            let reason = format!("not in the store: {path}");
            self.findings.add_gap(gap(&name, device, &reason));
            return false;
        }
        let class = class::of(file);
        // What the machine gets online with waits for nothing that has to be fetched.
        let needs_firmware = lack.parcels.iter().any(|parcel| parcel.place.is_firmware());
        let is_loaded = lack.is_loadable && (class <= Class::Port || !needs_firmware);
        if !lack.parcels.is_empty() {
            let (parcels, device) = (lack.parcels, device.to_owned());
            self.want(Want { file, device, class, is_loaded, parcels, is_ending: false });
        }
        is_loaded
    }

    fn want(&self, want: Want<'t>) {
        debug!(module = want.file, parcels = want.parcels.len(), "wanted of the store");
        if want.is_awaited() {
            self.findings.await_driver(want.name());
        }
        let mut state = self.state();
        let place = state.wants.partition_point(|earlier| earlier.class <= want.class);
        state.wants.insert(place, want);
        self.changed.notify_all();
    }

    /// Lets files be fetched: the server knows this machine.
    pub(super) fn open(&self) {
        let mut state = self.state();
        if state.door == Door::Shut {
            state.door = Door::Open;
            self.ask_again(&mut state);
        }
    }

    /// Has what was left be asked for once more: there is somebody else to ask.
    fn ask_again(&self, state: &mut State<'t>) {
        for fate in state.files.values_mut().filter(|fate| **fate == Fate::Left) {
            *fate = Fate::Free;
        }
        self.changed.notify_all();
    }

    /// Lets every [`Supply::work`] return.
    pub(super) fn close(&self) {
        self.state().door = Door::Closed;
        self.changed.notify_all();
    }

    /// Returns how many threads have something to fetch.
    pub(super) fn hands(&self) -> usize {
        let mut state = self.state();
        let media = self.media.count();
        if media > state.media {
            state.media = media;
            self.ask_again(&mut state);
        }
        if state.door != Door::Open && media == 0 {
            return 0;
        }
        state.wants.iter().map(|want| want.parcels.len()).sum::<usize>().min(HANDS)
    }

    /// Returns the drivers of disks that are held back for nothing but firmware.
    pub(super) fn held_back(&self) -> Vec<&'t str> {
        let state = self.state();
        let only_firmware =
            |want: &&Want<'t>| want.parcels.iter().all(|parcel| parcel.place.is_firmware());
        let held = |want: &&Want<'t>| want.class == Class::Disk && !want.is_loaded;
        state.wants.iter().filter(held).filter(only_firmware).map(|want| want.file).collect()
    }

    /// Notes that a driver was loaded without its firmware: what comes makes it better.
    pub(super) fn note_loaded(&self, file: &str) {
        for want in &mut self.state().wants {
            want.is_loaded |= want.file == file;
        }
    }

    /// Holds when nothing is wanted.
    pub(super) fn is_idle(&self) -> bool {
        self.state().wants.is_empty()
    }

    /// Holds when nothing is wanted, and its end was told.
    pub(super) fn is_quiet(&self) -> bool {
        let state = self.state();
        state.wants.is_empty() && !state.has_ended
    }

    /// Holds when nothing is wanted that disks or ports may appear with.
    pub(super) fn is_over(&self) -> bool {
        !self.state().wants.iter().any(Want::is_awaited)
    }

    /// Says once that everything that was wanted has come, or never will.
    pub(super) fn take_end(&self) -> bool {
        std::mem::take(&mut self.state().has_ended)
    }

    /// Fetches what is wanted, until the supply is closed, and passes on each driver that lacks nothing more that can be had:
    /// with the firmware that came for it. Any number of threads may do so.
    pub(super) fn work(&self, source: &Source<'_>, load: impl Fn(&Want<'t>, &[Place])) {
        while let Some(parcel) = self.take() {
            let begun = Instant::now();
            let on_medium =
                self.media.fetch(&parcel, &self.stock, &|gap| self.findings.add_gap(gap));
            let came = on_medium.or_else(|| {
                let deadline = self.deadline_or_left(&parcel)?;
                Some(fetch::fetch(&parcel, &self.stock, source, deadline))
            });
            let Some(came) = came else { continue };
            let milliseconds = begun.elapsed().as_millis();
            match &came {
                Ok(()) => info!(file = %parcel.place, milliseconds, "fetched"),
                Err(failure) => debug!(file = %parcel.place, milliseconds, %failure, "not fetched"),
            }
            self.settle(&parcel, came, &load);
        }
    }

    /// Takes the next file to be fetched. Waits until there is one; nothing when the supply is closed.
    fn take(&self) -> Option<Parcel> {
        let mut state = self.state();
        loop {
            if state.door == Door::Closed {
                return None;
            }
            if (state.door == Door::Open || self.media.count() > 0)
                && let Some(parcel) = state.next()
            {
                state.files.insert(parcel.place.clone(), Fate::Busy);
                return Some(parcel);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Returns until when the server may be asked for a file. Where it does not know this machine, the file is left to it.
    fn deadline_or_left(&self, parcel: &Parcel) -> Option<Instant> {
        let mut state = self.state();
        if state.door == Door::Open {
            return Some(*state.deadline.get_or_insert_with(|| Instant::now() + PATIENCE));
        }
        state.files.insert(parcel.place.clone(), Fate::Left);
        None
    }

    /// Notes what came of a file, and ends the wants that it was the last one for.
    fn settle(
        &self,
        parcel: &Parcel,
        came: Result<(), Failure>,
        load: &impl Fn(&Want<'t>, &[Place]),
    ) {
        let ended = {
            let mut state = self.state();
            state.has_come |= came.is_ok();
            let fate = came.map_or_else(Fate::Failed, |()| Fate::Here);
            state.files.insert(parcel.place.clone(), fate);
            state.complete()
        };
        self.pass_on(ended, load);
        self.changed.notify_all();
    }

    /// Passes on what has ended, and what ended meanwhile: wants that came after their last file was settled.
    fn pass_on(&self, mut ended: Vec<Want<'t>>, load: &impl Fn(&Want<'t>, &[Place])) {
        while !ended.is_empty() {
            for want in &ended {
                self.end(want, load);
            }
            // Only after they were passed on: until then they are on their way.
            let mut state = self.state();
            state.wants.retain(|want| {
                !(want.is_ending && ended.iter().any(|ended| ended.file == want.file))
            });
            if state.wants.is_empty() {
                self.end_all(&mut state);
                return;
            }
            ended = state.complete();
        }
    }

    /// Passes a driver on whose files have come, or says which have not.
    fn end(&self, want: &Want<'t>, load: &impl Fn(&Want<'t>, &[Place])) {
        let mut firmware = Vec::new();
        let name = want.name();
        for parcel in &want.parcels {
            let fate = self.state().files.get(&parcel.place).cloned();
            let what = match fate {
                Some(Fate::Failed(failure)) => failure,
                _ if parcel.place.is_firmware() => {
                    firmware.push(parcel.place.clone());
                    continue;
                }
                _ => continue,
            };
            if want.is_awaited() && want.class == Class::Disk && !parcel.place.is_firmware() {
                self.findings.give_up_driver(name.clone());
            }
            if what == Failure::Absent {
                let mut state = self.state();
                let told = (name.clone(), want.device.clone());
                if !state.absent.contains(&told) {
                    state.absent.push(told);
                }
            } else {
                let reason = format!("{}: {what}", parcel.place);
                self.findings.add_gap(gap(&name, &want.device, &reason));
            }
        }
        load(want, &firmware);
    }

    /// Says what the server does not have: in one line where it has nothing at all.
    fn end_all(&self, state: &mut State<'t>) {
        state.has_ended = true;
        state.deadline = None;
        // What is wanted again by another device is asked for again.
        state.files.clear();
        let absent = std::mem::take(&mut state.absent);
        if absent.is_empty() {
            return;
        }
        if state.has_come {
            for (name, device) in absent {
                self.findings.add_gap(gap(&name, &device, "not in the store"));
            }
            return;
        }
        let count = absent.len();
        let mut names: Vec<String> = absent
            .into_iter()
            .take(MOST_NAMES)
            .map(
                |(name, device)| {
                    if device.is_empty() { name } else { format!("{name} for {device}") }
                },
            )
            .collect();
        if count > MOST_NAMES {
            names.push(format!("{} more", count - MOST_NAMES));
        }
        let reason =
            format!("not in the store, which has nothing of this image's: {}", names.join(", "));
        self.findings.add_gap(super::gap("modules", "/v1/store", &reason));
    }

    fn state(&self) -> MutexGuard<'_, State<'t>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'t> State<'t> {
    /// Returns the first file that nobody has begun to fetch, or that is to be asked for once more.
    fn next(&self) -> Option<Parcel> {
        let mut parcels = self.wants.iter().flat_map(|want| &want.parcels);
        let is_free =
            |parcel: &&Parcel| matches!(self.files.get(&parcel.place), None | Some(Fate::Free));
        parcels.find(is_free).cloned()
    }

    /// Takes the wants that nothing is to come for any more; they stay among the others.
    fn complete(&mut self) -> Vec<Want<'t>> {
        let files = &self.files;
        let is_settled = |parcel: &Parcel| {
            matches!(files.get(&parcel.place), Some(Fate::Here | Fate::Failed(_)))
        };
        let mut complete = Vec::new();
        for want in &mut self.wants {
            if !want.is_ending && want.parcels.iter().all(is_settled) {
                want.is_ending = true;
                complete.push(want.clone());
            }
        }
        complete
    }
}

/// What a driver's gap says: the module, the device that asks for it, and why it has none.
pub(super) fn gap(module: &str, device: &str, reason: &str) -> Gap {
    super::gap(&format!("modules/{module}"), device, &reason)
}

#[cfg(test)]
mod tests;
