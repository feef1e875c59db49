//! Machines as a backup has them, back into an empty database.

use std::{collections::BTreeMap, sync::Arc};

use protocol::Inventory;
use redb::Database;

use super::{
    Machine,
    store::{Retired, Row, Store, StoreError},
    wipe::{LeftPassword, password},
};

/// Writes machines into a database, without anything that they were told: an order does not outlive the state that took it.
///
/// `retired` are names that are not given again, `passwords` what wipes left on disks of machines that had those.
pub fn restore(
    database: Arc<Database>,
    machines: Vec<(Machine, Option<Inventory>)>,
    retired: Vec<(String, i64)>,
    passwords: Vec<LeftPassword>,
) -> Result<(), StoreError> {
    let (store, _) = Store::open(database)?;
    let mut kept: BTreeMap<String, Retired> = retired
        .into_iter()
        .map(|(name, at)| (name, Retired { at, ..Retired::default() }))
        .collect();
    for left in passwords {
        kept.entry(left.machine.clone()).or_default().passwords.push(left);
    }
    let mut rows: BTreeMap<String, Row> =
        kept.into_iter().map(|(name, kept)| (name, Row::Retired(kept))).collect();
    for (mut machine, inventory) in machines {
        let journaled = password::journaled(&machine);
        machine.passwords.extend(journaled);
        machine.forget_orders();
        // Its agent announces itself again, and so learns from which number on to listen.
        machine.session = None;
        machine.replaced.clear();
        let json = serde_json::to_vec(&machine).expect("a machine's keys are texts");
        let inventory = inventory.map(|inventory| {
            serde_json::to_vec(&inventory).expect("an inventory's keys are texts").into()
        });
        rows.insert(machine.name, Row::Machine { json, inventory });
    }
    store.write(&rows).map(drop)
}

#[cfg(test)]
mod tests {
    use protocol::{Instruction, Verb};

    use super::*;
    use crate::machine::{Registry, Settings, Told, store::tests::left};

    #[test]
    fn what_is_restored_is_there_without_its_orders() {
        let directory = tempfile::tempdir().unwrap();
        let database = Arc::new(Database::create(directory.path().join("drydock.redb")).unwrap());
        let machine = Machine {
            name: "one".to_owned(),
            told_to_wait: Some(Told { by: "uid 0".to_owned(), at: 1 }),
            chosen_disks: vec!["wwn:5002538e40a1b2c3".to_owned()],
            instruction: Some(Instruction { sequence: 3, verb: Verb::Reboot {} }),
            sequence: 3,
            orders: vec![crate::machine::disk_order::tests::order(1)],
            passwords: vec![left("one")],
            ..Machine::default()
        };
        let machines = vec![(machine, Some(Inventory::default()))];
        let retired = vec![("two".to_owned(), 7)];
        restore(Arc::clone(&database), machines, retired, vec![left("two")]).unwrap();
        let registry = Registry::open(database, Settings::default(), Arc::new(|_| {})).unwrap();
        let restored = registry.show("one").unwrap().machine;
        assert_eq!((restored.told_to_wait, restored.instruction), (None, None));
        assert!(restored.chosen_disks.is_empty() && restored.orders.is_empty());
        assert_eq!(restored.sequence, 3);
        assert_eq!(registry.inventory("one").unwrap(), Some(Inventory::default()));
        assert_eq!(registry.retired(), [("two".to_owned(), 7)]);
        assert_eq!(registry.left_passwords(), [left("one"), left("two")]);
        registry.close();
    }
}
