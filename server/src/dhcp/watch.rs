//! Whether authoritative service may go on: safety rule 17 as a value.
//!
//! ```text
//!            another server's offer, link change, other address, resume
//!   serving ────────────────────────────────────────────────────────────► suspended ──┐
//!    │ ▲ ▲                                                                   ▲   │    │ every 30 s,
//!    │ │ │               probe: nobody answers                               │   ▼    │ at once where
//!    │ │ └──────────────────────────────────────────────────────────────── probing ◄──┘ nobody was seen
//!    │ └ 30 s ┐
//!    └───► looking ── another server's offer ──► suspended
//!  a client names another server
//! ```
//!
//! What a client says is no server's word: any machine could stop the service by it. So that server is looked for while
//! service goes on, and only its own answer stops it.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

/// How long after another server was seen it is looked for again.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether service may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// Nothing speaks against it.
    Serving,
    /// A client named another server, which is looked for; until a moment nothing that clients say is heeded again.
    Looking {
        /// That moment.
        until: Instant,
    },
    /// Something happened: not until a probe passes.
    Suspended {
        /// The other server; absent where only the network itself changed.
        server: Option<Ipv4Addr>,
        /// When to probe.
        probe_at: Instant,
    },
    /// A probe is under way.
    Probing {
        /// The other server that was seen before.
        server: Option<Ipv4Addr>,
    },
    /// The interface does not have the server's address.
    Astray,
}

/// Something that bears on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Another server lent, or offered to lend, an address.
    ServerSeen(Ipv4Addr),
    /// A client asked another server for an address that it was offered there.
    ServerNamed(Ipv4Addr),
    /// The cable was pulled or plugged, or the machine slept: the network may be another one.
    NetworkChanged,
    /// The interface lost the server's address.
    AddressLost,
    /// The interface has the server's address again.
    AddressBack,
    /// Time has passed.
    Tick,
    /// A probe ended without an answer.
    ProbePassed,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Nothing,
    /// To probe, and to tell the outcome: [`Event::ServerSeen`] at any time, else [`Event::ProbePassed`].
    Probe,
}

impl Watch {
    /// Takes in what happened.
    #[must_use]
    pub fn step(self, event: Event, now: Instant) -> (Self, Action) {
        let suspended = |server| Self::Suspended { server: Some(server), probe_at: now + PATIENCE };
        match (self, event) {
            (_, Event::AddressLost) => (Self::Astray, Action::Nothing),
            (Self::Astray, Event::AddressBack) => (Self::Probing { server: None }, Action::Probe),
            (Self::Astray, _) | (_, Event::AddressBack) => (self, Action::Nothing),
            (_, Event::ServerSeen(server)) => (suspended(server), Action::Nothing),
            (Self::Serving, Event::ServerNamed(_)) => {
                (Self::Looking { until: now + PATIENCE }, Action::Probe)
            }
            (Self::Looking { until }, Event::Tick) if now >= until => {
                (Self::Serving, Action::Nothing)
            }
            (Self::Serving | Self::Looking { .. }, Event::NetworkChanged) => {
                (Self::Probing { server: None }, Action::Probe)
            }
            // The probe that runs may have run on the old network: one more.
            (Self::Probing { server } | Self::Suspended { server, .. }, Event::NetworkChanged) => {
                (Self::Suspended { server, probe_at: now }, Action::Nothing)
            }
            (Self::Suspended { server, probe_at }, Event::Tick) if now >= probe_at => {
                (Self::Probing { server }, Action::Probe)
            }
            (Self::Probing { .. }, Event::ProbePassed) => (Self::Serving, Action::Nothing),
            (_, Event::Tick | Event::ProbePassed | Event::ServerNamed(_)) => {
                (self, Action::Nothing)
            }
        }
    }

