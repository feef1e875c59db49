//! Wipes the disks of one device, from the first question to the report: one disk, but for the namespaces of an NVMe
//! subsystem, which its own commands erase together.
//!
//! ```text
//! examine ─► gate: everybody has looked ─► rejoin what runs ─► plan ─► way ─► read back ─► report
//!                                                              ▲               │ not clean, or failed cleanly
//!                                                              └── next way ◄──┘
//! ```

mod examined;
mod judged;
mod look;
mod ways;

use disk::Medium;
use protocol::wipe::{
    CleanedFilesystem, DiskForecast, DiskReport, Ended, Exception, Expected, Outcome, PowerLevel,
    Technique, TechniqueOutcome, Unwritten, Verification, Wipe, WipePhase, WipeStepKind,
};

use crate::{
    Gate, Opening, Part, Stopped,
    firmware::{self, Examined, Offered, Reach},
    heard::Heard,
    part::Journal,
    plan::{Plan, Way},
    verdict::exception,
};

/// What all units of an order share.
#[derive(Clone, Copy)]
pub struct Terms<'t> {
    /// What is ordered.
    pub wipe: &'t Wipe,
    /// Where units wait for each other.
    pub gate: &'t Gate,
    /// The clock: milliseconds since 1970.
    pub now: &'t (dyn Fn() -> i64 + Sync),
}

impl std::fmt::Debug for Terms<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terms").field("order", &self.wipe.order.id).finish_non_exhaustive()
    }
}

/// Takes the report of a disk, by its number in the order.
pub type Tell<'t> = dyn FnMut(u32, DiskReport) + 't;

