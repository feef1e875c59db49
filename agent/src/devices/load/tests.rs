use std::{fs, time::Duration};

use modules::Texts;

use super::*;
use crate::devices::{findings::Findings, medium::Media};

static NONE: Media = Media::none();

/// A machine whose image has everything.
fn supply<'t>(directory: &Path) -> Supply<'t> {
    Supply::new(Stock::whole(directory), Findings::default(), &NONE)
}

/// Runs the queue over files that are no modules: the kernel refuses each, and each refusal is reported.
fn check(play: impl Fn(&Queue<'_>, &(dyn Fn(Gap) + Sync)), expected: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let mut texts = Texts::default();
    for path in ["watchdog/dog", "net/port", "block/disk", "hwmon/fan"] {
        let path = format!("kernel/drivers/{path}.ko");
        fs::create_dir_all(directory.path().join(&path).parent().unwrap()).unwrap();
        fs::write(directory.path().join(&path), "no module").unwrap();
        texts.alias.push_str(&["alias test:* ", &modules::name(&path), "\n"].concat());
        texts.dep.push_str(&[&path, ":\n"].concat());
    }
    let index = Index::new(&texts);
    let supply = supply(directory.path());
    let queue = Queue::new(&index, &supply);
    let reports = Mutex::new(Vec::new());
    queue.want_device("test:1");
    play(&queue, &|gap| reports.lock().unwrap().push(gap.what));
    assert_eq!(reports.into_inner().unwrap(), expected);
}

/// Plays with three threads at work.
fn check_at_work(play: impl Fn(&Queue<'_>), expected: &[&str]) {
    let play = |queue: &Queue<'_>, report: &(dyn Fn(Gap) + Sync)| {
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| queue.work(report));
            }
            play(queue);
            queue.close();
        });
    };
    check(play, expected);
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn nothing_is_loaded_before_it_is_let_in_and_everything_once() {
    let play = |queue: &Queue<'_>| {
        assert!(queue.wait_until_idle(LONG));
        assert_eq!(queue.count(), 0);
        queue.open(Class::Watchdog);
        assert!(queue.wait_until_idle(LONG));
        queue.want_device("test:2");
        assert!(queue.wait_until_idle(LONG));
        assert_eq!(queue.count(), 1);
    };
    check_at_work(play, &["modules/dog"]);
}

#[test]
fn what_is_preferred_comes_with_the_watchdogs() {
    let play = |queue: &Queue<'_>| {
        queue.open(Class::Watchdog);
        assert!(queue.wait_until_idle(LONG));
        assert!(queue.prefer(Class::Rest));
        assert!(!queue.prefer(Class::Rest));
        assert!(queue.wait_until_idle(LONG));
    };
    check_at_work(play, &["modules/dog", "modules/fan"]);
}

#[test]
fn what_looks_for_disks_has_the_way_free_until_it_looks_and_no_longer_than_a_second() {
    let mut texts = Texts::default();
    for path in ["watchdog/dog", "net/port", "block/disk", "ata/libata", "ata/ahci"] {
        let needs = if path == "ata/ahci" { " kernel/drivers/ata/libata.ko" } else { "" };
        texts.dep.push_str(&["kernel/drivers/", path, ".ko:", needs, "\n"].concat());
    }
    let index = Index::new(&texts);
    let supply = supply(Path::new("/"));
    let queue = Queue::new(&index, &supply);
    for name in ["dog", "port", "disk", "ahci"] {
        queue.want_module(name, "");
    }
    let mut state = queue.state();
    let start = Instant::now();
    assert_eq!(state.take(start), None);
    // Disks are looked for while watchdogs are loaded, and hold up neither them nor who waits for them.
    state.last = Some(Class::Watchdog);
    assert_eq!(state.take(start), Some("kernel/drivers/watchdog/dog.ko"));
    assert_eq!(state.take(start), Some("kernel/drivers/ata/ahci.ko"));
    assert!(!state.is_idle());
    state.busy.retain(|busy| busy.class > Class::Watchdog);
    assert!(state.is_idle());
    // Ports wait for watchdogs, however long a disk takes.
    assert_eq!(state.take(start + LEAD_PATIENCE), None);
    state.last = Some(Class::Disk);
    assert!(!state.is_idle());
    assert_eq!(state.take(start), None);
    assert_eq!(state.take(start + LEAD_PATIENCE), Some("kernel/drivers/net/port.ko"));
    state.ahead.clear();
    assert_eq!(state.take(start), Some("kernel/drivers/block/disk.ko"));
    assert_eq!(state.take(start), None);
}

