//! Whether two pictures show one machine: a comparison of evidence, item by item, and what follows from it.
//!
//! Points, for sound items only (see [`super::evidence`]); "differs" means that both sides have some and share none:
//!
//! | evidence | shared | differs |
//! | --- | --- | --- |
//! | UUID | 40 | −20 |
//! | system serial number | 30 | −30 |
//! | board serial number | 30 | −10 |
//! | case serial number | 10 | 0 |
//! | permanent MAC addresses | 30, and 20 for each further one, at most 60 | −20 |
//! | disks | 30, and 10 for each further one, at most 50 | −20 |
//! | the set of memory modules | 30 | 0 |
//!
//! From two machines' evidence follows one [`Likeness`]:
//!
//! | likeness | when | so |
//! | --- | --- | --- |
//! | `Same` | 50 points or more, from at least two shared items, one *physical* (port, disk, memory) and one *rooted* (not disk, not memory) | the same machine |
//! | `Identical` | all items are equal, the weak ones included, and there is at least one that is not removable | the same machine, as far as anybody can tell |
//! | `Grown` | all that was sound is there again, something rooted among it, and nothing differs | the same machine with more in it, weakly |
//! | `Unclear` | something rooted is shared, but not enough of it | a person must look |
//! | `Distinct` | nothing rooted is shared, or firmware claims the same name in machines whose parts all differ | two machines |
//!
//! Why physical *and* rooted: sleds of one chassis show the same UUID and serial number and share no part;
//! disks and memory wander together into a new machine and share no board.
//! A likeness never carries an approval over a change: [`changed`] says what changed, and the caller takes the approval back.

use std::collections::BTreeSet;

use super::evidence::{Evidence, Item, Kind, Soundness, Strength};

/// From so many points on, two pictures show one machine.
pub const ENOUGH: i32 = 50;

/// How alike two pictures are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Likeness {
    /// Two machines.
    Distinct,
    /// A person must look.
    Unclear,
    /// The same machine with more in it; weak.
    Grown,
    /// Nothing tells them apart.
    Identical,
    /// The same machine.
    Same,
}

/// What came out of comparing evidence with all known machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// It is this machine.
    Known {
        /// Its name.
        name: String,
        /// The points.
        score: i32,
        /// How sure that is: strong with two shared sound items or more.
        strength: Strength,
    },
    /// No known machine.
    New {
        /// What it nevertheless shares with a known machine, for a person.
        notice: Option<String>,
    },
    /// It could be one of these, or another that shares parts with them.
    Conflict {
        /// Their names, never empty, sorted.
        names: Vec<String>,
        /// Why nobody can tell.
        why: String,
    },
}

/// The comparison of two pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comparison {
    /// What follows.
    pub likeness: Likeness,
    /// The points.
    pub score: i32,
    /// How many sound items both show.
    pub shared: usize,
}

/// What became of one kind of evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// So many items are on both sides.
    Shared(i32),
    /// Both sides have some, and none in common.
    Differs,
    /// One side says nothing.
    Silent,
}

const KINDS: [Kind; 7] = [
    Kind::Uuid,
    Kind::SystemSerial,
    Kind::BoardSerial,
    Kind::ChassisSerial,
    Kind::Mac,
    Kind::Disk,
    Kind::Memory,
];

/// Compares what is known with what was seen. Score and shared items are symmetric;
/// likeness is, but for [`Likeness::Grown`], which asks that nothing known got lost.
pub fn compare(known: &Evidence, seen: &Evidence) -> Comparison {
    let fates = KINDS.map(|kind| (kind, fate(known, seen, kind)));
    let score = fates.iter().map(|&(kind, fate)| points(kind, fate)).sum();
    let shared = known.sound().filter(|item| seen.has_sound(item)).count();
    let any = |wanted: fn(Kind) -> bool| {
        fates.iter().any(|&(kind, fate)| wanted(kind) && matches!(fate, Fate::Shared(_)))
    };
    let differs = |wanted: fn(Kind) -> bool| {
        fates.iter().any(|&(kind, fate)| wanted(kind) && fate == Fate::Differs)
    };
    let (physical, rooted) = (any(Kind::is_physical), any(Kind::is_rooted));
    let likeness = if score >= ENOUGH && shared >= 2 && physical && rooted {
        Likeness::Same
    } else if is_identical(known, seen) {
        Likeness::Identical
    } else if rooted && shared == known.sound().count() && !differs(|_| true) {
        Likeness::Grown
    } else if !rooted || (!physical && differs(Kind::is_physical)) {
        Likeness::Distinct
    } else {
        Likeness::Unclear
    };
    Comparison { likeness, score, shared }
}

