//! Stories by chance, in which everything is tried by everybody.

use std::collections::HashMap;

use super::*;

/// What was seen from outside in one story.
#[derive(Default)]
struct Seen {
    sessions: u8,
    orders: u8,
    /// Which system each session said it is.
    systems: HashMap<u8, Option<&'static str>>,
    shown: HashMap<u8, InventoryDigest>,
    after: HashMap<u8, u64>,
    /// Who was given an order last.
    given: HashMap<OrderId, u8>,
    /// When a session said anything last, in seconds.
    heard: HashMap<u8, u64>,
    wipes: usize,
    continued: usize,
}

impl Seen {
    fn announces(&mut self, story: &mut Story, session: u8, text: &str, chance: &mut Chance) {
        let known = self.systems.get(&session).copied();
        let systems = [None, Some("SunshineOS"), Some("HerculesOS"), Some("HerculesOS"), Some("x")];
        let system = known.unwrap_or_else(|| chance.of(&systems));
        self.systems.insert(session, system);
        let complete = chance.below(5) > 0;
        if let Ok(welcome) = story.says_as(session, text, mac(1), complete, system) {
            self.after.insert(session, welcome.sequence);
            self.heard.insert(session, story.seconds);
            if complete {
                self.shown.insert(session, InventoryDigest::of(&inventory(text)));
            }
        }
    }

    /// Whatever leaves the server is checked against what was seen.
    fn asks(&mut self, story: &mut Story, session: u8, chance: &mut Chance) {
        let after = self.after.get(&session).copied().unwrap_or(0);
        let is_fit = chance.below(8) > 0;
        let fit = if is_fit { Ok(()) } else { Err("the clock".to_owned()) };
        let asked = story.asks(session, after, fit);
        self.heard.insert(session, story.seconds);
        let Ok(Some(instruction)) = asked else { return };
        if chance.below(2) == 0 {
            self.after.insert(session, instruction.sequence);
        }
        let system = self.systems.get(&session).copied().flatten();
        let order = match &instruction.verb {
            Verb::Wipe(wipe) => {
                assert_eq!(system, Some("HerculesOS"), "only HerculesOS wipes");
                self.wipes += 1;
                &wipe.order
            }
            Verb::Install(install) => {
                assert!(matches!(system, None | Some("SunshineOS")), "only SunshineOS installs");
                &install.order
            }
            _ => return,
        };
        assert!(is_fit, "the clock is in doubt");
        let now = story.now().unix_milliseconds;
        let (machine, kept) = story.fleet.find_order(order.id).unwrap();
        let alive = kept.wipe().and_then(|wipe| wipe.begun.and(wipe.alive));
        let is_continued = alive.is_some_and(|alive| now < alive + 24 * 3_600_000);
        assert!(now < order.deadline_unix_milliseconds || is_continued, "late");
        assert!(machine.is_approved() && kept.is_with(Session([session; 32])));
        assert_eq!(self.shown.get(&session), Some(&order.inventory), "another machine's");
        if let Some(before) = self.given.insert(order.id, session)
            && before != session
        {
            assert!(kept.wipe().is_some(), "an install is given to one boot");
            let silent = story.seconds - self.heard[&before];
            assert!(silent >= ALIVE.as_secs(), "who had it may run still");
            self.continued += 1;
        }
    }
}

#[test]
fn thousands_of_tangled_stories_wipe_nothing_by_the_wrong_hands() {
    let (mut wipes, mut continued, mut reported) = (0, 0, 0);
    for seed in 0..4_000 {
        let mut chance = Chance(seed);
        let (mut story, mut seen) = (Story::new(), Seen::default());
        let shapes = [ONE.to_owned(), ONE.replace("blank", "data"), TWO.to_owned()];
        for text in [ONE, TWO] {
            seen.sessions += 1;
            let session = seen.sessions;
            seen.announces(&mut story, session, text, &mut chance);
        }
        drop(story.approve("4q5hmp2"));
        for _ in 0..28 {
            let session = 1 + u8::try_from(chance.below(u64::from(seen.sessions))).unwrap();
            let newest = seen.sessions;
            let session = if chance.below(4) > 0 { newest } else { session };
            let number = seen.orders.max(1);
            let id = OrderId([number; 16]);
            match chance.below(24) {
                0..=2 => {
                    seen.sessions += 1;
                    let text = chance.of(&shapes[..2]);
                    seen.announces(&mut story, newest + 1, &text, &mut chance);
                }
                3 => {
                    let text = match chance.below(6) {
                        0 => shapes[2].clone(),
                        1 => format!("{ONE} disk=z:data"),
                        _ => chance.of(&shapes[..2]),
                    };
                    seen.announces(&mut story, session, &text, &mut chance);
                }
                4 => drop(story.approve("4q5hmp2")),
                5 | 6 => {
                    seen.orders += 1;
                    let text = chance.of(&shapes[..2]);
                    drop(story.wipes(seen.orders, "4q5hmp2", &text, &request(&["only"])));
                }
                7 => {
                    seen.orders += 1;
                    let wanted = installs::request("only", true);
                    drop(story.installs(seen.orders, "4q5hmp2", ONE, &wanted));
                }
                8 => drop(
                    story.with(|fleet, now, effects| fleet.cancel_order(id, "uid 0", now, effects)),
                ),
                9 => story.seconds += chance.of(&[60, 1800, 4000, 90_000]),
                20..=23 => story.seconds += chance.of(&[30, 60, 100]),
                10 | 11 => {
                    let taken = story.journals(session, id, password());
                    seen.heard.insert(session, story.seconds);
                    assert!(taken.is_err() || seen.given.get(&id) == Some(&session), "seed {seed}");
                }
                12..=14 => {
                    let taken = story.reports(session, id, Verdict::Erased);
                    assert!(!taken || seen.given.get(&id) == Some(&session), "seed {seed}");
                    reported += usize::from(taken);
                }
                _ => seen.asks(&mut story, session, &mut chance),
            }
            for machine in story.fleet.machines() {
                let open = machine.orders.iter().filter(|order| order.is_open()).count();
                assert!(open <= 1, "seed {seed}");
                let is_over = |order: &&DiskOrder| !order.is_open() && !order.is_lost();
                let mut kept = machine.orders.iter().filter(is_over);
                assert!(kept.all(|order| order.verb().is_none()), "seed {seed}");
            }
        }
        wipes += seen.wipes;
        continued += seen.continued;
    }
    let seen = format!("{wipes} wipes given, {continued} continued, {reported} reported");
    assert!(wipes > 500 && continued > 20 && reported > 50, "too tame: {seen}");
}
