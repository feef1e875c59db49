//! Where a report goes. Its file is opened before anybody is asked, and written before anything is printed: after a wipe
//! of hours nobody can make the report again.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use super::Output;

/// A file for a report, open for writing. What was in it stays until there is a report.
#[derive(Debug)]
pub(super) struct ReportFile {
    path: PathBuf,
    file: File,
    /// Whether it was made here, and has nothing in it yet.
    is_made_empty: bool,
}

impl ReportFile {
    /// Opens the file, and makes it where there is none. Says why not.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let failed =
            |error: io::Error| format!("the report cannot go to {}: {error}", path.display());
        let mut options = OpenOptions::new();
        options.write(true);
        let (file, is_made_empty) = match options.clone().create_new(true).open(path) {
            Ok(file) => (file, true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if fs::metadata(path).map_err(failed)?.file_type().is_block_device() {
                    return Err(format!("{} is a disk: no report goes there", path.display()));
                }
                (options.open(path).map_err(failed)?, false)
            }
            Err(error) => return Err(failed(error)),
        };
        Ok(Self { path: path.to_owned(), file, is_made_empty })
    }

    /// Puts the report in place of what was there. It is on the disk when this returns.
    fn write(&mut self, json: &str) -> io::Result<()> {
        self.is_made_empty = false;
        let is_file = self.file.metadata()?.is_file();
        if is_file {
            self.file.set_len(0)?;
        }
        self.file.write_all(json.as_bytes())?;
        // A pipe is on no disk.
        if is_file { self.file.sync_all() } else { Ok(()) }
    }
}

impl Drop for ReportFile {
    fn drop(&mut self) {
        if self.is_made_empty {
            let _stays_empty = fs::remove_file(&self.path);
        }
    }
}

/// Writes a report to its file, if there is one, and then prints it. Neither keeps the other from being tried; where the
/// file cannot be written, all of the report is printed.
pub(super) fn tell(
    file: Option<ReportFile>,
    json: &str,
    table: &str,
    output: Output,
    printed: &mut impl Write,
) -> anyhow::Result<()> {
    let written = file.map_or(Ok(()), |mut file| {
        file.write(json).with_context(|| format!("writing the report to {}", file.path.display()))
    });
    let mut text = match output {
        Output::Table => table.to_owned(),
        Output::Json => json.to_owned(),
    };
    if written.is_err() && output == Output::Table {
        text.push_str(json);
    }
    let shown = printed.write_all(text.as_bytes()).and_then(|()| printed.flush());
    written.and(shown.context("writing to standard output"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pipe that nobody reads any more.
    #[derive(Debug)]
    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_report_is_in_its_file_also_where_nobody_reads_what_is_printed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report.json");
        for output in [Output::Table, Output::Json] {
            fs::write(&path, "an earlier one, which is longer").unwrap();
            let file = ReportFile::open(&path).unwrap();
            assert!(tell(Some(file), "{}\n", "table\n", output, &mut Closed).is_err());
            assert_eq!(fs::read_to_string(&path).unwrap(), "{}\n");
        }
    }

    #[test]
    fn a_report_that_no_file_takes_is_printed_whole() {
        for (output, whole) in [(Output::Table, "table\n{}\n"), (Output::Json, "{}\n")] {
            let full = ReportFile::open(Path::new("/dev/full")).unwrap();
            let mut printed = Vec::new();
            let error = tell(Some(full), "{}\n", "table\n", output, &mut printed).unwrap_err();
            assert!(format!("{error:#}").contains("/dev/full"), "{error:#}");
            assert_eq!(String::from_utf8(printed).unwrap(), whole);
        }
    }

    #[test]
    fn a_file_without_report_is_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report.json");
        drop(ReportFile::open(&path).unwrap());
        assert!(!path.exists(), "an empty file is no report");
        fs::write(&path, "an earlier one").unwrap();
        drop(ReportFile::open(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "an earlier one");
    }
}
