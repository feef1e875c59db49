//! A machine with one disk and a server that keeps its journal. Power may be cut before, in or after anything that
//! happens to either.
//!
//! ```text
//! boot ─► command, write, flush, wait, step of the journal … ─► cut ─► what was not flushed is lost or not ─► boot
//! ```

use std::{
    collections::BTreeMap,
    fmt, io,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use disk::{Medium, Zeroing, command::OpalDevice};
use protocol::{
    Bytes,
    order::DiskIdentity,
    wipe::{DiskReport, Seed, Verdict, Wipe, WipeStep, WipeStepKind},
};
use wipe::{
    Gate, Handling, Opening, Part, Stopped, Watch,
    firmware::{Device, Reach},
    unit::{self, Terms},
};

use crate::{
    drive::{Drive, SECTOR},
    medium::Chance,
};

/// When power is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    /// At which of the things that happen in this boot, from 1.
    pub(crate) at: usize,
    pub(crate) when: When,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// It did not happen any more.
    Before,
    /// So many 65,536ths of it happened.
    During(u16),
    /// It happened, and nobody was told.
    After,
}

/// A disk in a machine, with what the server was told.
pub(crate) struct Machine {
    state: Mutex<State>,
    /// How often it was said how far it is.
    looks: AtomicU64,
}

struct State {
    drive: Drive,
    /// What was written since the last flush, all versions of each sector.
    cache: BTreeMap<usize, Vec<Vec<u8>>>,
    /// What the server has.
    journal: Vec<WipeStepKind>,
    /// What is on its way there.
    notes: Vec<WipeStepKind>,
    now: Duration,
    happened: usize,
    /// When the erasure was about to begin.
    begun: usize,
    cut: Option<Cut>,
    is_off: bool,
    chance: Chance,
    /// What was said to be erased, and was not.
    lies: Vec<String>,
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Machine")
    }
}

/// There is no power.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Off;

pub(crate) fn off() -> io::Error {
    io::Error::from_raw_os_error(19) // ENODEV
}

impl State {
    /// Lets time pass.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.drive.advance(time);
    }

    /// Puts everything on the medium that a flush would.
    fn flush(&mut self) {
        for (lba, versions) in std::mem::take(&mut self.cache) {
            // What a disk does not take any more, once it erases itself, is not there.
            self.drive.write(lba, versions.last().expect("one at least")).unwrap_or_default();
        }
    }

    fn deliver(&mut self, notes: usize) {
        let delivered: Vec<_> = self.notes.drain(..notes).collect();
        self.journal.extend(delivered);
    }

    fn lose_power(&mut self) {
        self.is_off = true;
        // Of each sector that was not flushed any version may be there, or none.
        let kept = [1, 4, 8, 15][self.chance.below(4)];
        for (lba, versions) in std::mem::take(&mut self.cache) {
            if self.chance.below(16) < kept {
                let version = self.chance.below(versions.len());
                self.drive.write(lba, &versions[version]).unwrap_or_default();
            }
        }
        let told = self.chance.below(self.notes.len() + 1);
        self.deliver(told);
        self.notes.clear();
        self.drive.power_cut();
    }
}

