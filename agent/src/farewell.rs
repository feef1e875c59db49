//! The end of PID 1 that nobody wanted: said to the server, shown on the console, and the machine restarts.
//!
//! PID 1 never ends by itself: the kernel would panic, and nobody would know why.

use std::{
    panic,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use inventory::guard;
use protocol::{EventKind, Level};
use tokio::{sync::Notify, time::timeout};
use tracing::{error, info};

use crate::{console, engine::Engine, session::Session, signals::Signals};

/// How much of the kernel's log goes with a failure.
const KERNEL_LOG_LIMIT: usize = 16 << 10;

/// How long a person at the console has to read what happened.
const COUNTDOWN: Duration = Duration::from_secs(30);

/// How often the countdown is shown.
const STEP: Duration = Duration::from_secs(5);

static FAILURE: Mutex<Option<String>> = Mutex::new(None);
static FAILED: Notify = Notify::const_new();

/// Has every panic, in any thread, end in the farewell, except where somebody waits for what came of it: that of a
/// probe is a gap in the inventory, that of an install a failed order.
/// To be called once.
pub fn catch_panics() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(|place| format!(" at {place}")).unwrap_or_default();
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed").to_owned();
        let reason = format!("panic in thread {name}{place}: {}", guard::words(info.payload()));
        console::say(tracing::Level::ERROR, &reason);
        if guard::is_on() {
            return;
        }
        let mut failure = FAILURE.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(reason);
        FAILED.notify_one();
    }));
}

/// Waits until something fails in another thread or task, and returns what happened.
pub async fn failure() -> String {
    loop {
        FAILED.notified().await;
        if let Some(reason) = last_failure() {
            return reason;
        }
    }
}

/// Returns what failed first.
pub fn last_failure() -> Option<String> {
    FAILURE.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Tells the server and the console what happened, and counts down. Afterwards the machine is to restart.
pub fn perform(session: Option<&Session>, reason: &str) {
    error!(reason, "this system cannot go on");
    match Engine::start() {
        Ok(engine) => engine.block_on(async {
            if let Some(session) = session {
                report(session, reason).await;
            }
            count_down().await;
        }),
        // Without a runtime nobody can be told: then only the console.
        Err(error) => {
            error!(%error, "no farewell to the server");
            std::thread::park_timeout(COUNTDOWN);
        }
    }
}

async fn report(session: &Session, reason: &str) {
    let kernel_log = linux::kernel_log::tail(KERNEL_LOG_LIMIT).unwrap_or_else(|error| {
        error!(%error, "the kernel's log cannot be read");
        String::new()
    });
    let kind = EventKind::Failed { reason: reason.to_owned(), kernel_log };
    session.say_last(Level::Error, kind).await;
}

async fn count_down() {
    let mut signals = Signals::open().ok();
    let mut left = COUNTDOWN;
    while !left.is_zero() {
        info!("restarting in {} seconds; Ctrl-Alt-Del restarts at once", left.as_secs());
        let hurried = async {
            match &mut signals {
                Some(signals) => signals.next().await,
                None => std::future::pending().await,
            }
        };
        if timeout(STEP, hurried).await.is_ok() {
            return;
        }
        left = left.saturating_sub(STEP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_any_thread_but_a_probe_is_a_failure_with_its_place() {
        catch_panics();
        assert_eq!(guard::run(|| panic!("a probe that is only a gap")), None::<()>);
        assert_eq!(last_failure(), None);
        let thread = std::thread::Builder::new().name("victim".to_owned());
        let ended = thread.spawn(|| panic!("a probe lost its mind")).unwrap().join();
        let words = guard::words(ended.unwrap_err().as_ref()).to_owned();
        assert_eq!(words, "a probe lost its mind");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let reason = runtime.block_on(failure());
        assert!(reason.contains("victim") && reason.contains("farewell.rs"), "{reason}");
        let _hook = panic::take_hook();
    }
}
