//! Disks that hang, and a server that is away: with limits of milliseconds.

use std::sync::Mutex;

use protocol::{
    order::DiskIdentity,
    wipe::{Technique, WipeStepKind},
};

use super::{watch::Patience, *};
use crate::Watch as _;

const SHORT: Duration = Duration::from_millis(500);

const PATIENCE: Patience = Patience { usual: SHORT, erasing: Duration::from_hours(1) };

/// Who keeps the order; steps wait while the server is away.
#[derive(Debug, Default)]
struct Clerk {
    is_away: Mutex<bool>,
    asked: Mutex<Vec<WipeStep>>,
    noted: Mutex<Vec<WipeStep>>,
}

impl Clerk {
    fn go(&self, is_away: bool) {
        *self.is_away.lock().unwrap() = is_away;
    }
}

impl Keeper for Clerk {
    fn stopped(&self) -> Option<Stopped> {
        None
    }

    fn journal(&self, step: WipeStep) -> Result<(), Stopped> {
        self.asked.lock().unwrap().push(step);
        while *self.is_away.lock().unwrap() {
            thread::park_timeout(Duration::from_millis(5));
        }
        Ok(())
    }

    fn note(&self, step: WipeStep) {
        self.noted.lock().unwrap().push(step);
    }

    fn progress(&self, _: WipeProgress) {}

    fn sleep(&self) -> Result<(), String> {
        Err("it does not sleep".to_owned())
    }

    fn unix_milliseconds(&self) -> i64 {
        1
    }
}

fn wipe() -> Arc<Wipe> {
    let digits = "1".repeat(64);
    let order = format!(
        r#"{{"id":"00000000000000000000000000000001","by":"a","machine":{{}},"disks":[],
            "deadlineUnixMilliseconds":1,"inventory":"{digits}"}}"#
    );
    let text = format!(r#"{{"order":{order},"level":"full","seed":"{digits}","finish":"stay"}}"#);
    Arc::new(serde_json::from_str(&text).unwrap())
}

fn disk(number: u32, keeper: &Arc<Clerk>) -> UnitDisk {
    let keeper: Arc<dyn Keeper> = Arc::<Clerk>::clone(keeper);
    UnitDisk {
        number,
        identity: DiskIdentity::default(),
        name: format!("sd{number}"),
        watch: Arc::new(DiskWatch::with_patience(number, keeper, PATIENCE)),
    }
}

fn until_silent(watch: &DiskWatch) {
    let begun = Instant::now();
    while !watch.is_silent() {
        assert!(begun.elapsed() < 20 * SHORT);
        thread::park_timeout(Duration::from_millis(10));
    }
}

fn codes(report: &DiskReport) -> Vec<&str> {
    report.exceptions.iter().map(|one| one.code.as_str()).collect()
}

/// A disk that is marked, read back or offloaded, and does not answer until it is told to: meanwhile it is said again and
/// again how far it is, as sweeps do. What its thread is answered then is sent.
fn hanging(
    disk: &UnitDisk,
    answers: mpsc::Receiver<()>,
    then: mpsc::Sender<[Result<(), Stopped>; 3]>,
) -> Unit {
    let watch = Arc::clone(&disk.watch);
    let work = move |terms: Terms<'_>, _: &mut Tell<'_>| {
        terms.gate.pass(false);
        watch.phase(WipePhase::Verifying, None);
        watch.progress(512, 1024, 0);
        while answers.recv_timeout(Duration::from_millis(10)) == Err(RecvTimeoutError::Timeout) {
            let _goes_on = watch.check();
            watch.progress(512, 1024, 0);
        }
        watch.note(WipeStepKind::Over { verdict: Verdict::Erased });
        let begin = WipeStepKind::Begin { technique: Technique::Zeros };
        then.send([watch.check(), watch.wait(Duration::ZERO), watch.journal(begin)]).unwrap();
    };
    Unit { disks: vec![disk.clone()], work: Box::new(work) }
}

