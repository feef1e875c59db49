//! A disk of any size in memory, which remembers what was put on it, and loses power.

use std::{collections::BTreeMap, io, ops::Range, sync::Mutex, time::Duration};

use ::disk::{Medium, Zeroing};
use protocol::wipe::WipeStepKind;

use crate::{Stopped, Watch};

pub(super) const SECTOR: u32 = 512;
const PAGE: u64 = 4096;
static ZEROS: [u8; 4096] = [0; 4096];

type Pages = BTreeMap<u64, Vec<u8>>;

#[derive(Debug, Default)]
struct State {
    /// What is read.
    seen: Pages,
    /// What is there after a power cut, but for what follows.
    durable: Pages,
    /// What was zeroed since the last flush.
    pending: Vec<Range<u64>>,
    operations_left: Option<usize>,
    planted: Vec<(u64, Vec<u8>, String)>,
    marks: Vec<(u64, u8)>,
}

/// The disk. It watches over its own wipe, too: that stops when the power is gone.
pub(in crate::working) struct Disk {
    size: u64,
    is_zeroing: bool,
    /// What cannot be written.
    pub(super) bad: Range<u64>,
    /// What stays as it is although it was written.
    pub(super) forgets: Range<u64>,
    state: Mutex<State>,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state.lock().unwrap();
        let planted = state.planted.iter().map(|(offset, _, name)| format!("{name}@{offset}"));
        let planted: Vec<_> = planted.collect();
        write!(f, "{} bytes, {planted:?}, {:?}", self.size, state.marks)
    }
}

