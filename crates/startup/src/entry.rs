//! UEFI boot entries: what has to be written so that the firmware starts a disk (UEFI 2.10 §3.1).
//!
//! Pure: variables come in as bytes, and what is to be written goes out as bytes.
//!
//! ```
//! use startup::entry::{Entry, HardDrive, Identity, Variables, path};
//!
//! let identity = Identity::Guid([7; 16]);
//! let drive = HardDrive { partition: 1, first_sector: 2048, sectors: 8192, identity };
//! let path = path::to_file(&drive, r"\EFI\BOOT\BOOTX64.EFI")?;
//! let entry = Entry { label: "Debian".to_owned(), path, next: false, gone: Vec::new() };
//! let plan = Variables::default().plan(&entry)?;
//! assert_eq!((plan.number, plan.order), (0, Some(vec![0])));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod option;
pub mod path;

use std::collections::BTreeMap;

pub use self::{
    option::{LoadOption, OptionError},
    path::{HardDrive, Identity},
};

/// The boot variables of a machine's firmware.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Variables {
    /// `Boot####` by number: the content, or nothing where it cannot be read.
    pub options: BTreeMap<u16, Option<Vec<u8>>>,
    /// `BootOrder`.
    pub order: Vec<u16>,
    /// `BootNext`.
    pub next: Option<u16>,
}

/// An entry that is to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What the firmware's menu shows.
    pub label: String,
    /// Where the loader lies: [`path::to_file`].
    pub path: Vec<u8>,
    /// Whether the machine's next start is from it, once, whatever the order says.
    pub next: bool,
    /// Partitions that its disk had before and has no more: entries for the same file on them start nothing.
    pub gone: Vec<HardDrive>,
}

/// What has to be written, in this order. What is nothing is there already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The entry's number.
    pub number: u16,
    /// The content of its `Boot####`.
    pub option: Option<Vec<u8>>,
    /// `BootOrder`.
    pub order: Option<Vec<u16>>,
    /// `BootNext`.
    pub next: Option<u16>,
}

/// Says why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The entry cannot be written down.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// There are 65,536 entries.
    #[error("every number of a boot entry is taken")]
    NoNumber,
}

impl Plan {
    /// Holds when everything is as it should be.
    pub fn is_done(&self) -> bool {
        self.option.is_none() && self.order.is_none() && self.next.is_none()
    }
}

impl Variables {
    /// Says what has to be written for an entry.
    ///
    /// An entry for the same loader is taken over instead of making a second one, also where its partition was one of
    /// this disk that is gone. In the order the entry comes before
    /// all others, except those that start from the network and stand at the front: a machine that asked the network
    /// first does so afterwards, and one that did not, does not. All others stay, in their order.
    pub fn plan(&self, entry: &Entry) -> Result<Plan, PlanError> {
        let wanted = LoadOption::new(&entry.label, entry.path.clone())?;
        let same = self.same_loader(&wanted).or_else(|| self.replaced(&wanted, &entry.gone));
        let number = match same {
            Some(number) => number,
            None => self.free_number().ok_or(PlanError::NoNumber)?,
        };
        let option = (self.option(number).as_ref() != Some(&wanted)).then(|| wanted.to_bytes());
        let order = self.order_with(number);
        Ok(Plan {
            number,
            option,
            order: (order != self.order).then_some(order),
            next: (entry.next && self.next != Some(number)).then_some(number),
        })
    }

    /// Returns the entries that lead through a partition which is not among these: they start nothing. Entries that lead
    /// through none, or cannot be read, are no such ones.
    pub fn stale(&self, present: &[Identity]) -> Vec<u16> {
        let is_stale = |number: &u16| {
            let partition = self.option(*number).and_then(|found| path::partition(&found.path));
            partition.is_some_and(|partition| !present.contains(&partition))
        };
        self.options.keys().copied().filter(is_stale).collect()
    }

    /// Returns what the firmware's menu shows for an entry; nothing where that cannot be read.
    pub fn label(&self, number: u16) -> Option<String> {
        self.option(number).map(|option| option.label)
    }

    fn option(&self, number: u16) -> Option<LoadOption> {
        LoadOption::parse(self.options.get(&number)?.as_deref()?)
    }

    /// Finds an entry that differs at most in what people see of it.
    fn same_loader(&self, wanted: &LoadOption) -> Option<u16> {
        let same = |number: &u16| {
            self.option(*number)
                .is_some_and(|found| found.path == wanted.path && found.data == wanted.data)
        };
        self.options.keys().copied().find(same)
    }

