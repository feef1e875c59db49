//! Reading through a root while keeping account of what could not be read.

use std::{error::Error, path::Path, path::PathBuf, str::FromStr};

use protocol::inventory::Gap;

use crate::{Root, RootError};

/// A root, and the gaps found so far.
#[derive(Debug)]
pub(crate) struct Survey<'root> {
    pub(crate) root: &'root Root,
    pub(crate) gaps: Vec<Gap>,
}

impl<'root> Survey<'root> {
    pub(crate) fn new(root: &'root Root) -> Self {
        Self { root, gaps: Vec::new() }
    }

    /// Returns a file's text, or `None` and a gap.
    pub(crate) fn text(&mut self, what: &str, path: impl AsRef<Path>) -> Option<String> {
        let path = path.as_ref();
        let result = self.root.text(path);
        self.keep(what, path, result).flatten()
    }

    /// Returns a file's bytes, or `None` and a gap.
    pub(crate) fn bytes(&mut self, what: &str, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let path = path.as_ref();
        let result = self.root.bytes(path);
        self.keep(what, path, result).flatten()
    }

    /// Returns a file's number; a text that is none is a gap as well.
    pub(crate) fn number<T: FromStr>(&mut self, what: &str, path: impl AsRef<Path>) -> Option<T> {
        let path = path.as_ref();
        let text = self.text(what, path)?;
        let number = text.parse().ok();
        if number.is_none() {
            self.gap(what, path, "it holds no number".to_owned());
        }
        number
    }

    /// Returns a file's `0` or `1`.
    pub(crate) fn flag(&mut self, what: &str, path: impl AsRef<Path>) -> Option<bool> {
        self.number::<u8>(what, path).map(|number| number != 0)
    }

    /// Returns a directory's names; none, and a gap, when it cannot be read.
    pub(crate) fn entries(&mut self, what: &str, path: impl AsRef<Path>) -> Vec<String> {
        let path = path.as_ref();
        let result = self.root.entries(path);
        self.keep(what, path, result).unwrap_or_default()
    }

    /// Returns the last name of where a link points: a driver, a subsystem.
    pub(crate) fn link_name(&mut self, what: &str, path: impl AsRef<Path>) -> Option<String> {
        let path = path.as_ref();
        let result = self.root.link_name(path);
        self.keep(what, path, result).flatten()
    }

    /// Returns a device's directory below `sys/devices`, which its link in a class points to.
    ///
    /// The kernel's links there are relative and lead straight to the directory: nothing is left to resolve.
    pub(crate) fn device(&mut self, what: &str, path: impl AsRef<Path>) -> Option<PathBuf> {
        let path = path.as_ref();
        let result = self.root.link(path);
        let target = self.keep(what, path, result).flatten()?;
        let device: PathBuf =
            target.components().skip_while(|part| part.as_os_str() != "devices").collect();
        device.starts_with("devices").then(|| Path::new("sys").join(device))
    }

    /// Notes something missing.
    pub(crate) fn gap(&mut self, what: &str, source: impl AsRef<Path>, reason: String) {
        let source = source.as_ref().display().to_string();
        self.gaps.push(Gap { what: what.to_owned(), source, reason, after_milliseconds: None });
    }

    fn keep<T>(&mut self, what: &str, path: &Path, result: Result<T, RootError>) -> Option<T> {
        result.map_err(|error| self.gap(what, path, reason(&error))).ok()
    }
}

/// Returns why, without the path: a gap names that itself.
fn reason(error: &RootError) -> String {
    match (error, error.source()) {
        (RootError::Read { .. }, Some(source)) => source.to_string(),
        _ => error.to_string(),
    }
}
