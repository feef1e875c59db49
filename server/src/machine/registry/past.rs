//! A state directory that went back in time where it is: its open orders may have been carried out already.

use std::sync::Arc;

use super::{Fleet, StoreError, Teller, Witness, end_orders, store::Store};
use crate::{machine::fleet::WENT_BACK, text::chain};

/// What tells a state directory from an earlier state of itself.
#[derive(Debug, Clone)]
pub struct Past {
    /// Where is noted how far it has come.
    pub witness: Arc<Witness>,
    /// The boot of the host. With another one the witness has nothing to say, and that is as it should be.
    pub boot: String,
}

/// Ends every order where the database has come less far than its witness saw (SAFETY.md 12); says where nobody can tell.
pub(super) fn void_orders(
    fleet: &mut Fleet,
    store: &Store,
    Past { witness, boot }: &Past,
    tell: &Teller,
) -> Result<(), StoreError> {
    let stored = store.generation()?;
    let is_same_boot = store.boot()?.is_some_and(|before| before == *boot);
    let seen = witness.read();
    let least = seen.as_ref().ok().copied().flatten().unwrap_or_default();
    let open = fleet.machines().filter(|machine| machine.open_order().is_some()).count();
    if least > stored {
        tracing::warn!(
            stored,
            seen = least,
            ended_orders = open,
            "the state directory went back in time: its open orders are ended, and what was decided since is forgotten, \
             approvals taken back included"
        );
        end_orders(fleet, store, WENT_BACK, tell)?;
    } else if open > 0 && !matches!(seen, Ok(Some(_))) {
        let path = witness.path().display();
        let problem = seen.err().map(|error| chain(&error));
        let advice = "if the state directory was taken back to an earlier state, cancel its open orders: drydock orders";
        if is_same_boot {
            tracing::warn!(open, %path, problem, "what was noted of the state directory is gone: {advice}");
        } else {
            tracing::info!(open, "this host was restarted: {advice}");
        }
    }
    // After that: a crash in between ends them again.
    note(witness, store.opened(boot, least)?);
    Ok(())
}

/// Notes how far the database has come.
pub(super) fn note(witness: &Witness, generation: u64) {
    if let Err(error) = witness.note(generation) {
        let path = witness.path().display();
        tracing::warn!(%path, %error, "cannot note how far the state directory is: it is not noticed if it goes back");
    }
}
