//! One question to many things, with all processors.

use std::{num::NonZero, panic, thread};

use anyhow::Result;

/// Asks of each, and returns the answers in the order of the things; the first error where there is one.
pub(crate) fn each<T: Sync, A: Send>(
    things: &[T],
    ask: impl Fn(&T) -> Result<A> + Sync,
) -> Result<Vec<A>> {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let share = things.len().div_ceil(processors).max(1);
    let answers: Vec<Result<Vec<A>>> = thread::scope(|scope| {
        let ask = &ask;
        let threads: Vec<_> = things
            .chunks(share)
            .map(|things| scope.spawn(move || things.iter().map(ask).collect()))
            .collect();
        let joined = threads.into_iter().map(thread::ScopedJoinHandle::join);
        joined.map(|answers| answers.unwrap_or_else(|panic| panic::resume_unwind(panic))).collect()
    });
    let answers: Vec<Vec<A>> = answers.into_iter().collect::<Result<_>>()?;
    Ok(answers.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use anyhow::ensure;

    use super::*;

    #[test]
    fn answers_come_in_the_order_of_the_questions_and_an_error_is_one() {
        let numbers: Vec<u32> = (0..100).collect();
        assert_eq!(each(&numbers, |number| Ok(number * 2)).unwrap()[99], 198);
        let refuse = |number: &u32| {
            ensure!(*number != 70, "seventy");
            Ok(())
        };
        assert_eq!(each(&numbers, refuse).unwrap_err().to_string(), "seventy");
        assert!(each(&[], refuse).unwrap().is_empty());
    }
}