    /// The server that stands in the way; unspecified (0.0.0.0) where it is only not yet clear that there is none.
    /// Absent while service goes on.
    pub fn obstacle(self) -> Option<Ipv4Addr> {
        match self {
            Self::Serving | Self::Looking { .. } => None,
            Self::Suspended { server, .. } | Self::Probing { server } => {
                Some(server.unwrap_or(Ipv4Addr::UNSPECIFIED))
            }
            Self::Astray => Some(Ipv4Addr::UNSPECIFIED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 9);

    /// Plays events, each so many seconds after the start, and returns the last state and all actions.
    fn play(events: &[(u64, Event)]) -> (Watch, Vec<Action>) {
        let start = Instant::now();
        let mut watch = Watch::Serving;
        let mut actions = Vec::new();
        for (seconds, event) in events {
            let (next, action) = watch.step(*event, start + Duration::from_secs(*seconds));
            watch = next;
            actions.push(action);
        }
        (watch, actions)
    }

    #[test]
    fn another_server_suspends_until_a_probe_passes() {
        let (watch, _) = play(&[(0, Event::ServerSeen(OTHER)), (29, Event::Tick)]);
        assert_eq!(watch.obstacle(), Some(OTHER));
        let (watch, actions) =
            play(&[(0, Event::ServerSeen(OTHER)), (30, Event::Tick), (35, Event::ProbePassed)]);
        assert_eq!(watch, Watch::Serving);
        assert_eq!(actions, [Action::Nothing, Action::Probe, Action::Nothing]);
    }

    #[test]
    fn a_probe_that_finds_a_server_suspends_again() {
        let (watch, _) = play(&[
            (0, Event::ServerSeen(OTHER)),
            (30, Event::Tick),
            (31, Event::ServerSeen(OTHER)),
            (35, Event::ProbePassed),
        ]);
        assert_eq!(watch.obstacle(), Some(OTHER));
    }

    #[test]
    fn a_client_that_names_a_server_has_it_looked_for_and_stops_nothing() {
        let named = Event::ServerNamed(OTHER);
        let (watch, actions) = play(&[(0, named), (1, named), (5, Event::ProbePassed), (6, named)]);
        assert_eq!(watch.obstacle(), None);
        let nothing = Action::Nothing;
        assert_eq!(actions, [Action::Probe, nothing, nothing, nothing], "once in 30 s");
        let later = [(0, named), (5, Event::ProbePassed), (30, Event::Tick), (31, named)];
        assert_eq!(play(&later).1[3], Action::Probe);
        let (watch, _) = play(&[(0, named), (1, Event::ServerSeen(OTHER))]);
        assert_eq!(watch.obstacle(), Some(OTHER));
        let (watch, actions) = play(&[(0, named), (1, Event::NetworkChanged)]);
        assert_eq!(watch, Watch::Probing { server: None });
        assert_eq!(actions[1], Action::Probe);
    }

    #[test]
    fn what_a_client_says_shortens_no_suspension() {
        let (watch, actions) =
            play(&[(0, Event::ServerSeen(OTHER)), (1, Event::ServerNamed(OTHER))]);
        assert_eq!(watch.obstacle(), Some(OTHER));
        assert_eq!(actions[1], Action::Nothing);
    }

    #[test]
    fn a_changed_network_is_probed_at_once() {
        let (watch, actions) = play(&[(0, Event::NetworkChanged)]);
        assert_eq!(watch.obstacle(), Some(Ipv4Addr::UNSPECIFIED));
        assert_eq!(actions, [Action::Probe]);
    }

    #[test]
    fn a_change_during_a_probe_asks_for_another() {
        let (watch, actions) = play(&[
            (0, Event::NetworkChanged),
            (1, Event::NetworkChanged),
            (5, Event::ProbePassed),
            (5, Event::Tick),
        ]);
        assert_eq!(watch, Watch::Probing { server: None });
        assert_eq!(actions, [Action::Probe, Action::Nothing, Action::Nothing, Action::Probe]);
    }

    #[test]
    fn without_the_address_nothing_is_served_or_probed() {
        let (watch, actions) = play(&[
            (0, Event::AddressLost),
            (1, Event::NetworkChanged),
            (40, Event::Tick),
            (41, Event::ProbePassed),
        ]);
        assert_eq!(watch, Watch::Astray);
        assert!(actions.iter().all(|action| *action == Action::Nothing));
        let (watch, actions) =
            play(&[(0, Event::AddressLost), (1, Event::AddressBack), (5, Event::ProbePassed)]);
        assert_eq!(watch, Watch::Serving);
        assert_eq!(actions[1], Action::Probe);
    }
}
