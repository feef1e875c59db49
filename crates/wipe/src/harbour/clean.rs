//! The walk that removes: bottom up, by names in open directories, in bounded memory.
//!
//! At any moment one directory of a tree is open. The way back is its `..`, which has to be the directory that the walk
//! came from; where somebody moved it meanwhile, that tree is left as it stands. So neither depth nor number of files
//! costs descriptors, and a level of depth costs some hundred bytes.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::unix::ffi::OsStrExt as _,
};

use linux::rooted::{Entries, Facts, Folder, Identity, Kind};

use super::{
    cleaned::{Cleaned, Why},
    list::{Rule, Takes},
    pattern::{Closed, List, Part},
};
use crate::{Stopped, Watch};

/// How many names are handled between two looks at who watches.
const CHECK_EVERY: u64 = 64;

/// How often a directory is read again that is not empty although all of it was removed.
const PASSES: u8 = 3;

/// Whether anything is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing: says what would be.
    Look,
    /// It is.
    Remove,
}

/// Something that was removed, or would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removed<'p> {
    /// By which rule.
    pub rule: &'static Rule,
    /// Where it was in the installed system.
    pub path: &'p [u8],
    /// What it was.
    pub kind: Kind,
}

/// Walks a filesystem that the system mounts at `at`, by the rules that reach it. `seen` is told of all that is removed.
pub fn clean(
    root: &Folder,
    at: &[u8],
    list: &List,
    mode: Mode,
    watch: &dyn Watch,
    seen: &mut dyn FnMut(Removed<'_>),
) -> Cleaned {
    let mut cleaned = Cleaned::default();
    if list.is_kept(at) {
        return cleaned;
    }
    let device = match root.facts() {
        Ok(facts) => facts.identity.device,
        Err(error) => {
            cleaned.leave(at, Why::of(&error));
            return cleaned;
        }
    };
    let start = if at == b"/" { Vec::new() } else { at.to_vec() };
    let rules: Vec<_> = list.rules_at(at).collect();
    let total = u64::try_from(rules.len()).unwrap_or(u64::MAX);
    for (done, (index, rule, parts)) in (0..).zip(rules) {
        let path = start.clone();
        let mut walk =
            Walk { list, mode, watch, seen, device, index, rule, path, steps: 0, cleaned };
        watch.progress(done, total, 0);
        let ended = walk.approach(root, parts);
        cleaned = walk.cleaned;
        if let Err(stopped) = ended {
            cleaned.stopped = Some(stopped);
            return cleaned;
        }
    }
    watch.progress(total, total, 0);
    cleaned
}

struct Walk<'a> {
    list: &'a List,
    mode: Mode,
    watch: &'a dyn Watch,
    seen: &'a mut dyn FnMut(Removed<'_>),
    /// The filesystem's, and on Btrfs the subvolume's.
    device: (u32, u32),
    index: usize,
    rule: &'static Rule,
    /// Where the walk is, as the installed system calls it; empty for `/`.
    path: Vec<u8>,
    steps: u64,
    cleaned: Cleaned,
}

/// A directory that the walk is in, or came through.
#[derive(Debug)]
struct Level {
    /// Its name in the one above.
    name: OsString,
    identity: Identity,
    /// Up to where its names were handled.
    position: i64,
    /// Something in it stays.
    keeps: bool,
    passes: u8,
    /// How long the path to it is.
    path_bytes: usize,
}

/// What became of a name.
enum Handled {
    Gone,
    Stays,
    Entered(Folder, Level),
}

