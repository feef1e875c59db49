//! An order to install: what it is about, and how a person's words become one.

use protocol::{Bytes, Install, install::Finish};
use serde::{Deserialize, Serialize};

use super::disk_order::Watch;

mod choose;
mod plan;
mod served;

pub use self::{
    choose::{Choice, ChoiceError, ChosenDisk},
    plan::{ImageFacts, InstallRefusal, InstallRequest, Plan, Sizing},
    served::{PhonedHome, Served},
};
pub(in crate::machine) use self::{
    choose::{Terms, choose_all, signatures, words},
    plan::{Drawn, check_machine, deadline, plan},
};

/// What an order to install is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstallWork {
    /// What is to be installed.
    pub image: OrderedImage,
    /// The disk that is overwritten.
    pub disk: ChosenDisk,
    /// How the machine goes on after it.
    pub finish: Finish,
    /// What its agent is told. Only while it is open, and only in memory and in the database: it may hold secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install: Option<Box<Install>>,
    /// What the installed system may ask this server for. Kept as the install is, until its time is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<Box<Served>>,
    /// What the installed system said back, once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phoned_home: Option<PhonedHome>,
    /// When its boot was last heard of it. Milliseconds since 1970; in the database it may be some minutes behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alive: Option<i64>,
    /// How it was watched since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<Watch>,
}

/// An image, as far as an order shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderedImage {
    /// Its name in the store, or its URL without what stands behind the question mark.
    pub name: String,
    /// SHA-256 of its manifest: images of the store only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// Its size on the disk; absent where nobody knows before it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<Bytes>,
}