#[test]
fn many_that_look_for_disks_leave_threads_to_the_others() {
    let texts = Texts::default();
    let index = Index::new(&texts);
    let supply = supply(Path::new("/"));
    let queue = Queue::new(&index, &supply);
    queue.open(Class::Disk);
    let names: Vec<String> =
        (0..9).map(|number| format!("kernel/drivers/ata/pata{number}.ko")).collect();
    // The queue lives as long as the lists that its names come from.
    let names: &[String] = names.leak();
    let mut state = queue.state();
    state.wanted.insert(Class::Disk, names.iter().map(String::as_str).collect());
    state.wanted.insert(Class::Port, BTreeSet::from(["kernel/drivers/net/port.ko"]));
    let now = Instant::now();
    for name in &names[..MOST_SEARCHING] {
        assert_eq!(state.take(now), Some(name.as_str()));
    }
    assert_eq!(state.take(now), None);
    state.ahead.clear();
    assert_eq!(state.take(now), Some("kernel/drivers/net/port.ko"));
}

#[test]
fn a_module_that_hangs_is_not_waited_for_and_holds_up_no_other_thread() {
    let released = Mutex::new(false);
    let (changed, patience) = (Condvar::new(), Duration::from_millis(50));
    // Nobody can hang a module here: what hangs is the word about its end.
    let hang = |gap: Gap| {
        if gap.what == "modules/dog" {
            drop(changed.wait_while(released.lock().unwrap(), |released| !*released));
        }
    };
    let play = |queue: &Queue<'_>, report: &(dyn Fn(Gap) + Sync)| {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                queue.work(|gap| {
                    report(gap.clone());
                    hang(gap);
                });
            });
            queue.open(Class::Watchdog);
            while queue.busy().is_empty() {
                std::thread::yield_now();
            }
            let is_idle = queue.wait_until_idle(patience);
            let stuck = (queue.stuck(Duration::ZERO), queue.stuck(LONG));
            scope.spawn(|| queue.work(report));
            queue.open(Class::Rest);
            while queue.count() < 4 || queue.busy().len() > 1 {
                std::thread::yield_now();
            }
            let noted = [(Class::Rest, LONG), (Class::Disk, patience), (Class::Rest, patience)]
                .map(|(class, patience)| queue.note_hanging(class, patience));
            let findings = queue.supply().findings();
            let before = (findings.hanging(), findings.take_news(), findings.is_quiet());
            *released.lock().unwrap() = true;
            changed.notify_all();
            assert!(queue.wait_until_idle(LONG));
            let after = (findings.hanging(), findings.take_news(), findings.is_quiet());
            queue.close();
            assert_eq!((is_idle, stuck), (false, (1, 0)));
            assert_eq!(noted, [false, true, false], "once, and not before it takes long");
            assert_eq!(before, (vec!["modules/dog".to_owned()], false, false));
            assert_eq!(
                after,
                (Vec::new(), true, true),
                "it came to an end after all: that is told"
            );
        });
    };
    check(play, &["modules/dog", "modules/port", "modules/disk", "modules/fan"]);
}

#[test]
fn the_core_of_the_watchdogs_keeps_watching_and_libraries_wait_for_nobody() {
    let mut texts = Texts::default();
    texts.alias.push_str("alias pci:v1* ahci\nalias acpi:1* intel_pmc_bxt\n");
    let index = Index::new(&texts);
    let supply = supply(Path::new("/"));
    let queue = Queue::new(&index, &supply);
    let core = "kernel/drivers/watchdog/watchdog.ko.xz";
    assert_eq!(queue.parameters(core).as_c_str(), c"stop_on_reboot=0 async_probe");
    assert_eq!(queue.parameters("kernel/drivers/ata/libata.ko").as_c_str(), c"async_probe");
    queue.want_module("ahci", "");
    assert_eq!(queue.parameters("kernel/drivers/ata/ahci.ko").as_c_str(), c"");
    let needed = "kernel/drivers/mfd/intel_pmc_bxt.ko.xz";
    assert_eq!(queue.parameters(needed).as_c_str(), c"async_probe");
}

#[test]
fn ports_come_before_disks_and_the_rest_when_it_is_let_in() {
    let play = |queue: &Queue<'_>, report: &(dyn Fn(Gap) + Sync)| {
        queue.open(Class::Disk);
        std::thread::scope(|scope| {
            scope.spawn(|| queue.work(report));
            assert!(queue.wait_until_idle(LONG));
            assert_eq!(queue.count(), 3);
            queue.open(Class::Rest);
            assert!(queue.wait_until_idle(LONG));
            queue.close();
        });
    };
    check(play, &["modules/dog", "modules/port", "modules/disk", "modules/fan"]);
}
