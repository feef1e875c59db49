//! ATA security: every state of it, and power cuts between them.

use super::*;

#[test]
fn a_security_erase_is_journaled_and_leaves_no_password() {
    for technique in ERASES {
        for config in [Config::default(), Config::solid_state()] {
            let disk = Simulated::new(config);
            let watch = Bench::new(&disk);
            let outcome = apply(&disk.device(), None, technique, &settings(), &watch);
            assert_eq!((outcome.ended, &outcome.reason), (Ended::Done, &None), "{technique:?}");
            let password = "41".repeat(32);
            assert_eq!(*watch.journal.lock().unwrap(), [WipeStepKind::AtaPassword { password }]);
            // Only the enhanced one reaches what was replaced.
            let is_enhanced = technique == Technique::AtaSecurityEraseEnhanced;
            assert_eq!(disk.left() == 0, is_enhanced, "{technique:?}");
            assert!(disk.is_open());
            assert_eq!(disk.with(|disk| disk.read(0, 1)).unwrap(), [0; 512]);
            assert_eq!(disk.examine().obstacles, []);
        }
    }
}

#[test]
fn without_a_journal_no_password_is_set() {
    let disk = Simulated::new(Config::default());
    let watch = Bench { has_server: false, ..Bench::new(&disk) };
    let outcome = apply(&disk.device(), None, Technique::AtaSecurityErase, &settings(), &watch);
    assert_eq!(outcome.ended, Ended::Failed);
    assert_eq!(sent(&outcome, "SECURITY SET PASSWORD"), 0);
    assert!(disk.is_open());
}

#[test]
fn whoever_cancels_once_the_password_is_set_leaves_an_open_disk() {
    let disk = Simulated::new(Config::default());
    let watch = Bench { stops_after_journal: true, ..Bench::new(&disk) };
    let outcome = apply(&disk.device(), None, Technique::AtaSecurityErase, &settings(), &watch);
    assert_eq!(outcome.ended, Ended::Failed);
    assert_eq!(sent(&outcome, "SECURITY SET PASSWORD"), 1);
    assert_eq!(sent(&outcome, "SECURITY ERASE UNIT"), 0);
    assert!(disk.is_open());
    assert_eq!(disk.with(|disk| disk.read(0, 1)).unwrap(), [SECRET; 512]);
}

#[test]
fn what_a_disk_does_not_say_it_can_is_not_tried() {
    let mut config = Config::default();
    config.security.as_mut().unwrap().enhanced_erase = false;
    let disk = Simulated::new(config);
    assert!(!offered(&disk.examine()).contains(&Technique::AtaSecurityEraseEnhanced));
    let outcome = disk.apply(Technique::AtaSecurityEraseEnhanced);
    assert_eq!((outcome.ended, sent(&outcome, "SECURITY SET PASSWORD")), (Ended::Failed, 0));
    let disk = Simulated::new(Config { security: None, sanitize: None, ..Config::default() });
    assert_eq!(disk.examine().techniques, []);
    assert_eq!(disk.apply(Technique::AtaSecurityErase).ended, Ended::Failed);
}

#[test]
fn a_frozen_disk_is_not_tried_and_free_after_a_suspend() {
    let disk = Simulated::new(Config { freezing: Freezing::AtStart, ..Config::default() });
    assert_eq!(disk.examine().obstacles, [Obstacle::Frozen]);
    let outcome = disk.apply(Technique::AtaSecurityErase);
    assert_eq!((outcome.ended, sent(&outcome, "SECURITY SET PASSWORD")), (Ended::Failed, 0));
    // SANITIZE is not frozen with it.
    disk.with(Disk::suspend);
    assert_eq!(disk.examine().obstacles, []);
    assert_eq!(disk.apply(Technique::AtaSecurityErase).ended, Ended::Done);
    let disk = Simulated::new(Config { freezing: Freezing::AtStart, ..Config::default() });
    assert_eq!(disk.apply(Technique::AtaSanitizeOverwrite).ended, Ended::Done);
}

#[test]
fn a_power_cut_in_the_erasure_leaves_a_locked_disk_that_the_next_boot_frees() {
    for at in [0, 0x8000] {
        let disk = Simulated::new(Config::default());
        disk.with(|disk| disk.cut_power_in_erase(at));
        let outcome = disk.apply(Technique::AtaSecurityErase);
        assert_eq!(outcome.ended, Ended::Unknown);
        assert_eq!(disk.examine().obstacles, [Obstacle::Locked]);
        assert_eq!(disk.recover(), Recovered::Free);
        assert_eq!(disk.recover(), Recovered::Unneeded);
        assert!(disk.is_open());
        assert_eq!(disk.apply(Technique::AtaSecurityErase).ended, Ended::Done);
    }
}

