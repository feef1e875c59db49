//! How often a machine is told to restart into the system that carries out its order.

use serde::{Deserialize, Serialize};

use super::{DiskOrder, Session};

/// So often a machine that waits in the other system is told to restart, for one order.
const RESTARTS: u32 = 3;

/// How often a machine was told to restart into the system that its order is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Restarts {
    /// How many boots were.
    pub count: u32,
    /// The last of them.
    pub last: Session,
}

impl DiskOrder {
    /// Notes that a boot of the other system is told to restart for it. False where that was told in vain often enough.
    pub(in crate::machine) fn may_restart(&mut self, session: Session) -> bool {
        let count = match self.restarts {
            Some(Restarts { last, .. }) if last == session => return true,
            Some(Restarts { count, .. }) => count,
            None => 0,
        };
        if count >= RESTARTS {
            return false;
        }
        self.restarts = Some(Restarts { count: count + 1, last: session });
        true
    }
}
