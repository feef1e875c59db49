//! Who boots what: the table of SAFETY.md 18, as one pure function.
//!
//! | machine | answer |
//! | --- | --- |
//! | ignored, or not listed where only listed ones are answered | silence |
//! | unknown | SunshineOS |
//! | claimed by somebody else's controller | silence |
//! | wipe order | HerculesOS |
//! | any other order | SunshineOS |
//! | no order, data on a disk | its own disk |
//! | no order, all disks blank, or none, or not yet reported | SunshineOS |

use std::str::FromStr;

use protocol::MacAddress;
use serde::{Deserialize, Serialize};

use crate::{
    journal::Silence,
    machine::{Load, evidence::garbage},
};

/// What a booting machine shows of itself before an agent runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Traveller {
    /// The port that it boots through.
    pub mac: Option<MacAddress>,
    /// The SMBIOS UUID in canonical lower-case spelling: DHCP option 97 or iPXE's `${uuid}`.
    pub uuid: Option<String>,
    /// The system serial number, from iPXE's `${serial}`.
    pub serial: Option<String>,
}

/// What a machine is given to boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot {
    /// Nothing is answered at all.
    Silence(Silence),
    /// Its own disk, at once: a file name that does not exist, so that firmware goes on within a second.
    OwnDisk,
    /// One of our systems.
    System(System),
}

/// Our systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum System {
    /// Discovers, reports, waits, installs.
    Sunshine,
    /// Wipes.
    Hercules,
}

impl System {
    /// Returns the system that an agent says it is; nothing for one that this server does not know.
    pub fn named(name: Option<&str>) -> Option<Self> {
        match name {
            None | Some("SunshineOS") => Some(Self::Sunshine),
            Some("HerculesOS") => Some(Self::Hercules),
            Some(_) => None,
        }
    }

    /// Returns its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sunshine => "SunshineOS",
            Self::Hercules => "HerculesOS",
        }
    }

    /// Returns how the names of its files begin.
    pub fn file_stem(self) -> &'static str {
        match self {
            Self::Sunshine => "sunshineos",
            Self::Hercules => "herculesos",
        }
    }
}

/// Of whom something was said before they were seen: whom the server answers at all, and who looks for what.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lists {
    /// Machines that are never answered.
    pub ignored: Vec<Selector>,
    /// With `discovery.answer: listed`: the only machines that are answered.
    pub listed: Option<Vec<Selector>>,
    /// Machines that look for disks on a network.
    pub network_storage: Vec<Selector>,
}

/// How a person names a machine on a list: a MAC address, a UUID, a serial number or the machine's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Selector {
    /// A port.
    Mac(MacAddress),
    /// A UUID, as written; both byte orders match.
    Uuid(String),
    /// A serial number or a machine's name; case does not matter.
    Word(String),
}

/// Says that a text names no machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("names no machine: empty")]
pub struct SelectorError;

/// What is known of a machine that boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// What is on its disks.
    pub load: Load,
    /// What it was ordered.
    pub order: Option<Errand>,
    /// The controller that owns it, when that is not us.
    pub claimed_by: Option<String>,
}

/// What a machine is ordered, as far as it decides what it boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errand {
    /// To wait, or anything that SunshineOS does.
    Sunshine,
    /// To be wiped.
    Wipe,
}

/// Everything by which a person may have named a machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// Its ports, the one that it boots through among them.
    pub macs: Vec<MacAddress>,
    /// Its UUID.
    pub uuid: Option<String>,
    /// Its serial number and its name.
    pub words: Vec<String>,
}

/// Decides whether a machine is answered at all, and if not, why.
pub fn answer(lists: &Lists, names: &Names) -> Result<(), Silence> {
    if lists.ignored.iter().any(|selector| selector.names(names)) {
        return Err(Silence::Ignored);
    }
    match &lists.listed {
        Some(listed) if !listed.iter().any(|selector| selector.names(names)) => {
            Err(Silence::NotListed)
        }
        _ => Ok(()),
    }
}

/// Decides whether a machine looks for disks on a network.
pub fn has_network_storage(lists: &Lists, names: &Names) -> bool {
    lists.network_storage.iter().any(|selector| selector.names(names))
}

/// Decides what a machine that is answered boots. `None` is a machine that nobody knows.
pub fn decide(known: Option<&Known>) -> Boot {
    let Some(known) = known else {
        return Boot::System(System::Sunshine);
    };
    if let Some(owner) = &known.claimed_by {
        return Boot::Silence(Silence::ClaimedByOther { owner: owner.clone() });
    }
    match (known.order, known.load) {
        (Some(Errand::Wipe), _) => Boot::System(System::Hercules),
        (None, Load::Data) => Boot::OwnDisk,
        (Some(Errand::Sunshine), _) | (None, Load::Unreported | Load::Diskless | Load::Blank) => {
            Boot::System(System::Sunshine)
        }
    }
}

impl Selector {
    fn names(&self, names: &Names) -> bool {
        match self {
            Self::Mac(mac) => names.macs.contains(mac),
            Self::Uuid(wanted) => {
                names.uuid.as_deref().is_some_and(|uuid| is_same_uuid(wanted, uuid))
            }
            Self::Word(word) => {
                names.words.iter().any(|name| name.trim().eq_ignore_ascii_case(word))
            }
        }
    }
}