/// The report of a disk that was erased.
fn answer(disk: &UnitDisk, wipe: &Wipe) -> DiskReport {
    let report = unanswered(disk.clone(), wipe, 1, 1, "sound", "it answered");
    disk.watch.phase(WipePhase::Over, None);
    DiskReport { verdict: Verdict::Erased, ..report }
}

fn sound(disk: &UnitDisk) -> Unit {
    let one = disk.clone();
    let work = move |terms: Terms<'_>, tell: &mut Tell<'_>| {
        terms.gate.pass(false);
        tell(one.number, answer(&one, terms.wipe));
    };
    Unit { disks: vec![disk.clone()], work: Box::new(work) }
}

#[test]
fn a_disk_that_hangs_is_given_up_and_the_others_reports_come_and_its_thread_does_nothing_more() {
    let clerk = Arc::new(Clerk::default());
    let (hung, other) = (disk(0, &clerk), disk(1, &clerk));
    let (answer, answers) = mpsc::channel();
    let (then, after) = mpsc::channel();
    let units = vec![hanging(&hung, answers, then), sound(&other)];
    let (tell, told) = mpsc::channel();
    let keeper: Arc<dyn Keeper> = Arc::<Clerk>::clone(&clerk);
    thread::spawn(move || tell.send(run(units, &wipe(), &keeper)).unwrap());
    let reports = told.recv_timeout(Duration::from_secs(30)).unwrap();
    assert_eq!(reports.iter().map(codes).collect::<Vec<_>>(), [["hangs"], ["sound"]]);
    assert_eq!(reports[0].verdict, Verdict::NotErased);
    // Now it answers after all.
    answer.send(()).unwrap();
    let goes_on = after.recv_timeout(Duration::from_secs(30)).unwrap();
    assert_eq!(goes_on, [Err(Stopped::GivenUp); 3]);
    assert_eq!(*clerk.asked.lock().unwrap(), []);
    let over = WipeStepKind::Over { verdict: Verdict::NotErased };
    let noted = clerk.noted.lock().unwrap();
    let of_it: Vec<_> = noted.iter().filter(|step| step.disk == 0).map(|step| &step.kind).collect();
    assert_eq!(of_it, [&over]);
    let progress = hung.watch.told("sd0".to_owned());
    assert_eq!((progress.phase, progress.verdict), (WipePhase::Over, Some(Verdict::NotErased)));
}

/// Runs units on a thread, so that a test fails where it waits for ever.
fn reports(units: Vec<Unit>, wipe: &Arc<Wipe>, clerk: &Arc<Clerk>) -> Vec<DiskReport> {
    let (tell, told) = mpsc::channel();
    let (wipe, keeper): (_, Arc<dyn Keeper>) = (Arc::clone(wipe), Arc::<Clerk>::clone(clerk));
    thread::spawn(move || tell.send(run(units, &wipe, &keeper)).unwrap());
    told.recv_timeout(Duration::from_secs(30)).unwrap()
}

/// Never answers.
fn hang() {
    loop {
        thread::park();
    }
}

#[test]
fn a_disk_that_is_over_keeps_its_report_where_one_of_the_same_device_hangs() {
    let clerk = Arc::new(Clerk::default());
    let (over, hung) = (disk(0, &clerk), disk(1, &clerk));
    let one = over.clone();
    let work = move |terms: Terms<'_>, tell: &mut Tell<'_>| {
        terms.gate.pass(false);
        tell(one.number, answer(&one, terms.wipe));
        hang();
    };
    let unit = Unit { disks: vec![over, hung], work: Box::new(work) };
    let reports = reports(vec![unit], &wipe(), &clerk);
    assert_eq!(reports.iter().map(codes).collect::<Vec<_>>(), [["sound"], ["hangs"]]);
    assert_eq!(reports[0].verdict, Verdict::Erased);
    assert_eq!(reports[1].verdict, Verdict::NotErased);
}

