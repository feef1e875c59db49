//! Machines as a backup has them, back into an empty database.

use std::{collections::BTreeMap, sync::Arc};

use protocol::Inventory;
use redb::Database;

use super::{
    Machine,
    store::{Row, Store, StoreError},
};

/// Writes machines into a database, without anything that they were told: an order does not outlive the state that took it.
///
/// `retired` are names that are not given again.
pub fn restore(
    database: Arc<Database>,
    machines: Vec<(Machine, Option<Inventory>)>,
    retired: Vec<(String, i64)>,
) -> Result<(), StoreError> {
    let (store, _) = Store::open(database)?;
    let mut rows: BTreeMap<String, Row> =
        retired.into_iter().map(|(name, at)| (name, Row::Retired(at))).collect();
    for (mut machine, inventory) in machines {
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
    use crate::machine::{Registry, Settings, Told};

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
            ..Machine::default()
        };
        let machines = vec![(machine, Some(Inventory::default()))];
        restore(Arc::clone(&database), machines, vec![("two".to_owned(), 7)]).unwrap();
        let registry = Registry::open(database, Settings::default(), Arc::new(|_| {})).unwrap();
        let restored = registry.show("one").unwrap().machine;
        assert_eq!((restored.told_to_wait, restored.instruction), (None, None));
        assert!(restored.chosen_disks.is_empty() && restored.orders.is_empty());
        assert_eq!(restored.sequence, 3);
        assert_eq!(registry.inventory("one").unwrap(), Some(Inventory::default()));
        assert_eq!(registry.retired(), [("two".to_owned(), 7)]);
        registry.close();
    }
}