/// Numbers that look random.
pub(super) struct Chance(pub(super) u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

fn read(pages: &Pages, offset: u64, buffer: &mut [u8]) {
    buffer.fill(0);
    let end = offset + u64::try_from(buffer.len()).unwrap();
    let first = offset - offset % PAGE;
    for (start, page) in pages.range(first..end) {
        let (from, to) = ((*start).max(offset), (start + PAGE).min(end));
        let index = |value: u64, base: u64| usize::try_from(value - base).unwrap();
        buffer[index(from, offset)..index(to, offset)]
            .copy_from_slice(&page[index(from, *start)..index(to, *start)]);
    }
}

fn write(pages: &mut Pages, offset: u64, bytes: &[u8]) {
    for (at, byte) in (offset..).zip(bytes) {
        let page =
            pages.entry(at - at % PAGE).or_insert_with(|| vec![0; usize::try_from(PAGE).unwrap()]);
        page[usize::try_from(at % PAGE).unwrap()] = *byte;
    }
}

fn zero(pages: &mut Pages, range: &Range<u64>) {
    let touched: Vec<u64> =
        pages.range(range.start - range.start % PAGE..range.end).map(|(start, _)| *start).collect();
    for start in touched {
        let (from, to) = (start.max(range.start), (start + PAGE).min(range.end));
        if to - from == PAGE {
            pages.remove(&start);
        } else {
            write(pages, from, &vec![0; usize::try_from(to - from).unwrap()]);
        }
    }
}

impl Disk {
    pub(in crate::working) fn new(size: u64) -> Self {
        Self { size, is_zeroing: false, bad: 0..0, forgets: 0..0, state: Mutex::default() }
    }

    pub(super) fn zeroing(self, is_zeroing: bool) -> Self {
        Self { is_zeroing, ..self }
    }

    /// Puts something on the disk, as far as that is long enough.
    pub(super) fn put(&self, offset: u64, bytes: &[u8]) {
        let room = usize::try_from(self.size.saturating_sub(offset)).unwrap().min(bytes.len());
        let state = &mut *self.state.lock().unwrap();
        write(&mut state.seen, offset, &bytes[..room]);
        write(&mut state.durable, offset, &bytes[..room]);
    }

    /// Puts something on the disk that has to be gone afterwards.
    pub(super) fn plant(&self, name: &str, offset: u64, bytes: &[u8]) {
        self.put(offset, bytes);
        self.state.lock().unwrap().planted.push((offset, bytes.to_vec(), name.to_owned()));
    }

    /// Puts a byte of somebody's data on the disk.
    pub(super) fn mark(&self, offset: u64, byte: u8) {
        self.put(offset, &[byte]);
        self.state.lock().unwrap().marks.push((offset, byte));
    }

    /// The same, where nothing is yet.
    pub(super) fn mark_free(&self, offset: u64, byte: u8) {
        let page = offset - offset % PAGE;
        if !self.state.lock().unwrap().seen.contains_key(&page) {
            self.mark(offset, byte);
        }
    }

    pub(super) fn erase(&self, offset: u64, length: u64) {
        let state = &mut *self.state.lock().unwrap();
        zero(&mut state.seen, &(offset..offset + length));
        zero(&mut state.durable, &(offset..offset + length));
    }

    pub(super) fn get(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        read(&self.state.lock().unwrap().seen, offset, &mut bytes);
        bytes
    }

    pub(super) fn is_zero(&self, range: Range<u64>) -> bool {
        let state = self.state.lock().unwrap();
        let mut pages = state.seen.range(range.start - range.start % PAGE..range.end);
        pages.all(|(start, page)| {
            let inside = (*start..).zip(page).filter(|(at, _)| range.contains(at));
            inside.into_iter().all(|(_, byte)| *byte == 0)
        })
    }

    /// Returns what of the planted was really there: a later one may stand in the same place.
    pub(super) fn planted(&self) -> Vec<(u64, Vec<u8>, String)> {
        self.state.lock().unwrap().planted.clone()
    }

    pub(super) fn marks(&self) -> Vec<(u64, u8)> {
        self.state.lock().unwrap().marks.clone()
    }

    /// Has the power go after so many changes.
    pub(super) fn cut_after(&self, operations: usize) {
        self.state.lock().unwrap().operations_left = Some(operations);
    }

    /// Returns how many changes there were since the power was said to last for ever.
    pub(super) fn operations(&self) -> usize {
        usize::MAX - self.state.lock().unwrap().operations_left.unwrap()
    }

    /// Shows what a power cut left.
    pub(super) fn power_on(&self, mut chance: Chance) {
        let state = &mut *self.state.lock().unwrap();
        for range in std::mem::take(&mut state.pending) {
            if chance.next().is_multiple_of(2) {
                zero(&mut state.durable, &range);
            }
        }
        state.seen = state.durable.clone();
        state.operations_left = None;
    }

    fn change(&self, range: Range<u64>) -> io::Result<()> {
        let is_whole = (range.start | range.end).is_multiple_of(u64::from(SECTOR));
        assert!(is_whole && range.end <= self.size, "{range:?}");
        let state = &mut *self.state.lock().unwrap();
        if let Some(left) = &mut state.operations_left {
            *left = left.checked_sub(1).ok_or_else(|| io::Error::other("no power"))?;
        }
        if range.start < self.bad.end && self.bad.start < range.end {
            return Err(io::Error::other("medium error"));
        }
        let kept = self.forgets.clone();
        if range.start < kept.end && kept.start < range.end {
            zero(&mut state.seen, &(range.start..kept.start.max(range.start)));
            zero(&mut state.seen, &(kept.end.min(range.end)..range.end));
        } else {
            zero(&mut state.seen, &range);
        }
        state.pending.push(range);
        Ok(())
    }
}

impl Medium for Disk {
    fn size_bytes(&self) -> u64 {
        self.size
    }

    fn sector_bytes(&self) -> u32 {
        SECTOR
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let length = u64::try_from(buffer.len()).unwrap();
        assert!(
            (offset | length).is_multiple_of(u64::from(SECTOR)) && offset + length <= self.size
        );
        read(&self.state.lock().unwrap().seen, offset, buffer);
        Ok(())
    }

    fn write(&self, offset: u64, buffer: &[u8]) -> io::Result<()> {
        let is_zero = buffer.chunks(ZEROS.len()).all(|chunk| *chunk == ZEROS[..chunk.len()]);
        assert!(is_zero, "only zeros are ever written");
        self.change(offset..offset + u64::try_from(buffer.len()).unwrap())
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<Zeroing> {
        if !self.is_zeroing {
            return Ok(Zeroing::Unsupported);
        }
        self.change(offset..offset + length)?;
        Ok(Zeroing::Done)
    }

    fn flush(&self) -> io::Result<()> {
        let state = &mut *self.state.lock().unwrap();
        if state.operations_left == Some(0) {
            return Err(io::Error::other("no power"));
        }
        for range in std::mem::take(&mut state.pending) {
            zero(&mut state.durable, &range);
        }
        Ok(())
    }
}

impl Watch for Disk {
    fn check(&self) -> Result<(), Stopped> {
        let is_off = self.state.lock().unwrap().operations_left == Some(0);
        if is_off { Err(Stopped::Cancelled) } else { Ok(()) }
    }

    fn wait(&self, _: Duration) -> Result<(), Stopped> {
        self.check()
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }

    fn journal(&self, _: WipeStepKind) -> Result<(), Stopped> {
        self.check()
    }

    fn note(&self, _: WipeStepKind) {}

    fn progress(&self, done: u64, total: u64, _: u32) {
        assert!(done < total, "{done} of {total}");
    }
}
