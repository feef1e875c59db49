use protocol::wipe::Expected;

use super::*;
use crate::firmware::Offered;

const TB: u64 = 1_000_000_000_000;

fn offers(technique: Technique, seconds: Option<u64>, reach: Reach) -> Offered {
    let estimate = seconds.map(Duration::from_secs);
    Offered { technique, estimate, reach, expected: Expected::Zeros }
}

/// An SSD that can sanitize, crypto erase, and erase under a password.
fn flash(obstacles: Vec<Obstacle>) -> Examined {
    Examined {
        techniques: vec![
            offers(Technique::AtaSanitizeCrypto, None, Reach::Everything),
            offers(Technique::AtaSecurityEraseEnhanced, Some(120), Reach::Everything),
            offers(Technique::AtaSecurityErase, Some(240), Reach::Addressed),
        ],
        obstacles,
        ..Examined::default()
    }
}

fn known<'k>(examined: &'k Examined, options: &'k WipeOptions) -> Known<'k> {
    Known {
        examined,
        kind: MediumKind::Flash,
        size_bytes: 4 * TB,
        is_nvme: false,
        discards: true,
        is_zoned: false,
        may: Reach::Everything,
        options,
        has_psid: false,
    }
}

fn at(level: PowerLevel, forecast: &DiskForecast) -> &LevelForecast {
    forecast.levels.iter().find(|one| one.level == level).unwrap()
}

fn techniques(level: &LevelForecast) -> Vec<Technique> {
    level.ways.iter().flat_map(|way| way.techniques.clone()).collect()
}

#[test]
fn every_level_but_idle_is_spoken_of_with_what_it_asks_and_reaches() {
    let (examined, options) = (flash(Vec::new()), WipeOptions::default());
    let all = forecast(&known(&examined, &options));
    assert_eq!(all.levels.iter().map(|one| one.level).collect::<Vec<_>>(), LEVELS);
    let [harbour, working, full, redline] = all.levels.as_slice() else { panic!("{all:?}") };
    assert_eq!((harbour.reaches, harbour.asked), (Outcome::None, Outcome::None));
    assert_eq!(techniques(working), [Technique::Signatures, Technique::Discard]);
    assert_eq!((full.reaches, full.ways[0].seconds), (Outcome::Clear, Some(20_000)));
    assert_eq!((redline.reaches, redline.ways.len()), (Outcome::Purge, 4));
    assert_eq!(redline.ways[0].words, "ATA CRYPTO SCRAMBLE EXT, then reading back a sample");
    // The disk says nothing of the first, two minutes of the second.
    assert_eq!(redline.ways[0].seconds, None);
    assert_eq!(redline.ways[1].seconds, Some(120 + MANY_SAMPLES / 5_000));
    assert_eq!(redline.ways[2].techniques.len(), 3);
    assert!(all.levels.iter().all(|one| one.in_the_way.is_empty()), "{all:?}");
}

#[test]
fn what_is_frozen_is_not_promised_unless_it_is_to_be_unfrozen() {
    let examined = flash(vec![Obstacle::Frozen, Obstacle::SanitizeFrozen]);
    let options = WipeOptions::default();
    let all = forecast(&known(&examined, &options));
    let redline = at(PowerLevel::Redline, &all);
    assert_eq!((redline.reaches, redline.asked), (Outcome::Clear, Outcome::Purge));
    assert!(techniques(redline).iter().all(|one| *one <= Technique::KeyedStream), "{redline:?}");
    assert_eq!(redline.in_the_way.len(), 2, "{redline:?}");
    assert_eq!(at(PowerLevel::Full, &all).in_the_way, [""; 0]);
    let options = WipeOptions { unfreeze: true, ..WipeOptions::default() };
    let all = forecast(&known(&examined, &options));
    assert_eq!(at(PowerLevel::Redline, &all).reaches, Outcome::Purge);
}

