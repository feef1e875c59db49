//! `modules.firmware`: which firmware each module asks for.

use std::{collections::BTreeMap, fmt, str::FromStr};

use crate::line::{self, Fault, ListError};

/// How a line looks.
const SHAPE: &str = "kernel/…/x.ko.xz: NAME !NAME";

/// Which firmware each module asks for, by the module's path.
///
/// One line for each module that names firmware: its path below `/lib/modules/RELEASE/`, a colon, and names as the driver
/// asks for them, `rtl_nic/rtl8168h-2.fw`; `!` stands before what Debian's packages do not have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Firmware {
    modules: BTreeMap<String, Vec<Named>>,
}

/// A firmware that a module names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    /// As the driver asks for it, below `/lib/firmware/`, without the ending of a compression.
    pub name: String,
    /// Whether Debian's packages have it: what is `false` here can be had nowhere.
    pub in_debian: bool,
}

impl Firmware {
    /// Returns what a module names, in the order of the list; nothing where it names none. The path is its file's, below
    /// `/lib/modules/RELEASE/`.
    pub fn of(&self, module: &str) -> &[Named] {
        self.modules.get(module).map(Vec::as_slice).unwrap_or_default()
    }

    /// Adds what a module names. Refuses a path or name that no line could say, and a module that is in already.
    pub fn insert(&mut self, module: &str, names: Vec<Named>) -> Result<(), Fault> {
        if !module.starts_with("kernel/") || !line::is_tame(module) || module.contains(':') {
            return Err(Fault::Path(module.to_owned()));
        }
        let bad = |named: &&Named| !line::is_tame(&named.name) || named.name.starts_with('!');
        if let Some(named) = names.iter().find(bad) {
            return Err(Fault::Name(named.name.clone()));
        }
        if names.is_empty() {
            return Err(Fault::Shape(SHAPE));
        }
        match self.modules.insert(module.to_owned(), names) {
            Some(_) => Err(Fault::Twice(module.to_owned())),
            None => Ok(()),
        }
    }

    /// Returns every module that names firmware, by its path.
    pub fn modules(&self) -> impl Iterator<Item = (&str, &[Named])> {
        self.modules.iter().map(|(module, names)| (module.as_str(), names.as_slice()))
    }
}

impl FromStr for Firmware {
    type Err = ListError;

    fn from_str(text: &str) -> Result<Self, ListError> {
        let mut firmware = Self::default();
        line::each(text, |line| {
            let (module, names) = line.split_once(": ").ok_or(Fault::Shape(SHAPE))?;
            let read = |word: &str| match word.strip_prefix('!') {
                Some(name) => Named { name: name.to_owned(), in_debian: false },
                None => Named { name: word.to_owned(), in_debian: true },
            };
            firmware.insert(module, names.split(' ').map(read).collect())
        })?;
        Ok(firmware)
    }
}

impl fmt::Display for Firmware {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (module, names) in &self.modules {
            write!(formatter, "{module}:")?;
            for Named { name, in_debian } in names {
                write!(formatter, " {}{name}", if *in_debian { "" } else { "!" })?;
            }
            writeln!(formatter)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REALTEK: &str = "kernel/drivers/net/ethernet/realtek/r8169.ko.xz";

    #[test]
    fn a_module_names_what_it_asks_for_and_what_nobody_has() {
        let text = format!("{REALTEK}: rtl_nic/rtl8168h-2.fw !rtl_nic/rtl8126a-3.fw\n");
        let firmware: Firmware = text.parse().unwrap();
        let named = |name: &str, in_debian| Named { name: name.to_owned(), in_debian };
        let expected =
            [named("rtl_nic/rtl8168h-2.fw", true), named("rtl_nic/rtl8126a-3.fw", false)];
        assert_eq!(firmware.of(REALTEK), expected);
        assert!(firmware.of("kernel/drivers/net/other.ko.xz").is_empty());
        assert_eq!(firmware.to_string(), text);
    }

    #[test]
    fn a_bad_line_is_named() {
        for (line, reason) in [
            ("", "line 2: not of this shape: kernel/…/x.ko.xz: NAME !NAME"),
            ("kernel/a.ko:", "line 2: not of this shape: kernel/…/x.ko.xz: NAME !NAME"),
            ("kernel/a.ko: ", "line 2: no name of a firmware: \"\""),
            ("kernel/a.ko: x  y", "line 2: no name of a firmware: \"\""),
            ("kernel/a.ko: ../x", "line 2: no name of a firmware: \"../x\""),
            ("kernel/a.ko: /x", "line 2: no name of a firmware: \"/x\""),
            ("kernel/a.ko: !!x", "line 2: no name of a firmware: \"!x\""),
            ("etc/a.ko: x", "line 2: no path of the store's: \"etc/a.ko\""),
            ("kernel/../a.ko: x", "line 2: no path of the store's: \"kernel/../a.ko\""),
            ("kernel/b.ko: x", "line 2: named twice: kernel/b.ko"),
        ] {
            let error = format!("kernel/b.ko: x\n{line}\n").parse::<Firmware>().unwrap_err();
            assert_eq!(error.to_string(), reason, "{line}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_as_it_was_meant(text in "(kernel/[a.!/:]{0,4}: [ab!./ ]{0,6}\n){0,3}") {
            if let Ok(firmware) = text.parse::<Firmware>() {
                prop_assert_eq!(firmware.to_string().parse::<Firmware>(), Ok(firmware));
            }
        }
    }
}
