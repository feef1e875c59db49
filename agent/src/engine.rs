//! What drives tasks.

use std::io;

use tokio::runtime::{Builder, Runtime};

/// A runtime on one thread whose end waits for nobody: a thread that a dead disk holds up in the kernel
/// must not keep the machine from its restart.
#[derive(Debug)]
pub(crate) struct Engine(Option<Runtime>);

impl Engine {
    /// Starts, with clocks and sockets.
    pub(crate) fn start() -> io::Result<Self> {
        Builder::new_current_thread().enable_all().build().map(|runtime| Self(Some(runtime)))
    }

    /// Drives a task to its end.
    pub(crate) fn block_on<T>(&self, task: impl Future<Output = T>) -> T {
        self.0.as_ref().expect("only the end takes the runtime").block_on(task)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // The runtime's own end would wait for every thread that `spawn_blocking` started.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread, time::Duration};

    use super::*;

    #[test]
    fn a_thread_that_hangs_does_not_hold_up_the_end() {
        let (release, held) = mpsc::channel::<()>();
        let (tell, ended) = mpsc::channel();
        thread::spawn(move || {
            let engine = Engine::start().unwrap();
            engine.block_on(async {
                tokio::task::spawn_blocking(move || held.recv());
            });
            drop(engine);
            tell.send(()).unwrap();
        });
        assert_eq!(ended.recv_timeout(Duration::from_secs(9)), Ok(()));
        drop(release);
    }
}
