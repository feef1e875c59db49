//! What happened and waits until the server has taken it.

use protocol::{Event, EventKind};

/// The most events that wait for the server. Then the oldest are lost, links that come and go before all others:
/// what came of an order is not pushed out by a loose cable.
const LIMIT: usize = 64;

/// Stands for one event: whether the server has it can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The server has not answered yet.
    Waits,
    /// The server took it.
    Told,
    /// The server refused it, or there was no room for it.
    Lost,
}

/// Events in the order in which they happened.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: Vec<(Ticket, Event)>,
    /// The last ones that were lost.
    lost: Vec<Ticket>,
    next: u64,
}

impl Outbox {
    /// Keeps an event; drops another one where that is one too many.
    pub(super) fn put(&mut self, event: Event) -> Ticket {
        if self.waiting.len() >= LIMIT {
            let mut kinds = self.waiting.iter().map(|(_, event)| &event.kind);
            let link = kinds.position(|kind| matches!(kind, EventKind::Link { .. }));
            let (ticket, _) = self.waiting.remove(link.unwrap_or(0));
            self.lose(ticket);
        }
        let ticket = Ticket(self.next);
        self.next += 1;
        self.waiting.push((ticket, event));
        ticket
    }

    /// Returns what waits.
    pub(super) fn waiting(&self) -> Vec<(Ticket, Event)> {
        self.waiting.clone()
    }

    /// The server has answered: it took an event, or refused it for good.
    pub(super) fn settle(&mut self, ticket: Ticket, fate: Fate) {
        self.waiting.retain(|(waiting, _)| *waiting != ticket);
        if fate == Fate::Lost {
            self.lose(ticket);
        }
    }

    /// Says what became of an event.
    pub(super) fn fate(&self, ticket: Ticket) -> Fate {
        match () {
            () if self.waiting.iter().any(|(waiting, _)| *waiting == ticket) => Fate::Waits,
            () if self.lost.contains(&ticket) => Fate::Lost,
            () => Fate::Told,
        }
    }

    fn lose(&mut self, ticket: Ticket) {
        if self.lost.len() >= LIMIT {
            self.lost.remove(0);
        }
        self.lost.push(ticket);
    }
}

#[cfg(test)]
mod tests {
    use protocol::Level;

    use super::*;

    fn event(kind: EventKind) -> Event {
        Event { uptime_milliseconds: 1, level: Level::Info, kind }
    }

    #[test]
    fn a_loose_cable_pushes_out_no_outcome() {
        let mut events = Outbox::default();
        let outcome = events.put(event(EventKind::Obeys { sequence: 1 }));
        for number in 0..1000 {
            events.put(event(EventKind::Link { port: "eth0".to_owned(), up: number % 2 == 0 }));
        }
        assert_eq!(events.waiting().len(), LIMIT);
        assert_eq!(events.waiting()[0].0, outcome);
        assert_eq!(events.fate(outcome), Fate::Waits);
    }

    #[test]
    fn many_outcomes_push_out_the_oldest_and_it_is_not_told() {
        let mut events = Outbox::default();
        let tickets: Vec<Ticket> =
            (0..100).map(|sequence| events.put(event(EventKind::Obeys { sequence }))).collect();
        assert_eq!(events.waiting().len(), LIMIT);
        assert_eq!(events.waiting()[0].1.kind, EventKind::Obeys { sequence: 36 });
        assert_eq!(events.fate(tickets[35]), Fate::Lost);
        assert_eq!(events.fate(tickets[36]), Fate::Waits);
    }

    #[test]
    fn what_the_server_took_is_told_and_what_it_refused_is_lost() {
        let mut events = Outbox::default();
        let [first, second] =
            [1, 2].map(|sequence| events.put(event(EventKind::Obeys { sequence })));
        events.settle(first, Fate::Told);
        events.settle(second, Fate::Lost);
        assert_eq!([first, second].map(|one| events.fate(one)), [Fate::Told, Fate::Lost]);
        assert!(events.waiting().is_empty());
    }
}