#[test]
fn a_disk_that_waits_for_another_of_its_device_is_not_given_up() {
    let clerk = Arc::new(Clerk::default());
    let (slow, waits) = (disk(0, &clerk), disk(1, &clerk));
    let disks = [slow.clone(), waits.clone()];
    let work = move |terms: Terms<'_>, tell: &mut Tell<'_>| {
        terms.gate.pass(false);
        let begun = Instant::now();
        while begun.elapsed() < 8 * SHORT {
            disks[0].watch.heard();
            thread::park_timeout(Duration::from_millis(10));
        }
        assert!(disks[1].watch.is_silent());
        tell(0, answer(&disks[0], terms.wipe));
        // Its turn only begins.
        thread::park_timeout(SHORT / 4);
        tell(1, answer(&disks[1], terms.wipe));
    };
    let unit = Unit { disks: vec![slow, waits], work: Box::new(work) };
    let reports = reports(vec![unit], &wipe(), &clerk);
    assert_eq!(reports.iter().map(codes).collect::<Vec<_>>(), [["sound"], ["sound"]]);
}

#[test]
fn a_disk_that_hangs_after_its_verdict_keeps_nobody_and_its_report_says_so() {
    let clerk = Arc::new(Clerk::default());
    let (hung, other) = (disk(0, &clerk), disk(1, &clerk));
    let one = hung.clone();
    let work = move |terms: Terms<'_>, tell: &mut Tell<'_>| {
        terms.gate.pass(false);
        tell(one.number, answer(&one, terms.wipe));
        hang();
    };
    let units = vec![Unit { disks: vec![hung.clone()], work: Box::new(work) }, sound(&other)];
    let reports = reports(units, &wipe(), &clerk);
    assert_eq!(codes(&reports[0]), ["sound", "hangs"]);
    assert_eq!(reports[0].verdict, Verdict::ErasedWithExceptions);
    assert_eq!((codes(&reports[1]), reports[1].verdict), (vec!["sound"], Verdict::Erased));
    assert_eq!(hung.watch.check(), Err(Stopped::GivenUp));
}

#[test]
fn a_thread_that_fails_takes_no_report_back() {
    let clerk = Arc::new(Clerk::default());
    let (over, other) = (disk(0, &clerk), disk(1, &clerk));
    let one = over.clone();
    let work = move |terms: Terms<'_>, tell: &mut Tell<'_>| {
        terms.gate.pass(false);
        tell(one.number, answer(&one, terms.wipe));
        panic!("a fault of ours");
    };
    let unit = Unit { disks: vec![over, other], work: Box::new(work) };
    let reports = reports(vec![unit], &wipe(), &clerk);
    assert_eq!(reports.iter().map(codes).collect::<Vec<_>>(), [["sound"], ["failed"]]);
}

/// Hangs in the first question after everybody has looked.
fn mute(disk: &UnitDisk) -> Unit {
    let work = |terms: Terms<'_>, _: &mut Tell<'_>| {
        terms.gate.pass(false);
        hang();
    };
    Unit { disks: vec![disk.clone()], work: Box::new(work) }
}

#[test]
fn a_disk_given_up_is_unknown_while_its_own_erasure_may_run() {
    let sanitize = Technique::AtaSanitizeBlock;
    let begin = |technique| WipeStepKind::Begin { technique };
    let over = |verdict| WipeStepKind::Over { verdict };
    for (steps, verdict) in [
        (vec![], Verdict::NotErased),
        (vec![begin(Technique::Zeros)], Verdict::NotErased),
        (vec![begin(sanitize)], Verdict::UnknownStillRunning),
        (vec![begin(sanitize), begin(Technique::Zeros)], Verdict::NotErased),
        (vec![begin(sanitize), over(Verdict::NotErased)], Verdict::NotErased),
        (vec![begin(sanitize), over(Verdict::UnknownStillRunning)], Verdict::UnknownStillRunning),
    ] {
        let mut order = Wipe::clone(&wipe());
        let step = |kind: &WipeStepKind| WipeStep { disk: 0, kind: kind.clone() };
        order.journal = steps.iter().map(step).collect();
        let clerk = Arc::new(Clerk::default());
        let reports = reports(vec![mute(&disk(0, &clerk))], &Arc::new(order), &clerk);
        assert_eq!(reports[0].verdict, verdict, "{steps:?}");
        let is_unknown = verdict == Verdict::UnknownStillRunning;
        assert_eq!(codes(&reports[0]).contains(&"stillRunning"), is_unknown);
        assert_eq!(clerk.noted.lock().unwrap()[0].kind, over(verdict));
    }
}