fn fate(known: &Evidence, seen: &Evidence, kind: Kind) -> Fate {
    let shared = known.sound_of(kind).filter(|item| seen.has_sound(item)).count();
    if shared > 0 {
        Fate::Shared(i32::try_from(shared).unwrap_or(i32::MAX))
    } else if known.sound_of(kind).next().is_some() && seen.sound_of(kind).next().is_some() {
        Fate::Differs
    } else {
        Fate::Silent
    }
}

fn points(kind: Kind, fate: Fate) -> i32 {
    match (kind, fate) {
        (_, Fate::Silent) | (Kind::ChassisSerial | Kind::Memory, Fate::Differs) => 0,
        (Kind::Uuid, Fate::Shared(_)) => 40,
        (Kind::Uuid | Kind::Mac | Kind::Disk, Fate::Differs) => -20,
        (Kind::SystemSerial | Kind::BoardSerial | Kind::Memory, Fate::Shared(_)) => 30,
        (Kind::SystemSerial, Fate::Differs) => -30,
        (Kind::BoardSerial, Fate::Differs) => -10,
        (Kind::ChassisSerial, Fate::Shared(_)) => 10,
        (Kind::Mac, Fate::Shared(count)) => (10 + 20 * count.min(10)).min(60),
        (Kind::Disk, Fate::Shared(count)) => (20 + 10 * count.min(10)).min(50),
    }
}

/// Compares everything that does not come and go with a cable.
fn is_identical(known: &Evidence, seen: &Evidence) -> bool {
    let fixed = |evidence: &Evidence| {
        let items = evidence.items().iter();
        items
            .filter(|item| item.soundness != Soundness::Removable)
            .cloned()
            .collect::<BTreeSet<_>>()
    };
    let known = fixed(known);
    let tells = |item: &Item| item.soundness != Soundness::Garbage;
    known.iter().any(tells) && known == fixed(seen)
}

/// Finds whose evidence was seen among machines that share anything with it.
pub fn recognise<'a>(
    seen: &Evidence,
    known: impl IntoIterator<Item = (&'a str, &'a Evidence)>,
) -> Match {
    let mut compared: Vec<(&str, &Evidence, Comparison)> = known
        .into_iter()
        .map(|(name, evidence)| (name, evidence, compare(evidence, seen)))
        .collect();
    compared.sort_by_key(|&(name, _, comparison)| {
        (std::cmp::Reverse((comparison.likeness, comparison.score)), name)
    });
    let of = |wanted: fn(Likeness) -> bool| {
        compared.iter().filter(move |(_, _, comparison)| wanted(comparison.likeness))
    };
    let identical: Vec<_> =
        compared.iter().filter(|(_, evidence, _)| is_identical(evidence, seen)).collect();
    let same: Vec<_> = of(|likeness| likeness >= Likeness::Grown).collect();
    match (identical.as_slice(), same.as_slice()) {
        ([one], _) | ([], [one]) => {
            let (name, _, comparison) = **one;
            let strength = if comparison.shared >= 2 { Strength::Strong } else { Strength::Weak };
            return Match::Known { name: name.to_owned(), score: comparison.score, strength };
        }
        ([], []) => {}
        _ => {
            let names = sorted_names(same.iter().map(|(name, ..)| *name));
            let why = format!("it matches several known machines: {}", names.join(", "));
            return Match::Conflict { names, why };
        }
    }
    let unclear: Vec<_> = of(|likeness| likeness == Likeness::Unclear).collect();
    if !unclear.is_empty() {
        let names = sorted_names(unclear.iter().map(|(name, ..)| *name));
        let why = unclear
            .iter()
            .map(|(name, evidence, _)| {
                format!(
                    "it shares its {} with {name}, and too little else",
                    in_common(evidence, seen)
                )
            })
            .collect::<Vec<_>>()
            .join("; ");
        return Match::Conflict { names, why };
    }
    let notice = compared.iter().find(|(.., comparison)| comparison.shared > 0).map(
        |(name, evidence, _)| {
            format!(
                "it shares its {} with {name}, but is another machine",
                in_common(evidence, seen)
            )
        },
    );
    Match::New { notice }
}