/// Sends a security command as somebody else would.
fn secure(disk: &Simulated, command: u8, password: [u8; 32]) {
    let mut data = [0; 512];
    data[2..34].copy_from_slice(&password);
    let envelope = [0x85, 10, 0x26, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, command, 0];
    disk.with(|disk| disk.execute(&envelope, &mut data)).unwrap();
}

#[test]
fn a_power_cut_between_password_and_erasure_is_recovered_and_the_technique_does_so_itself() {
    for power_cut in [true, false] {
        let disk = Simulated::new(Config::default());
        secure(&disk, 0xf1, settings().password);
        let obstacle = if power_cut {
            disk.with(Disk::power_cut);
            Obstacle::Locked
        } else {
            Obstacle::PasswordSet
        };
        assert_eq!(disk.examine().obstacles, [obstacle]);
        assert_eq!(disk.apply(Technique::AtaSecurityErase).ended, Ended::Done);
        assert!(disk.is_open());
        assert_eq!(disk.left(), 1, "a sector that was replaced is no address");
    }
}

#[test]
fn passwords_that_stand_for_none_are_tried_and_strange_ones_cost_no_more_than_three() {
    for password in [[0; 32], [b' '; 32]] {
        let disk = Simulated::new(Config::default());
        secure(&disk, 0xf1, password);
        disk.with(Disk::power_cut);
        assert_eq!(disk.recover(), Recovered::Free);
        assert!(disk.is_open());
    }
    let disk = Simulated::new(Config::default());
    secure(&disk, 0xf1, *b"somebody else's secret          ");
    disk.with(Disk::power_cut);
    assert!(matches!(disk.recover(), Recovered::Refused { .. }));
    let obstacles = disk.examine().obstacles;
    assert_eq!(obstacles, [Obstacle::Locked], "not expired");
    let outcome = disk.apply(Technique::AtaSecurityErase);
    assert_eq!((outcome.ended, sent(&outcome, "SECURITY ERASE UNIT")), (Ended::Failed, 0));
    // Two more wrong ones, and it takes none any more.
    assert_eq!(disk.examine().obstacles, [Obstacle::Locked, Obstacle::PasswordAttemptsExpired]);
    assert!(matches!(disk.recover(), Recovered::Refused { .. }));
    // Whose it is can still read it.
    disk.with(Disk::power_cut);
    secure(&disk, 0xf2, *b"somebody else's secret          ");
    assert_eq!(disk.with(|disk| disk.read(0, 1)).unwrap(), [SECRET; 512]);
}

#[test]
fn an_erasure_that_fails_takes_its_password_off_and_one_without_an_answer_is_unknown() {
    let disk =
        Simulated::new(Config { erase_course: Course::FailsAt(0x4000), ..Config::default() });
    let outcome = disk.apply(Technique::AtaSecurityErase);
    assert_eq!(outcome.ended, Ended::Failed);
    assert!(reason(&outcome).ends_with("the password is off again"), "{}", reason(&outcome));
    assert!(disk.is_open());
    let disk =
        Simulated::new(Config { erase_course: Course::SticksAt(0x4000), ..Config::default() });
    assert_eq!(disk.apply(Technique::AtaSecurityErase).ended, Ended::Unknown);
}

#[test]
fn a_disk_that_lies_is_believed_here_and_found_out_by_reading() {
    let disk = Simulated::new(Config { erase_course: Course::Lies, ..Config::default() });
    assert_eq!(disk.apply(Technique::AtaSecurityErase).ended, Ended::Done);
    assert!(disk.left() > 0);
}

#[test]
fn every_journaled_password_is_tried_and_never_as_many_as_lock_the_disk_for_good() {
    let own = |number: u8| [number; 32];
    let locked = |password| {
        let disk = Simulated::new(Config::default());
        secure(&disk, 0xf1, password);
        disk.with(Disk::power_cut);
        disk
    };
    // Another order's is not the newest; one that stands twice costs no attempt.
    for passwords in [vec![own(2), own(1)], vec![own(4), own(4), own(3), own(2), own(1)]] {
        let disk = locked(own(1));
        assert_eq!(disk.recover_with(&passwords), Recovered::Free, "{}", passwords.len());
        assert!(disk.is_open());
    }
    let disk = locked(own(9));
    let many: Vec<_> = (1..9).map(own).collect();
    let Recovered::Refused { words } = disk.recover_with(&many) else { panic!("it is another's") };
    assert!(words.contains("none of the 4 that were tried"), "{words}");
    assert_eq!(disk.examine().obstacles, [Obstacle::Locked], "not expired");
    secure(&disk, 0xf2, own(9));
}

#[test]
fn one_journaled_password_that_is_wrong_is_called_that() {
    let disk = Simulated::new(Config::default());
    secure(&disk, 0xf1, [7; 32]);
    let Recovered::Refused { words } = disk.recover() else { panic!("it was let in") };
    assert!(words.contains("neither the journaled one nor empty"), "{words}");
}
