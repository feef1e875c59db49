//! The machine that runs the tests, whatever it is.

use inventory::Root;

#[test]
fn this_machine_is_described() {
    let root = Root::live();
    assert!(root.is_live());
    let inventory = inventory::collect(&root);
    assert_eq!(inventory.architecture.as_deref(), Some(std::env::consts::ARCH));
    assert!(inventory.memory.usable_bytes.is_some());
    assert!(!inventory.processors.is_empty());
    let text = serde_json::to_string(&inventory).unwrap();
    assert_eq!(serde_json::from_str::<protocol::Inventory>(&text).unwrap(), inventory);
    assert!(inventory::table(&inventory).starts_with("machine\n"));
    for disk in &inventory.disks {
        let is_told = disk.content.is_some()
            || inventory.gaps.iter().any(|gap| gap.what == format!("disks/{}/content", disk.name));
        assert!(is_told, "{disk:?}");
    }
}