impl Walk<'_> {
    /// Goes to each directory that the rule names. As deep as the list's patterns.
    fn approach(&mut self, folder: &Folder, parts: &[Part]) -> Result<(), Stopped> {
        let Some((part, rest)) = parts.split_first() else { return self.apply(folder) };
        if let Some(name) = part.name() {
            return self.step(folder, OsStr::from_bytes(name), rest);
        }
        let mut position = 0;
        while let Some(entries) = self.batch(folder, &mut position) {
            for entry in entries {
                if part.fits(entry.name.as_bytes()) {
                    self.step(folder, &entry.name, rest)?;
                }
            }
        }
        Ok(())
    }

    fn step(&mut self, folder: &Folder, name: &OsStr, rest: &[Part]) -> Result<(), Stopped> {
        self.check()?;
        let before = self.push(name);
        let found = match folder.look(name) {
            Ok(facts) if facts.kind == Kind::Directory => self.enter(folder, name, facts),
            Ok(facts) if facts.kind == Kind::Link => self.leave(Why::Link),
            // A file is not what the rule means.
            Ok(_) => None,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => self.leave(Why::of(&error)),
        };
        let result = found.map_or(Ok(()), |(inside, _)| self.approach(&inside, rest));
        self.path.truncate(before);
        result
    }

    fn apply(&mut self, folder: &Folder) -> Result<(), Stopped> {
        let Takes::Files(_) = self.rule.takes else { return self.walk(folder) };
        let mut position = 0;
        while let Some(entries) = self.batch(folder, &mut position) {
            for entry in entries {
                self.check()?;
                self.handle(folder, &entry.name);
            }
        }
        Ok(())
    }

    /// Walks a whole tree. The directory itself stays.
    fn walk(&mut self, base: &Folder) -> Result<(), Stopped> {
        let identity = match base.facts() {
            Ok(facts) => facts.identity,
            Err(error) => {
                self.leave::<()>(Why::of(&error));
                return Ok(());
            }
        };
        let mut above: Vec<Level> = Vec::new();
        // The base, until the walk goes deeper.
        let mut deeper: Option<Folder> = None;
        let mut level = Level::new(OsString::new(), identity, self.path.len());
        loop {
            self.check()?;
            let here = deeper.as_ref().unwrap_or(base);
            let mut entered = None;
            match here.entries(level.position) {
                Ok(Entries::Some(entries)) => {
                    for entry in entries {
                        self.check()?;
                        level.position = entry.after;
                        match self.handle(here, &entry.name) {
                            Handled::Gone => {}
                            Handled::Stays => level.keeps = true,
                            Handled::Entered(folder, inside) => {
                                self.push(&entry.name);
                                entered = Some((folder, inside));
                                break;
                            }
                        }
                    }
                    if let Some((folder, inside)) = entered {
                        above.push(std::mem::replace(&mut level, inside));
                        deeper = Some(folder);
                    }
                    continue;
                }
                Ok(Entries::Skip(after)) => {
                    level.position = after;
                    continue;
                }
                Ok(Entries::End) => {}
                Err(error) => {
                    self.leave::<()>(Why::of(&error));
                    level.keeps = true;
                }
            }
            let Some(parent) = above.last_mut() else { return Ok(()) };
            let Some(folder) = self.back(here, parent) else { return Ok(()) };
            if self.rule.takes != Takes::Contents || level.keeps {
                parent.keeps = true;
            } else {
                match self.remove(&folder, &level.name, Kind::Directory, 0) {
                    Ok(()) => {}
                    // Some filesystems skip a name when others before it go.
                    Err(error)
                        if error.kind() == io::ErrorKind::DirectoryNotEmpty
                            && level.passes < PASSES =>
                    {
                        (level.passes, level.position) = (level.passes + 1, 0);
                        continue;
                    }
                    Err(error) => {
                        self.leave::<()>(Why::of(&error));
                        parent.keeps = true;
                    }
                }
            }
            self.path.truncate(parent.path_bytes);
            deeper = Some(folder);
            let Some(parent) = above.pop() else { return Ok(()) };
            level = parent;
        }
    }

    /// Returns the directory above, if it is the one that the walk came from.
    fn back(&mut self, here: &Folder, parent: &Level) -> Option<Folder> {
        let folder = match here.parent() {
            Ok(folder) => folder,
            Err(error) => return self.leave(Why::of(&error)),
        };
        match folder.facts() {
            Ok(facts) if facts.identity == parent.identity => Some(folder),
            Ok(_) => self.leave(Why::Changed),
            Err(error) => self.leave(Why::of(&error)),
        }
    }

    /// Removes a name, if the rule takes it; enters a directory, if the rule goes deeper.
    fn handle(&mut self, folder: &Folder, name: &OsStr) -> Handled {
        let takes = self.rule.takes;
        if let Takes::Files(names) = takes
            && !names.holds(name.as_bytes())
        {
            return Handled::Stays;
        }
        let before = self.push(name);
        let handled = match folder.look(name) {
            Ok(facts) if facts.kind == Kind::Directory => match takes {
                Takes::Files(_) => Handled::Stays,
                Takes::Contents | Takes::FilesBelow(_) => self.deeper(folder, name, facts, before),
            },
            Ok(facts) => self.file(folder, name, facts),
            // Gone by itself.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Handled::Gone,
            Err(error) => self.stays(Why::of(&error)),
        };
        self.path.truncate(before);
        handled
    }

    fn deeper(&mut self, folder: &Folder, name: &OsStr, facts: Facts, above: usize) -> Handled {
        if self.list.belongs_to_another(&self.path, self.index) {
            return Handled::Stays;
        }
        match self.enter(folder, name, facts) {
            Some((inside, identity)) => {
                debug_assert!(above < self.path.len());
                Handled::Entered(inside, Level::new(name.to_owned(), identity, self.path.len()))
            }
            None => Handled::Stays,
        }
    }

    fn file(&mut self, folder: &Folder, name: &OsStr, facts: Facts) -> Handled {
        let is_meant = match self.rule.takes {
            Takes::Contents => true,
            Takes::Files(_) => matches!(facts.kind, Kind::Regular | Kind::Socket),
            Takes::FilesBelow(names) => facts.kind == Kind::Regular && names.holds(name.as_bytes()),
        };
        if !is_meant {
            return Handled::Stays;
        }
        match self.list.closed(&self.path) {
            Some(Closed::Kept) => return self.stays(Why::Kept),
            Some(Closed::MountedOver) => return Handled::Stays,
            None => {}
        }
        if facts.is_mount {
            return self.stays(Why::Mount);
        }
        if facts.is_unchangeable {
            return self.stays(Why::Unchangeable);
        }
        let bytes = if facts.names == 1 { facts.allocated_bytes } else { 0 };
        match self.remove(folder, name, facts.kind, bytes) {
            Ok(()) => Handled::Gone,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Handled::Gone,
            Err(error) => self.stays(Why::of(&error)),
        }
    }

    /// Opens a directory that stands where the path is, unless it has to stay closed.
    fn enter(&mut self, folder: &Folder, name: &OsStr, facts: Facts) -> Option<(Folder, Identity)> {
        match self.list.closed(&self.path) {
            // The rule means single files only: nothing was left of it.
            Some(Closed::Kept) if matches!(self.rule.takes, Takes::FilesBelow(_)) => return None,
            Some(Closed::Kept) => return self.leave(Why::Kept),
            // Its own walk finds what is there.
            Some(Closed::MountedOver) => return None,
            None => {}
        }
        let why = if facts.is_mount {
            Some(Why::Mount)
        } else if facts.identity.device != self.device {
            Some(Why::Subvolume)
        } else if facts.is_unchangeable {
            Some(Why::Unchangeable)
        } else {
            None
        };
        if let Some(why) = why {
            return self.leave(why);
        }
        let opened = folder.enter(name).and_then(|inside| Ok((inside.facts()?.identity, inside)));
        match opened {
            Ok((identity, inside)) if identity == facts.identity => Some((inside, identity)),
            Ok(_) => self.leave(Why::Changed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.leave(Why::Changed),
            Err(error) => self.leave(Why::of(&error)),
        }
    }

    /// The only place where anything is removed.
    fn remove(&mut self, folder: &Folder, name: &OsStr, kind: Kind, bytes: u64) -> io::Result<()> {
        match (self.mode, kind) {
            (Mode::Look, _) => {}
            (Mode::Remove, Kind::Directory) => folder.remove_folder(name)?,
            (Mode::Remove, _) => folder.remove_file(name)?,
        }
        let count = self.cleaned.removed.entry(self.index).or_default();
        match kind {
            Kind::Regular => count.files += 1,
            Kind::Directory => count.folders += 1,
            Kind::Link | Kind::Socket | Kind::Special => count.others += 1,
        }
        count.bytes = count.bytes.saturating_add(bytes);
        (self.seen)(Removed { rule: self.rule, path: &self.path, kind });
        Ok(())
    }

    fn batch(&mut self, folder: &Folder, position: &mut i64) -> Option<Vec<linux::rooted::Entry>> {
        match folder.entries(*position) {
            Ok(Entries::Some(entries)) => {
                *position = entries.last().map_or(*position, |entry| entry.after);
                Some(entries)
            }
            Ok(Entries::Skip(after)) => {
                *position = after;
                Some(Vec::new())
            }
            Ok(Entries::End) => None,
            Err(error) => self.leave(Why::of(&error)),
        }
    }

    fn check(&mut self) -> Result<(), Stopped> {
        self.steps += 1;
        if self.steps % CHECK_EVERY != 1 {
            return Ok(());
        }
        self.watch.heard();
        self.watch.check()
    }

    /// Returns how long the path was.
    fn push(&mut self, name: &OsStr) -> usize {
        let before = self.path.len();
        self.path.push(b'/');
        self.path.extend_from_slice(name.as_bytes());
        before
    }

    fn leave<T>(&mut self, why: Why) -> Option<T> {
        self.cleaned.leave(&self.path, why);
        None
    }

    fn stays(&mut self, why: Why) -> Handled {
        self.cleaned.leave(&self.path, why);
        Handled::Stays
    }
}

impl Level {
    fn new(name: OsString, identity: Identity, path_bytes: usize) -> Self {
        Self { name, identity, position: 0, keeps: false, passes: 0, path_bytes }
    }
}
