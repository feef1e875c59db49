//! An inventory as a person reads it.

use protocol::Inventory;

/// Shows an inventory as text for a terminal, one line per thing, without colours.
pub fn table(inventory: &Inventory) -> String {
    format!("{inventory:#?}\n")
}