/// Wipes, and returns what came of each disk, in the order's order. Blocks for hours.
pub fn wipe(parts: &[Part<'_>], terms: Terms<'_>) -> Vec<DiskReport> {
    let mut reports = Vec::with_capacity(parts.len());
    wipe_each(parts, terms, &mut |number, report| reports.push((number, report)));
    reports.sort_by_key(|(number, _)| *number);
    reports.into_iter().map(|(_, report)| report).collect()
}

/// Wipes, and tells what came of each disk as soon as it is over: a later one may hang for ever.
pub fn wipe_each(parts: &[Part<'_>], terms: Terms<'_>, tell: &mut Tell<'_>) {
    let is_alone = parts.len() < 2;
    let media: Vec<Heard<'_>> =
        parts.iter().map(|part| Heard { medium: part.medium, watch: part.watch }).collect();
    let heard = |(part, medium)| Part { medium, ..Part::clone(part) };
    let parts: Vec<Part<'_>> =
        parts.iter().zip(media.iter().map(|one| one as &dyn Medium)).map(heard).collect();
    let mut runs: Vec<Run<'_>> = parts.iter().map(|part| Run::new(part, terms, is_alone)).collect();
    runs.iter_mut().for_each(Run::examine);
    // To look nobody has to sleep.
    let is_idle = terms.wipe.level == PowerLevel::Idle;
    match terms.gate.pass(!is_idle && runs.iter().any(Run::is_frozen)) {
        Opening::Go => {}
        Opening::Slept => runs.iter_mut().for_each(Run::examine),
        Opening::Awake(why) => {
            for run in runs.iter_mut().filter(|run| run.is_frozen()) {
                run.except("frozen", &format!("the machine could not sleep to unfreeze it: {why}"));
            }
        }
    }
    if is_idle {
        for mut run in runs {
            run.look();
            tell(run.part.number, run.report());
        }
        return;
    }
    runs.iter_mut().for_each(Run::prepare);
    together(&mut runs);
    // What may still erase one of them may still erase all.
    if runs.iter().any(Run::is_unknown) {
        runs.iter_mut().for_each(Run::share_unknown);
    }
    let is_open = |run: &Run<'_>| !run.is_good() && !run.is_over();
    let (open, over): (Vec<_>, Vec<_>) = runs.into_iter().partition(is_open);
    let mut tell = |run: Run<'_>| tell(run.part.number, run.report());
    over.into_iter().for_each(&mut tell);
    let mut is_unknown = false;
    for mut run in open {
        if is_unknown {
            run.share_unknown();
        }
        run.take_ways();
        is_unknown |= run.is_unknown();
        tell(run);
    }
}

/// Lets the device erase all of a unit's disks at once, where there are several and it can do that.
fn together(runs: &mut [Run<'_>]) {
    if runs.len() < 2 {
        return;
    }
    let of_all = |technique: Technique| {
        runs.iter().all(|run| {
            run.plan.ways.contains(&Way::Device(technique))
                && run.offered(technique).is_some_and(|one| one.reach == Reach::Everything)
        })
    };
    let ways = runs[0].plan.ways.clone();
    let techniques: Vec<Technique> = ways
        .iter()
        .filter_map(|way| match way {
            Way::Device(technique) if of_all(*technique) => Some(*technique),
            _ => None,
        })
        .collect();
    for technique in techniques {
        // Where one of them is done, what is left is done to the others alone.
        if runs.iter().any(|run| run.is_over() || run.is_good()) {
            return;
        }
        device(runs, technique);
    }
}

/// Has the device erase itself in one way, and reads back on each of its disks.
fn device(runs: &mut [Run<'_>], technique: Technique) {
    for run in runs.iter_mut() {
        let offered = run.offered(technique).copied();
        let Some(offered) = offered else { return };
        run.verification = None;
        run.mark(offered.expected == Expected::NoCanary);
        run.begin(technique, true);
    }
    if runs.iter().any(Run::is_over) {
        // Nothing was sent.
        return at_rest(runs);
    }
    let Some(first) = runs.first() else { return };
    let settings = first.settings();
    let part = first.part;
    let outcome = firmware::apply(&part.device, part.opal, technique, &settings, part.watch);
    if outcome.ended != Ended::Unknown {
        at_rest(runs);
    }
    for run in runs {
        run.erased(technique, outcome.clone());
    }
}

fn at_rest(runs: &[Run<'_>]) {
    for run in runs {
        run.part.watch.at_rest();
    }
}

/// The wipe of one disk.
struct Run<'r> {
    part: &'r Part<'r>,
    terms: Terms<'r>,
    /// Whether the device has no other disk in the order.
    is_alone: bool,
    begun: i64,
    journal: Journal,
    examined: Examined,
    plan: Plan,
    /// How many canaries are on the disk, how many places took none, and whether every place that is sampled was to.
    planted: u64,
    refused: u64,
    marks_all: bool,
    /// Whether a way of the device came to its end of which nothing could be seen.
    is_untold: bool,
    techniques: Vec<TechniqueOutcome>,
    /// What the last pass could not write.
    unwritten: Option<Unwritten>,
    exceptions: Vec<Exception>,
    taken: Option<(Way, Ended)>,
    verification: Option<Verification>,
    filesystems: Vec<CleanedFilesystem>,
    forecast: Option<DiskForecast>,
    standing: Standing,
}

/// Whether another way is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It is.
    Going,
    /// What a way was for is there, and was seen.
    Good,
    /// Nothing more may be tried.
    Over,
    /// Something may still be erasing: nothing more may be tried.
    Unknown,
}

impl<'r> Run<'r> {
    fn new(part: &'r Part<'r>, terms: Terms<'r>, is_alone: bool) -> Self {
        Self {
            part,
            terms,
            is_alone,
            begun: (terms.now)(),
            journal: Journal::of(terms.wipe, part.number),
            examined: Examined::default(),
            plan: Plan { ways: Vec::new(), read_back: protocol::wipe::VerificationPlan::Probe {} },
            planted: 0,
            refused: 0,
            marks_all: false,
            is_untold: false,
            techniques: Vec::new(),
            unwritten: None,
            exceptions: Vec::new(),
            taken: None,
            verification: None,
            filesystems: Vec::new(),
            forecast: None,
            standing: Standing::Going,
        }
    }

    fn is_good(&self) -> bool {
        self.standing == Standing::Good
    }

    fn is_unknown(&self) -> bool {
        self.standing == Standing::Unknown
    }

    fn is_over(&self) -> bool {
        matches!(self.standing, Standing::Over | Standing::Unknown)
    }

    fn offered(&self, technique: Technique) -> Option<&Offered> {
        self.examined.techniques.iter().find(|one| one.technique == technique)
    }

    fn except(&mut self, code: &str, words: &str) {
        let new = exception(code, words);
        if !self.exceptions.contains(&new) {
            self.exceptions.push(new);
        }
    }

    fn halt(&mut self, stopped: Stopped) {
        self.except("stopped", &format!("the wipe did not go on: {stopped}"));
        self.standing = Standing::Over;
    }

    fn lose(&mut self) {
        self.except("lost", "the disk is gone: it was pulled out, or failed altogether");
        self.standing = Standing::Over;
    }

    /// Has the server note what begins. What a power cut must not leave unknown waits until it has; what follows in
    /// the same way does not.
    fn begin(&mut self, technique: Technique, waits: bool) {
        if self.is_over() {
            return;
        }
        let step = WipeStepKind::Begin { technique };
        if !waits {
            self.part.watch.note(step);
        } else if let Err(stopped) = self.part.watch.journal(step) {
            return self.halt(stopped);
        }
        self.part.watch.phase(WipePhase::Erasing, Some(technique));
    }

    /// The same device erases another disk, and nobody can say how that stands.
    fn share_unknown(&mut self) {
        if self.asks_to_erase() {
            self.standing = Standing::Unknown;
        }
    }

    fn asks_to_erase(&self) -> bool {
        self.terms.wipe.level.asked() > Outcome::None
    }

    /// Takes one way after the other until one is seen to have worked.
    fn take_ways(&mut self) {
        let mut tried: Vec<Way> = Vec::new();
        // Planned anew after each: a disk that was locked may not be any more.
        while let Some(way) = self.plan.ways.iter().find(|way| !tried.contains(way)).cloned() {
            if self.is_good() || self.is_over() {
                return;
            }
            if let Err(stopped) = self.part.watch.check() {
                return self.halt(stopped);
            }
            tried.push(way.clone());
            match way {
                Way::Ephemeral => self.ephemeral(),
                Way::Signatures { discard } => self.signatures(discard),
                Way::Offload => self.offload(),
                Way::Passes(count) => self.passes(count),
                Way::Device(technique) => {
                    let reach = self.offered(technique).map(|one| one.reach);
                    // With other disks of the device that was done to all of them, or must not be done at all.
                    if self.is_alone || reach == Some(Reach::Addressed) {
                        device(std::slice::from_mut(self), technique);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