#[test]
fn a_locked_disk_has_no_way_but_its_own_and_that_only_with_the_psid() {
    use Technique as T;
    let mut examined = flash(vec![Obstacle::OpalLocked]);
    examined.techniques = vec![offers(Technique::OpalPsidRevert, None, Reach::Everything)];
    let options = WipeOptions::default();
    let without = forecast(&known(&examined, &options));
    let redline = at(PowerLevel::Redline, &without);
    assert_eq!((redline.ways.len(), redline.reaches), (0, Outcome::None));
    assert!(redline.in_the_way[0].contains("--psid"), "{redline:?}");
    assert!(without.lines().contains(&"    there is no way".to_owned()));
    let with = forecast(&Known { has_psid: true, ..known(&examined, &options) });
    let redline = at(PowerLevel::Redline, &with);
    // A locked disk takes no marks, so that nobody sees whether the revert erased it.
    let expected = vec![T::OpalPsidRevert, T::KeyedStream, T::KeyedStream, T::Zeros];
    assert_eq!((techniques(redline), redline.reaches), (expected, Outcome::Clear));
    assert!(redline.ways[0].words.starts_with("TCG Opal revert with the PSID, which opens it"));
    assert_eq!(redline.in_the_way, [""; 0]);
    let full = at(PowerLevel::Full, &with);
    assert_eq!(
        (techniques(full), full.reaches),
        (vec![T::OpalPsidRevert, T::Zeros], Outcome::Clear)
    );
    let sanitize = offers(T::AtaSanitizeCrypto, None, Reach::Everything);
    examined.techniques.push(sanitize);
    let with = forecast(&Known { has_psid: true, ..known(&examined, &options) });
    let redline = at(PowerLevel::Redline, &with);
    let first = redline.ways[0].techniques.clone();
    assert_eq!(
        (first, redline.reaches),
        (vec![T::OpalPsidRevert, T::AtaSanitizeCrypto], Outcome::Purge)
    );
    assert_eq!(at(PowerLevel::Working, &with).in_the_way.len(), 1, "it cannot be written yet");
}

#[test]
fn what_would_erase_other_disks_is_not_promised() {
    let (examined, options) = (flash(Vec::new()), WipeOptions::default());
    let all = forecast(&Known { may: Reach::Addressed, ..known(&examined, &options) });
    let redline = at(PowerLevel::Redline, &all);
    assert_eq!(redline.reaches, Outcome::Clear);
    assert_eq!(redline.ways.len(), 2, "{redline:?}");
}

#[test]
fn a_zoned_disk_has_no_way_but_its_own() {
    let (examined, options) = (flash(Vec::new()), WipeOptions::default());
    let all = forecast(&Known { is_zoned: true, ..known(&examined, &options) });
    let ways = |level| at(level, &all).ways.len();
    assert_eq!([PowerLevel::Harbour, PowerLevel::Working].map(ways), [0, 0]);
    assert!(at(PowerLevel::Working, &all).in_the_way[0].contains("zones"), "{all:?}");
    assert!(ways(PowerLevel::Redline) > 0 && at(PowerLevel::Redline, &all).in_the_way.is_empty());
}

#[test]
fn hidden_sectors_stand_in_the_way_of_what_does_not_reach_them() {
    let (native_bytes, accessible_bytes) = (TB, TB - 512);
    let hidden = Obstacle::Hidden { by: Hiding::Hpa, native_bytes, accessible_bytes };
    let (examined, options) = (flash(vec![hidden]), WipeOptions::default());
    let all = forecast(&known(&examined, &options));
    let hindered = all.levels.iter().filter(|one| !one.in_the_way.is_empty());
    assert_eq!(hindered.map(|one| one.level).collect::<Vec<_>>(), [PowerLevel::Full]);
    assert!(all.obstacles[0].words.starts_with("512 bytes are hidden"), "{all:?}");
}

#[test]
fn nobody_reads_the_names_of_our_types() {
    let sectors = Obstacle::Sectors { data_bytes: 520, metadata_bytes: 8, is_protected: true };
    let bridge = Obstacle::Bridge { words: "it returns no task file" };
    let beside = Obstacle::NamespacesBeside { nsids: vec![2, 3] };
    let mut examined = flash(vec![
        Obstacle::Locked,
        Obstacle::PasswordSet,
        Obstacle::PasswordAttemptsExpired,
        Obstacle::WriteProtected,
        Obstacle::Unallocated { bytes: 9 },
        Obstacle::UnreadableAfterSanitize,
        sectors,
        bridge,
        beside,
    ]);
    examined.running = Some(crate::firmware::Running { technique: None, progress: None });
    examined.is_sanitize_failed = true;
    for passes in [None, Some(1), Some(2)] {
        let options = WipeOptions { passes, offload: true, ..WipeOptions::default() };
        for kind in [MediumKind::Flash, MediumKind::Magnetic, MediumKind::Virtual] {
            let all = forecast(&Known { kind, ..known(&examined, &options) });
            for line in all.lines() {
                let typed = ["Sanitize {", "Some(", "None", "AtaS", "Logical", "Clear", "Purge"];
                assert!(!typed.iter().any(|one| line.contains(one)), "{line}");
            }
            assert_eq!(all.obstacles.len(), 11);
        }
    }
}

#[test]
fn a_look_is_told_and_is_bounded() {
    let (examined, options) = (Examined::default(), WipeOptions::default());
    let mut all = forecast(&known(&examined, &options));
    let notes = (0..100).map(|number| exception("left", &number.to_string())).collect();
    add_look(&mut all, &harbour::Report { notes, ..harbour::Report::default() });
    let harbour = at(PowerLevel::Harbour, &all);
    assert_eq!((harbour.notes.len(), harbour.would_remove.as_deref()), (NOTES, Some(&[][..])));
    assert_eq!(harbour.notes.last().unwrap().words, "and 37 notes more");
}