    /// Finds an entry for the same file on a partition that is gone.
    fn replaced(&self, wanted: &LoadOption, gone: &[HardDrive]) -> Option<u16> {
        let is_stale = |number: &u16| {
            self.option(*number).is_some_and(|found| {
                path::is_same_file(&found.path, &wanted.path, gone) && found.data == wanted.data
            })
        };
        self.options.keys().copied().find(is_stale)
    }

    /// Returns a number that neither a variable nor the order uses.
    fn free_number(&self) -> Option<u16> {
        (0..=u16::MAX)
            .find(|number| !self.options.contains_key(number) && !self.order.contains(number))
    }

    fn order_with(&self, number: u16) -> Vec<u16> {
        let mut order: Vec<u16> =
            self.order.iter().copied().filter(|other| *other != number).collect();
        let mut place = 0;
        for (index, other) in order.iter().enumerate() {
            // What the firmware passes over by itself says nothing of what comes first.
            let Some(option) = self.option(*other).filter(LoadOption::starts_by_itself) else {
                continue;
            };
            if !path::is_network(&option.path) {
                break;
            }
            place = index + 1;
        }
        order.insert(place, number);
        order
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(label: &str, next: bool) -> Entry {
        let identity = Identity::Guid([7; 16]);
        let drive = HardDrive { partition: 1, first_sector: 2048, sectors: 8192, identity };
        let path = path::to_file(&drive, r"\EFI\BOOT\BOOTX64.EFI").unwrap();
        Entry { label: label.to_owned(), path, next, gone: Vec::new() }
    }

    fn option(attributes: u32, path: Vec<u8>) -> Vec<u8> {
        LoadOption { attributes, label: "x".to_owned(), path, data: Vec::new() }.to_bytes()
    }

    fn network() -> Vec<u8> {
        option(1, vec![3, 12, 4, 0, 0x7f, 0xff, 4, 0])
    }

    fn disk() -> Vec<u8> {
        option(1, vec![4, 1, 4, 0, 0x7f, 0xff, 4, 0])
    }

    fn menu() -> Vec<u8> {
        option(0x101, vec![4, 6, 4, 0, 0x7f, 0xff, 4, 0])
    }

    fn apply(variables: &mut Variables, plan: &Plan) {
        if let Some(option) = &plan.option {
            variables.options.insert(plan.number, Some(option.clone()));
        }
        if let Some(order) = &plan.order {
            variables.order.clone_from(order);
        }
        variables.next = plan.next.or(variables.next);
    }

    fn check(options: &[Vec<u8>], expected: &[u16]) {
        let numbered = (0..).zip(options.iter().cloned().map(Some));
        let order: Vec<u16> = (0..).take(options.len()).collect();
        let variables = Variables { options: numbered.collect(), order, next: None };
        let plan = variables.plan(&entry("Debian", false)).unwrap();
        assert_eq!(plan.order.as_deref(), Some(expected));
    }

    #[test]
    fn a_machine_that_asks_the_network_first_still_does() {
        check(&[network(), network(), disk(), network()], &[0, 1, 4, 2, 3]);
        check(&[menu(), network(), disk()], &[0, 1, 3, 2]);
    }

    #[test]
    fn a_machine_that_starts_its_disk_first_still_does() {
        check(&[disk(), network()], &[2, 0, 1]);
        check(&[menu(), disk(), network()], &[3, 0, 1, 2]);
        check(&[], &[0]);
    }

    #[test]
    fn what_cannot_be_read_or_does_not_exist_stays_in_the_order() {
        check(&[Vec::new(), disk()], &[2, 0, 1]);
        let order = vec![9, 3];
        let variables = Variables { order, ..Variables::default() };
        let plan = variables.plan(&entry("Debian", true)).unwrap();
        assert_eq!((plan.order, plan.next), (Some(vec![0, 9, 3]), Some(0)));
    }

    #[test]
    fn only_entries_for_partitions_that_are_gone_are_stale() {
        let named = |identity| {
            let drive = HardDrive { partition: 1, first_sector: 2048, sectors: 8192, identity };
            option(1, path::to_file(&drive, r"\EFI\BOOT\BOOTX64.EFI").unwrap())
        };
        let [here, gone] = [Identity::Guid([1; 16]), Identity::Guid([2; 16])];
        let [old, left] = [Identity::Mbr(1), Identity::Mbr(2)];
        let options =
            [named(gone), network(), named(here), disk(), named(old), named(left), Vec::new()];
        let options = (0..).zip(options.into_iter().map(Some)).collect();
        let variables = Variables { options, order: vec![0, 1, 2], next: None };
        assert_eq!(variables.stale(&[here, left]), [0, 4]);
        assert_eq!(variables.label(0).as_deref(), Some("x"));
    }

    #[test]
    fn a_second_run_changes_nothing() {
        let mut variables = Variables::default();
        let entry = entry("Debian", true);
        let plan = variables.plan(&entry).unwrap();
        assert!(!plan.is_done());
        apply(&mut variables, &plan);
        assert!(variables.plan(&entry).unwrap().is_done());
    }

    #[test]
    fn another_name_for_the_same_loader_changes_the_entry_and_makes_no_second_one() {
        let mut variables = Variables::default();
        apply(&mut variables, &Variables::default().plan(&entry("Old", false)).unwrap());
        let plan = variables.plan(&entry("New", false)).unwrap();
        assert_eq!((plan.number, plan.order.clone()), (0, None));
        let option = LoadOption::parse(&plan.option.unwrap()).unwrap();
        assert_eq!(option.label, "New");
    }

    #[test]
    fn an_entry_for_a_partition_that_is_gone_is_taken_over_and_no_other_disks() {
        let identity = |byte| Identity::Guid([byte; 16]);
        let drive = |byte| HardDrive {
            partition: 1,
            first_sector: 2048,
            sectors: 8192,
            identity: identity(byte),
        };
        let named = |byte, file: &str| {
            let path = path::to_file(&drive(byte), file).unwrap();
            Some(LoadOption::new("Debian", path).unwrap().to_bytes())
        };
        let file = r"\EFI\BOOT\BOOTX64.EFI";
        let options = [named(1, file), named(2, r"\EFI\debian\shimx64.efi"), named(2, file)];
        let variables =
            Variables { options: (0..).zip(options).collect(), order: vec![0, 1, 2], next: None };
        let again = Entry { gone: vec![drive(2)], ..entry("Debian", false) };
        let plan = variables.plan(&again).unwrap();
        // The other disk's stays, and so does what is another file's.
        assert_eq!((plan.number, plan.order), (2, Some(vec![2, 0, 1])));
        let made = LoadOption::parse(&plan.option.unwrap()).unwrap();
        assert_eq!(made.path, again.path);
        assert_eq!(variables.plan(&entry("Debian", false)).unwrap().number, 3, "nothing is gone");
    }

    #[test]
    fn an_entry_with_arguments_of_its_own_is_somebody_elses() {
        let mut variables = Variables::default();
        let mut theirs = LoadOption::new("Theirs", entry("", false).path).unwrap();
        theirs.data = vec![1];
        variables.options.insert(0, Some(theirs.to_bytes()));
        variables.order.push(0);
        let plan = variables.plan(&entry("Ours", false)).unwrap();
        assert_eq!((plan.number, plan.order), (1, Some(vec![1, 0])));
    }

    #[test]
    fn when_every_number_is_taken_it_is_said() {
        let options = (0..=u16::MAX).map(|number| (number, None)).collect();
        let variables = Variables { options, ..Variables::default() };
        assert_eq!(variables.plan(&entry("a", false)), Err(PlanError::NoNumber));
    }

    fn anything() -> impl Strategy<Value = Option<Vec<u8>>> {
        let bytes = prop::collection::vec(any::<u8>(), 0..60);
        prop_oneof![
            Just(Some(network())),
            Just(Some(disk())),
            Just(Some(menu())),
            Just(None),
            bytes.prop_map(Some)
        ]
    }

    proptest! {
        #[test]
        fn nothing_is_lost_nothing_else_moves_and_once_is_enough(
            options in prop::collection::btree_map(0_u16..40, anything(), 0..20),
            order in prop::collection::vec(0_u16..40, 0..20),
            next: bool,
        ) {
            let mut variables = Variables { options, order, next: None };
            let before = variables.clone();
            let entry = entry("Debian", next);
            let plan = variables.plan(&entry).unwrap();
            apply(&mut variables, &plan);
            prop_assert!(variables.plan(&entry).unwrap().is_done());
            let others = |order: &[u16]| -> Vec<u16> {
                order.iter().copied().filter(|other| *other != plan.number).collect()
            };
            prop_assert_eq!(others(&variables.order), others(&before.order));
            for (number, option) in &before.options {
                prop_assert!(*number == plan.number || variables.options.get(number) == Some(option));
            }
        }
    }
}
