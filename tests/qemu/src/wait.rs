//! Waiting for conditions, never for time to pass.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::interrupt;

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(200);

/// Looks until something is found; fails when the limit is over, when looking fails, or when the user interrupts.
pub(crate) fn until<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look().with_context(|| format!("waiting for {what}"))? {
            return Ok(found);
        }
        interrupt::check()?;
        if start.elapsed() > limit {
            bail!("waited {} s in vain for {what}", limit.as_secs());
        }
        thread::sleep(INTERVAL);
    }
}

/// Looks for the whole time given, and fails as soon as something is found: for what must not happen.
pub(crate) fn never(
    what: &str,
    time: Duration,
    mut look: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < time {
        if look().with_context(|| format!("making sure that never: {what}"))? {
            bail!("after {:.1} s: {what}", start.elapsed().as_secs_f32());
        }
        interrupt::check()?;
        thread::sleep(INTERVAL);
    }
    Ok(())
}