fn sorted_names<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    names.map(str::to_owned).collect::<BTreeSet<_>>().into_iter().collect()
}

fn in_common(known: &Evidence, seen: &Evidence) -> String {
    let kinds: BTreeSet<Kind> =
        known.sound().filter(|item| seen.has_sound(item)).map(|item| item.kind).collect();
    kinds.into_iter().map(Kind::words).collect::<Vec<_>>().join(" and ")
}

/// Says what changed so much that an approval must be given again: board, UUID, system serial number.
/// Disk sets are compared by the caller, who knows also the disks that are no evidence. Nothing means unchanged.
pub fn changed(known: &Evidence, seen: &Evidence) -> Option<String> {
    for kind in [Kind::Uuid, Kind::BoardSerial, Kind::SystemSerial] {
        if !known.sound_of(kind).eq(seen.sound_of(kind)) {
            return Some(format!("its {} changed", kind.words()));
        }
    }
    // Without UUID and board serial number only its own ports show which board it is.
    let board_is_named = [Kind::Uuid, Kind::BoardSerial]
        .into_iter()
        .any(|kind| known.sound_of(kind).next().is_some());
    let lost = known.items().iter().any(|item| {
        item.kind == Kind::Mac
            && item.soundness != Soundness::Removable
            && !seen.items().contains(item)
    });
    if !board_is_named && lost {
        return Some("a network port is gone, and nothing else tells its board".to_owned());
    }
    let strong = known.strength() >= Strength::Strong;
    if !strong && !is_identical(known, seen) {
        return Some("its identity is weak, and what it shows changed".to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads `uuid=a mac=1 mac=2 disk=x mem=m`; a leading `?` makes a locally administered, `!` a garbage, `~` a removable item.
    fn evidence(text: &str) -> Evidence {
        text.split_whitespace()
            .map(|word| {
                let (soundness, word) = match word.as_bytes().first() {
                    Some(b'?') => (Soundness::LocallyAdministered, &word[1..]),
                    Some(b'!') => (Soundness::Garbage, &word[1..]),
                    Some(b'~') => (Soundness::Removable, &word[1..]),
                    _ => (Soundness::Sound, word),
                };
                let (kind, value) = word.split_once('=').unwrap();
                let kind = match kind {
                    "uuid" => Kind::Uuid,
                    "system" => Kind::SystemSerial,
                    "board" => Kind::BoardSerial,
                    "chassis" => Kind::ChassisSerial,
                    "mac" => Kind::Mac,
                    "disk" => Kind::Disk,
                    "memory" => Kind::Memory,
                    other => panic!("{other}"),
                };
                Item { kind, value: value.to_owned(), soundness }
            })
            .collect()
    }

    fn check(known: &str, seen: &str, likeness: Likeness) {
        let (known, seen) = (evidence(known), evidence(seen));
        let comparison = compare(&known, &seen);
        assert_eq!(comparison.likeness, likeness, "{known:?}\n{seen:?}\n{comparison:?}");
    }

    const SERVER: &str = "uuid=u system=s board=b chassis=c mac=1 mac=2 disk=x disk=y memory=m";

    #[test]
    fn a_machine_is_itself() {
        check(SERVER, SERVER, Likeness::Same);
    }

    #[test]
    fn a_disk_more_or_another_disk_or_card_is_the_same_machine() {
        check("uuid=u mac=1 disk=x", "uuid=u mac=1 disk=x disk=y", Likeness::Same);
        check("uuid=u mac=1 disk=x", "uuid=u mac=1 disk=y", Likeness::Same);
        check("uuid=u mac=1 disk=x", "uuid=u mac=2 disk=x", Likeness::Same);
        check("uuid=u mac=1 disk=x", "uuid=u mac=1 mac=2 disk=x", Likeness::Same);
        check("!uuid=u mac=1", "!uuid=u mac=1 disk=x", Likeness::Grown);
    }

    #[test]
    fn two_machines_with_the_same_garbage_are_two() {
        check(
            "!uuid=g !system=g mac=1 disk=x",
            "!uuid=g !system=g mac=2 disk=y",
            Likeness::Distinct,
        );
        check("!uuid=g ~mac=usb disk=x", "!uuid=g ~mac=usb disk=y", Likeness::Distinct);
        check("!uuid=g ~mac=usb", "!uuid=g ~mac=usb", Likeness::Distinct);
    }

    #[test]
    fn sleds_of_one_chassis_are_two_machines() {
        check(
            "uuid=u system=s chassis=c mac=1 disk=x",
            "uuid=u system=s chassis=c mac=2 disk=y",
            Likeness::Distinct,
        );
        check(
            "uuid=u system=s chassis=c mac=1",
            "uuid=u system=s chassis=c mac=2",
            Likeness::Distinct,
        );
    }

    #[test]
    fn disks_and_memory_in_another_machine_do_not_make_it_the_old_one() {
        check(SERVER, "uuid=v system=t board=d mac=3 disk=x disk=y memory=m", Likeness::Distinct);
        check("mac=1 disk=x disk=y memory=m", "mac=2 disk=x disk=y memory=m", Likeness::Distinct);
    }

    #[test]
    fn another_board_is_the_same_machine_only_if_enough_else_is() {
        check(
            SERVER,
            "uuid=v system=s board=d chassis=c mac=3 disk=x disk=y memory=m",
            Likeness::Same,
        );
        check(SERVER, "uuid=v board=d chassis=c mac=3 disk=x", Likeness::Unclear);
    }

    #[test]
    fn a_card_of_two_ports_in_another_machine_is_unclear_at_most() {
        check("mac=1 mac=2 disk=x", "mac=1 mac=2 disk=y", Likeness::Unclear);
        check("uuid=u mac=1 mac=2 disk=x", "uuid=v mac=1 mac=2 disk=y", Likeness::Unclear);
    }

    #[test]
    fn a_virtual_machine_is_itself_as_long_as_nothing_changes() {
        check("?mac=1", "?mac=1", Likeness::Identical);
        check("?mac=1 disk=x", "?mac=1 disk=y", Likeness::Distinct);
        check("uuid=u ?mac=1", "uuid=u ?mac=1", Likeness::Identical);
        check("uuid=u ?mac=1", "uuid=u ?mac=1 disk=x", Likeness::Grown);
    }

    #[test]
    fn changes_that_take_an_approval_back_are_named() {
        let check = |known: &str, seen: &str, expected: Option<&str>| {
            let found = changed(&evidence(known), &evidence(seen));
            assert_eq!(found.as_deref(), expected, "{known} | {seen}");
        };
        check(SERVER, SERVER, None);
        check("uuid=u mac=1 mac=2", "uuid=u mac=1 mac=3", None);
        check("uuid=u mac=1 disk=x", "uuid=v mac=1 disk=x", Some("its UUID changed"));
        check("uuid=u mac=1 disk=x", "!uuid=g mac=1 disk=x", Some("its UUID changed"));
        check("board=u mac=1 disk=x", "mac=1 disk=x", Some("its board serial number changed"));
        check(
            "mac=1 disk=x",
            "mac=2 disk=x",
            Some("a network port is gone, and nothing else tells its board"),
        );
        check(
            "uuid=u ?mac=1",
            "uuid=u ?mac=2",
            Some("its identity is weak, and what it shows changed"),
        );
        check("uuid=u ?mac=1", "uuid=u ?mac=1 ~mac=usb", None);
    }

    #[test]
    fn two_known_machines_never_become_one() {
        let (one, two) = (evidence("uuid=u mac=1 disk=x"), evidence("uuid=v mac=2 disk=y"));
        let both = evidence("uuid=u mac=1 mac=2 disk=y disk=x");
        let both = recognise(&both, [("one", &one), ("two", &two)]);
        assert!(matches!(&both, Match::Known { name, .. } if name == "one"), "{both:?}");
        let half = evidence("mac=1 mac=2 disk=x disk=y");
        let half = recognise(&half, [("one", &one), ("two", &two)]);
        assert!(
            matches!(&half, Match::Conflict { names, .. } if names == &["one", "two"]),
            "{half:?}"
        );
    }

    #[test]
    fn the_machine_that_is_identical_wins_over_one_that_is_alike() {
        let (one, two) = (evidence("uuid=u mac=1 disk=x"), evidence("uuid=u mac=1 disk=x disk=y"));
        for (name, seen) in [("one", &one), ("two", &two)] {
            let found = recognise(seen, [("one", &one), ("two", &two)]);
            assert!(
                matches!(&found, Match::Known { name: known, .. } if known == name),
                "{found:?}"
            );
        }
    }

    #[test]
    fn the_notice_says_what_is_shared() {
        let one = evidence("uuid=u system=s mac=1");
        let seen = evidence("uuid=u system=s mac=2");
        let Match::New { notice: Some(notice) } = recognise(&seen, [("one", &one)]) else {
            panic!("two machines");
        };
        assert_eq!(
            notice,
            "it shares its UUID and system serial number with one, but is another machine"
        );
    }

    fn any_evidence() -> impl Strategy<Value = Evidence> {
        let kind = prop::sample::select(KINDS.to_vec());
        let soundness = prop::sample::select(vec![
            Soundness::Sound,
            Soundness::Sound,
            Soundness::Garbage,
            Soundness::Removable,
            Soundness::LocallyAdministered,
        ]);
        let item = (kind, 0..4_u8, soundness).prop_map(|(kind, value, soundness)| Item {
            kind,
            value: value.to_string(),
            soundness,
        });
        prop::collection::vec(item, 0..10).prop_map(Evidence::from_iter)
    }

    proptest! {
        #[test]
        fn scores_are_symmetric(one in any_evidence(), two in any_evidence()) {
            let (there, back) = (compare(&one, &two), compare(&two, &one));
            prop_assert_eq!((there.score, there.shared), (back.score, back.shared));
            prop_assert_eq!(there.likeness == Likeness::Same, back.likeness == Likeness::Same);
            prop_assert_eq!(there.likeness == Likeness::Identical, back.likeness == Likeness::Identical);
        }

        #[test]
        fn nothing_is_matched_strongly_without_two_shared_sound_items(
            one in any_evidence(), two in any_evidence(), seen in any_evidence()
        ) {
            let known = [("one", &one), ("two", &two)];
            if let Match::Known { name, strength: Strength::Strong, .. } = recognise(&seen, known) {
                let evidence = if name == "one" { &one } else { &two };
                prop_assert!(evidence.sound().filter(|item| seen.has_sound(item)).count() >= 2);
            }
        }

        #[test]
        fn the_order_of_the_known_does_not_matter(
            one in any_evidence(), two in any_evidence(), seen in any_evidence()
        ) {
            prop_assert_eq!(
                recognise(&seen, [("one", &one), ("two", &two)]),
                recognise(&seen, [("two", &two), ("one", &one)])
            );
        }

        #[test]
        fn a_machine_that_shows_two_sound_items_is_recognised_again(one in any_evidence()) {
            let tells = one.items().iter().any(|item| {
                !matches!(item.soundness, Soundness::Removable | Soundness::Garbage)
            });
            if tells {
                prop_assert_eq!(
                    matches!(recognise(&one, [("one", &one)]), Match::Known { .. }), true
                );
            }
        }

        #[test]
        fn what_did_not_change_is_not_said_to_have_changed(one in any_evidence()) {
            prop_assert!(changed(&one, &one).is_none() || one.strength() == Strength::Weak);
        }
    }
}
