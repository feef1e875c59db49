//! GRUB's `grub.cfg`, where its menu is plain: what the default entry would load.
//!
//! The script is followed as GRUB would follow it, with the commands that generated menus use for show left out.
//! Whatever else would be carried out ends in a refusal: a wrong kernel is worse than none.

mod parse;
mod run;

use std::collections::BTreeMap;

pub(crate) use self::run::{Choice, Disk, Search};

/// Longer menus are nobody's; Ubuntu's with ten kernels has 30 KiB.
pub(crate) const LENGTH_LIMIT: usize = 1 << 20;

/// Says why a menu is not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("menu is not plain: {reason}")]
pub struct NotPlain {
    /// What is in it.
    pub reason: String,
}

impl NotPlain {
    fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

/// Follows a menu that lies in a directory of a device, and returns what its default entry loads.
pub(crate) fn choose(
    text: &str,
    device: &str,
    directory: &str,
    environment: &BTreeMap<String, String>,
    platform: &str,
    disk: &dyn Disk,
) -> Result<Choice, NotPlain> {
    let script = parse::parse(text)?;
    run::Run::new(device, directory, environment, platform, disk).choose(&script)
}

/// Reads GRUB's block of variables, `grubenv`.
pub(crate) fn environment(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests;
