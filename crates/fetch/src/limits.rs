//! How long somebody else's server is waited for.

use std::time::Duration;

/// How long somebody else's server is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For a connection to one address.
    pub connect: Duration,
    /// From then on until the head of the answer is there, TLS included.
    pub answer: Duration,
    /// Within this time [`Limits::least_bytes`] have to arrive. Time in which nobody reads does not count.
    pub window: Duration,
    /// What has to arrive within the window.
    pub least_bytes: u64,
    /// How long an image is looked for that no server gives at the moment.
    pub patience: Duration,
}

impl Default for Limits {
    /// Returns those for a network: a server whose disk wakes up takes ten seconds.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            window: Duration::from_secs(30),
            least_bytes: 32 << 10,
            patience: Duration::from_mins(1),
        }
    }
}