#[test]
fn a_disk_may_be_erasing_itself_from_the_command_until_it_was_seen_not_to() {
    let disk = disk(0, &Arc::new(Clerk::default()));
    let watch = &disk.watch;
    let after = |phase, technique| {
        watch.phase(phase, technique);
        watch.may_be_erasing_itself()
    };
    assert!(!after(WipePhase::Erasing, Some(Technique::Zeros)));
    // Found running, and it does not say what; then one of ours.
    for technique in [None, Some(Technique::ScsiFormatUnit)] {
        assert!(after(WipePhase::Erasing, technique));
        assert!(after(WipePhase::Examining, None));
        watch.at_rest();
        assert!(!watch.may_be_erasing_itself());
        assert!(!after(WipePhase::Verifying, None));
    }
}

#[test]
fn a_disk_whose_own_erasure_is_over_is_not_waited_for_as_long_as_one_that_erases() {
    let disk = disk(0, &Arc::new(Clerk::default()));
    disk.watch.phase(WipePhase::Erasing, Some(Technique::ScsiFormatUnit));
    thread::park_timeout(2 * SHORT);
    assert!(!disk.watch.is_silent());
    disk.watch.at_rest();
    until_silent(&disk.watch);
}

#[test]
fn a_server_away_for_long_is_no_hanging_disk() {
    let clerk = Arc::new(Clerk::default());
    let disk = disk(0, &clerk);
    clerk.go(true);
    let watch = Arc::clone(&disk.watch);
    let waiting = thread::spawn(move || watch.journal(WipeStepKind::Canaries {}));
    let begun = Instant::now();
    while begun.elapsed() < 3 * SHORT {
        assert!(!disk.watch.is_silent() || clerk.asked.lock().unwrap().is_empty());
        thread::park_timeout(Duration::from_millis(10));
    }
    clerk.go(false);
    assert_eq!(waiting.join().unwrap(), Ok(()));
    assert!(!disk.watch.is_silent());
    // Its own silence counts again.
    until_silent(&disk.watch);
}

#[test]
fn what_was_given_up_while_the_server_was_away_does_not_begin_when_it_returns() {
    let clerk = Arc::new(Clerk::default());
    let disk = disk(0, &clerk);
    clerk.go(true);
    let watch = Arc::clone(&disk.watch);
    let waiting = thread::spawn(move || watch.journal(WipeStepKind::Canaries {}));
    while clerk.asked.lock().unwrap().is_empty() {
        thread::yield_now();
    }
    disk.watch.over(Verdict::NotErased);
    clerk.go(false);
    assert_eq!(waiting.join().unwrap(), Err(Stopped::GivenUp));
}

#[test]
fn what_a_disk_answers_is_heard_and_what_is_said_again_is_not() {
    let disk = disk(0, &Arc::new(Clerk::default()));
    let watch = &disk.watch;
    let says: [(&dyn Fn(), bool); 6] = [
        (&|| watch.progress(0, 1024, 0), false),
        (&|| watch.check().unwrap(), false),
        (&|| watch.progress(512, 1024, 0), true),
        (&|| watch.progress(512, 1024, 1), true),
        (&|| watch.wait(Duration::ZERO).unwrap(), true),
        (&|| watch.heard(), true),
    ];
    for (number, (say, is_heard)) in says.into_iter().enumerate() {
        until_silent(watch);
        say();
        assert_eq!(watch.is_silent(), !is_heard, "{number}");
    }
}