impl Machine {
    pub(crate) fn new(drive: Drive, chance: Chance) -> Self {
        let state = State {
            drive,
            cache: BTreeMap::new(),
            journal: Vec::new(),
            notes: Vec::new(),
            now: Duration::ZERO,
            happened: 0,
            begun: 0,
            cut: None,
            is_off: false,
            chance,
            lies: Vec::new(),
        };
        Self { state: Mutex::new(state), looks: AtomicU64::new(0) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn drive(&self) -> Drive {
        self.state().drive.clone()
    }

    /// What was said to be erased while it was not; empty in a world that is well.
    pub(crate) fn lies(&self) -> Vec<String> {
        self.state().lies.clone()
    }

    pub(crate) fn journal(&self) -> Vec<WipeStepKind> {
        self.state().journal.clone()
    }

    /// Takes the server's journal away.
    pub(crate) fn forget(&self) {
        self.state().journal.clear();
    }

    /// Holds when power was cut in the last boot.
    pub(crate) fn is_off(&self) -> bool {
        self.state().is_off
    }

    /// How many things happened in the last boot, and how many of them before something was begun.
    pub(crate) fn happened(&self) -> (usize, usize) {
        let state = self.state();
        (state.happened, state.begun)
    }

    /// Lets time pass while the machine is off or somewhere else.
    pub(crate) fn rest(&self, time: Duration) {
        self.state().drive.advance(time);
    }

    /// Switches power off, once the machine has done what it was to do.
    pub(crate) fn switch_off(&self) {
        let mut state = self.state();
        state.flush();
        state.drive.power_cut();
    }

    /// Does one thing that can be cut.
    fn happen<T>(
        &self,
        during: impl FnOnce(&mut State, u16),
        act: impl FnOnce(&mut State) -> T,
    ) -> Result<T, Off> {
        let mut state = self.state();
        if state.is_off {
            return Err(Off);
        }
        state.happened += 1;
        let cut = state.cut.filter(|cut| cut.at == state.happened);
        match cut.map(|cut| cut.when) {
            None => Ok(act(&mut state)),
            Some(when) => {
                match when {
                    When::Before => {}
                    When::During(share) => during(&mut state, share),
                    When::After => drop(act(&mut state)),
                }
                state.lose_power();
                Err(Off)
            }
        }
    }

    /// Sends a command to the disk. What was written before it stands on the medium first.
    pub(crate) fn command<T>(&self, mut send: impl FnMut(&mut Drive) -> T) -> Result<T, Off> {
        let send = std::cell::RefCell::new(&mut send);
        self.happen(
            |state, share| {
                state.flush();
                state.drive.cut_in_command(share);
                drop((send.borrow_mut())(&mut state.drive));
            },
            |state| {
                state.flush();
                (send.borrow_mut())(&mut state.drive)
            },
        )
    }

    /// Boots, and wipes as ordered. Returns the report, unless power was cut before it was there.
    pub(crate) fn boot(&self, order: &Wipe, cut: Option<Cut>) -> Option<DiskReport> {
        let mut wipe = order.clone();
        let (sectors, kind, serial, drive) = {
            let mut state = self.state();
            (state.cut, state.is_off, state.happened, state.begun) = (cut, false, 0, 0);
            let step = |kind: &WipeStepKind| WipeStep { disk: 0, kind: kind.clone() };
            wipe.journal = state.journal.iter().map(step).collect();
            let drive = &state.drive;
            (drive.sectors(), drive.kind(), drive.serial(), drive.clone())
        };
        let size = u64::try_from(sectors * SECTOR).expect("small");
        let device = match drive {
            Drive::Nvme(_) => Device::Nvme { controller: self, nsid: 1 },
            Drive::Ata(_) => Device::Ata { device: self },
            Drive::Scsi(_) => Device::Scsi { device: self },
            Drive::Mmc(_) => Device::Mmc { device: self, size },
            Drive::Opal(_) | Drive::Plain(_) => Device::None,
        };
        let part = Part {
            number: 0,
            identity: DiskIdentity {
                serial: Some(serial.to_owned()),
                size_bytes: Bytes(size),
                logical_sector_bytes: Some(512),
                ..DiskIdentity::default()
            },
            name: "sda".to_owned(),
            transport: None,
            medium: self,
            kind,
            device,
            may: Reach::Everything,
            withheld: None,
            opal: matches!(drive, Drive::Opal(_)).then_some(self as &dyn OpalDevice),
            filesystems: None,
            handling: self,
            watch: self,
        };
        let (gate, now) = (Gate::new(1), || 1_700_000_000_000);
        gate.open(Opening::Go);
        let terms = Terms { wipe: &wipe, gate: &gate, now: &now };
        let report = unit::wipe(std::slice::from_ref(&part), terms).remove(0);
        let mut state = self.state();
        if state.is_off {
            return None;
        }
        let all = state.notes.len();
        state.deliver(all);
        Some(report)
    }
}

pub(crate) fn gone<T>(result: Result<io::Result<T>, Off>) -> io::Result<T> {
    result.unwrap_or_else(|Off| Err(off()))
}

fn lba(offset: u64) -> usize {
    usize::try_from(offset).expect("small") / SECTOR
}

impl Medium for Machine {
    fn size_bytes(&self) -> u64 {
        u64::try_from(self.state().drive.sectors() * SECTOR).expect("small")
    }

    fn sector_bytes(&self) -> u32 {
        512
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut state = self.state();
        if state.is_off {
            return Err(off());
        }
        for (lba, piece) in (lba(offset)..).zip(buffer.chunks_mut(SECTOR)) {
            let cached = state.cache.get(&lba).and_then(|versions| versions.last());
            let found = cached.cloned().map_or_else(|| state.drive.read(lba), Ok);
            piece.copy_from_slice(&found.map_err(|_| io::Error::from_raw_os_error(5))?);
        }
        Ok(())
    }

    fn write(&self, offset: u64, buffer: &[u8]) -> io::Result<()> {
        let place = |state: &mut State, sectors: usize| {
            // A disk that takes no write says so at once.
            if state.drive.read(lba(offset)).is_err() {
                return Err(io::Error::from_raw_os_error(5));
            }
            for (lba, piece) in (lba(offset)..).zip(buffer.chunks(SECTOR)).take(sectors) {
                state.cache.entry(lba).or_default().push(piece.to_vec());
            }
            let time = if sectors >= LARGE { WRITE_TIME } else { SMALL_WRITE_TIME };
            state.pass(time);
            Ok(())
        };
        let sectors = buffer.len() / SECTOR;
        if sectors >= LARGE {
            self.wait_for_a_look(offset);
        }
        gone(self.happen(
            |state, share| drop(place(state, sectors * usize::from(share) / 0x1_0000)),
            |state| place(state, sectors),
        ))
    }

    fn zero(&self, _: u64, _: u64) -> io::Result<Zeroing> {
        Ok(Zeroing::Unsupported)
    }

    fn flush(&self) -> io::Result<()> {
        // One that is cut has some of it on the medium, as without it.
        gone(self.happen(
            |_, _| {},
            |state| {
                state.flush();
                Ok(())
            },
        ))
    }
}

/// Sectors of a write of a pass.
const LARGE: usize = 128;

impl Machine {
    /// Has every third place wait until it was looked three times at what is safe, which is what stands before it, and
    /// every sixth three times more: real disks take their time. By place, not by turn: the first one may come last.
    fn wait_for_a_look(&self, offset: u64) {
        let looks = match lba(offset) / LARGE % 6 {
            2 => 3,
            5 => 6,
            _ => return,
        };
        for _ in 0..looks {
            let (seen, begun) = (self.looks.load(Ordering::Relaxed), Instant::now());
            while self.looks.load(Ordering::Relaxed) == seen && !self.is_off() {
                assert!(begun.elapsed() < Duration::from_mins(1), "nobody looks");
                thread::park_timeout(Duration::from_millis(2));
            }
            if self.is_off() {
                return;
            }
            self.state().pass(WRITE_TIME);
        }
    }
}

/// A slow disk: watermarks are ten seconds apart.
const WRITE_TIME: Duration = Duration::from_secs(12);
const SMALL_WRITE_TIME: Duration = Duration::from_millis(20);

impl Handling for Machine {
    fn discards(&self) -> bool {
        false
    }

    fn discard(&self, _: u64, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn refresh(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Watch for Machine {
    fn check(&self) -> Result<(), Stopped> {
        if self.is_off() { Err(Stopped::GivenUp) } else { Ok(()) }
    }

    fn wait(&self, time: Duration) -> Result<(), Stopped> {
        self.happen(
            |state, share| state.pass(time * u32::from(share) / 0x1_0000),
            |state| state.pass(time),
        )
        .map_err(|Off| Stopped::GivenUp)
    }

    fn elapsed(&self) -> Duration {
        self.state().now
    }

    fn journal(&self, step: WipeStepKind) -> Result<(), Stopped> {
        self.happen(
            |_, _| {},
            |state| {
                // What was noted before it is on the same way.
                let all = state.notes.len();
                state.deliver(all);
                if state.begun == 0 && matches!(step, WipeStepKind::Begin { .. }) {
                    state.begun = state.happened;
                }
                state.journal.push(step);
            },
        )
        .map_err(|Off| Stopped::GivenUp)
    }

    fn note(&self, step: WipeStepKind) {
        let mut state = self.state();
        if state.is_off {
            return;
        }
        if let WipeStepKind::Over { verdict } = &step
            && matches!(verdict, Verdict::Erased | Verdict::ErasedWithExceptions)
        {
            let readable = state.drive.readable();
            if readable > 0 {
                state.lies.push(format!("{verdict:?}, and {readable} sectors can be read"));
            }
        }
        // The server is told some time later.
        let waiting = state.notes.len();
        let told = state.chance.below(waiting + 1);
        state.deliver(told);
        state.notes.push(step);
    }

    fn progress(&self, _: u64, _: u64, _: u32) {
        self.looks.fetch_add(1, Ordering::Relaxed);
    }
}

/// Returns the passwords that a journal holds.
pub(crate) fn passwords(journal: &[WipeStepKind]) -> Vec<[u8; 32]> {
    let password = |step: &WipeStepKind| match step {
        WipeStepKind::AtaPassword { password } => password.parse::<Seed>().ok().map(|seed| seed.0),
        _ => None,
    };
    journal.iter().filter_map(password).collect()
}
