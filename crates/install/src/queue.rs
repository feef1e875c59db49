//! What stands between two stages: a few things, the one with the lowest key first, and a measure of who waits.

use std::{
    collections::BTreeMap,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A bounded queue of many producers and many consumers. It also serves as a store of buffers that go round.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    limit: usize,
}

#[derive(Debug)]
struct State<T> {
    things: BTreeMap<u64, T>,
    /// Those that may still push.
    producers: usize,
    aborted: bool,
    waiting: Waiting,
}

/// How long consumers have waited for things.
#[derive(Debug)]
struct Waiting {
    now: u32,
    since: Instant,
    before: Duration,
}

impl Waiting {
    /// Returns how long all of them together have waited until now.
    fn total(&self) -> Duration {
        self.before + self.since.elapsed() * self.now
    }

    /// Says how many wait from now on.
    fn change(&mut self, by: impl Fn(u32) -> u32) {
        (self.before, self.since) = (self.total(), Instant::now());
        self.now = by(self.now);
    }
}

/// What [`Queue::try_pop`] found.
#[derive(Debug)]
pub(crate) enum Popped<T> {
    Thing(T),
    /// Nothing yet.
    Empty,
    /// Nothing any more.
    Over,
}

/// Says that the work is over before its end.
#[derive(Debug)]
pub(crate) struct Aborted;

impl<T> Queue<T> {
    /// Returns one for at most `limit` things, that ends once so many producers have said that they are done.
    pub(crate) fn new(limit: usize, producers: usize) -> Self {
        let waiting = Waiting { now: 0, since: Instant::now(), before: Duration::ZERO };
        let state = State { things: BTreeMap::new(), producers, aborted: false, waiting };
        Self { state: Mutex::new(state), changed: Condvar::new(), limit }
    }

    /// Returns a store of things that never ends by itself.
    pub(crate) fn store(things: impl IntoIterator<Item = T>) -> Self {
        let things: BTreeMap<u64, T> = (0..).zip(things).collect();
        let queue = Self::new(things.len(), 1);
        queue.state().things = things;
        queue
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a thing in, when there is room. Keys are unique.
    pub(crate) fn push(&self, key: u64, thing: T) -> Result<(), Aborted> {
        let mut state = self.state();
        while state.things.len() >= self.limit && !state.aborted {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.aborted {
            return Err(Aborted);
        }
        state.things.insert(key, thing);
        self.changed.notify_all();
        Ok(())
    }

    /// Puts a thing back into a store, under any key.
    pub(crate) fn give_back(&self, thing: T) {
        let mut state = self.state();
        let key = state.things.last_key_value().map_or(0, |(key, _)| key.wrapping_add(1));
        state.things.insert(key, thing);
        self.changed.notify_all();
    }

    /// Takes the thing with the lowest key, when there is one; `None` once all producers are done.
    pub(crate) fn pop(&self) -> Result<Option<T>, Aborted> {
        let mut state = self.state();
        let is_idle =
            |state: &State<T>| state.things.is_empty() && state.producers > 0 && !state.aborted;
        if is_idle(&state) {
            state.waiting.change(|waiting| waiting + 1);
            while is_idle(&state) {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.waiting.change(|waiting| waiting.saturating_sub(1));
        }
        if state.aborted {
            return Err(Aborted);
        }
        let thing = state.things.pop_first().map(|(_, thing)| thing);
        self.changed.notify_all();
        Ok(thing)
    }

    /// Takes the thing with the lowest key, or says why there is none.
    pub(crate) fn try_pop(&self) -> Result<Popped<T>, Aborted> {
        let mut state = self.state();
        if state.aborted {
            return Err(Aborted);
        }
        let popped = match state.things.pop_first() {
            Some((_, thing)) => Popped::Thing(thing),
            None if state.producers > 0 => Popped::Empty,
            None => Popped::Over,
        };
        self.changed.notify_all();
        Ok(popped)
    }

    /// Says that one producer pushes no more.
    pub(crate) fn done(&self) {
        let mut state = self.state();
        state.producers = state.producers.saturating_sub(1);
        self.changed.notify_all();
    }

    /// Ends everything at once.
    pub(crate) fn abort(&self) {
        self.state().aborted = true;
        self.changed.notify_all();
    }

    /// Returns how long all consumers together have waited for things.
    pub(crate) fn waited(&self) -> Duration {
        self.state().waiting.total()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn the_lowest_key_comes_first_and_the_end_after_the_last_producer() {
        let queue = Queue::new(8, 2);
        for key in [5, 3, 9] {
            queue.push(key, key).unwrap();
        }
        queue.done();
        assert_eq!(queue.pop().unwrap(), Some(3));
        assert!(matches!(queue.try_pop().unwrap(), Popped::Thing(5)));
        assert_eq!(queue.pop().unwrap(), Some(9));
        assert!(matches!(queue.try_pop().unwrap(), Popped::Empty));
        queue.done();
        assert!(matches!(queue.try_pop().unwrap(), Popped::Over));
        assert_eq!(queue.pop().unwrap(), None);
    }

    #[test]
    fn who_waits_is_woken_by_an_abort() {
        let full = Queue::new(1, 1);
        full.push(0, ()).unwrap();
        let empty = Queue::<()>::new(1, 1);
        thread::scope(|scope| {
            let pusher = scope.spawn(|| full.push(1, ()).is_err());
            let popper = scope.spawn(|| empty.pop().is_err());
            full.abort();
            empty.abort();
            assert!(pusher.join().unwrap() && popper.join().unwrap());
        });
    }
}