/// A person may list even a garbage UUID: then as written.
fn is_same_uuid(one: &str, two: &str) -> bool {
    match (garbage::uuid_key(one), garbage::uuid_key(two)) {
        (Some(one), Some(two)) => one == two,
        _ => one.eq_ignore_ascii_case(two),
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.is_empty() {
            return Err(SelectorError);
        }
        // Twelve digits without separators are rather a serial number than an address.
        if let Some(mac) = text.parse().ok().filter(|_| text.len() == 17) {
            return Ok(Self::Mac(mac));
        }
        let is_uuid = text.len() == 36
            && text.char_indices().all(|(index, character)| match index {
                8 | 13 | 18 | 23 => character == '-',
                _ => character.is_ascii_hexdigit(),
            });
        Ok(if is_uuid { Self::Uuid(text.to_lowercase()) } else { Self::Word(text.to_owned()) })
    }
}

impl TryFrom<String> for Selector {
    type Error = SelectorError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Selector> for String {
    fn from(selector: Selector) -> Self {
        match selector {
            Selector::Mac(mac) => mac.to_string(),
            Selector::Uuid(text) | Selector::Word(text) => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUNSHINE: Boot = Boot::System(System::Sunshine);

    fn known(load: Load) -> Known {
        Known { load, order: None, claimed_by: None }
    }

    fn names() -> Names {
        Names {
            macs: vec!["52:54:00:00:00:01".parse().unwrap(), "52:54:00:00:00:02".parse().unwrap()],
            uuid: Some("4c4c4544-0051-3510-8048-b4c04f4d5032".to_owned()),
            words: vec!["4Q5HMP2".to_owned(), "4q5hmp2-2".to_owned()],
        }
    }

    fn selectors(text: &str) -> Vec<Selector> {
        text.split(',').map(|word| word.parse().unwrap()).collect()
    }

    #[test]
    fn ignored_machines_get_silence_by_whatever_name() {
        for text in [
            "52-54-00-00-00-02",
            "4C4C4544-0051-3510-8048-B4C04F4D5032",
            "44454c4c-5100-1035-8048-b4c04f4d5032",
            "4q5hmp2",
            "4Q5HMP2-2",
        ] {
            let lists = Lists {
                ignored: selectors(text),
                listed: Some(selectors(text)),
                ..Lists::default()
            };
            assert_eq!(answer(&lists, &names()), Err(Silence::Ignored), "{text}");
        }
    }

    #[test]
    fn where_only_listed_machines_are_answered_others_get_silence() {
        let listed = |text| Lists { listed: Some(selectors(text)), ..Lists::default() };
        assert_eq!(answer(&listed("52:54:00:00:00:02,x"), &names()), Ok(()));
        assert_eq!(answer(&listed("52:54:00:00:00:03,x"), &names()), Err(Silence::NotListed));
        let nobody = Lists { listed: Some(vec![]), ..Lists::default() };
        assert_eq!(answer(&nobody, &names()), Err(Silence::NotListed));
        assert_eq!(answer(&Lists::default(), &names()), Ok(()));
    }

    #[test]
    fn unknown_machines_get_sunshineos() {
        assert_eq!(decide(None), SUNSHINE);
    }

    #[test]
    fn data_and_no_order_is_its_own_disk_at_once() {
        assert_eq!(decide(Some(&known(Load::Data))), Boot::OwnDisk);
    }

    #[test]
    fn blank_disks_or_none_or_no_report_is_sunshineos() {
        for load in [Load::Blank, Load::Diskless, Load::Unreported] {
            assert_eq!(decide(Some(&known(load))), SUNSHINE, "{load:?}");
        }
    }

    #[test]
    fn told_to_wait_or_to_work_is_sunshineos_whatever_is_on_the_disk() {
        for load in [Load::Data, Load::Blank, Load::Diskless, Load::Unreported] {
            let known = Known { order: Some(Errand::Sunshine), ..known(load) };
            assert_eq!(decide(Some(&known)), SUNSHINE, "{load:?}");
        }
    }

    #[test]
    fn a_wipe_order_is_herculesos() {
        for load in [Load::Data, Load::Blank] {
            let known = Known { order: Some(Errand::Wipe), ..known(load) };
            assert_eq!(decide(Some(&known)), Boot::System(System::Hercules));
        }
    }

    #[test]
    fn what_another_controller_owns_gets_silence_even_with_an_order() {
        for order in [None, Some(Errand::Sunshine), Some(Errand::Wipe)] {
            let known =
                Known { order, claimed_by: Some("capi/one".to_owned()), ..known(Load::Data) };
            assert_eq!(
                decide(Some(&known)),
                Boot::Silence(Silence::ClaimedByOther { owner: "capi/one".to_owned() })
            );
        }
    }

    #[test]
    fn a_selector_reads_back() {
        for text in ["52:54:00:00:00:02", "4c4c4544-0051-3510-8048-b4c04f4d5032", "4Q5HMP2"] {
            let selector: Selector = text.parse().unwrap();
            assert_eq!(String::from(selector), text);
        }
        assert!(" ".parse::<Selector>().is_err());
        assert_eq!("525400000002".parse(), Ok(Selector::Word("525400000002".to_owned())));
    }
}
