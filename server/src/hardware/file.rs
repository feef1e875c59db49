//! A record as a file: renamed into place whole, rewritten only when there is something new to say.
//!
//! The whole file is ours. A first line says so, with a digest of the rest:
//!
//! | what stands there | then |
//! | --- | --- |
//! | nothing | it is written |
//! | ours, saying the same | it is left alone, with the changes that somebody made in it |
//! | ours, saying something else | it is replaced; where somebody changed it, that is kept as `NAME.yaml.edited` |
//! | ours, held, and somebody took away what holds it | the same: a machine is approved by an order, not by an editor (SAFETY.md 2) |
//! | somebody else's | it is left alone, and that is an error |
//!
//! Ours is what has the first line, or the label [`MACHINE`] where a tool dropped the comment.
//! Removing a file does nothing to a machine; it is written again with the next change (SAFETY.md 13).

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Hardware, MACHINE, OWNER, PENDING, YamlError};

/// How the first line begins.
const HEADER: &str = "# Drydock keeps this record";
/// No record is longer: its longest part has at most 64 KiB.
const LIMIT: u64 = 1 << 20;

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It stands there now.
    Written,
    /// It was there already.
    Unchanged,
}

/// Why a record is not in its place.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file or its directory could not be read or written.
    #[error("{doing} {path}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The record could not be written as YAML.
    #[error("making {path}")]
    Yaml {
        /// The file.
        path: PathBuf,
        /// Why.
        source: YamlError,
    },
    /// Something stands there that is not ours.
    #[error("not written by Drydock, and left alone: {path}")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
}

/// What stands in a record's place.
#[derive(Debug, PartialEq, Eq)]
enum Existing {
    Nothing,
    Foreign,
    Ours {
        /// The digest of what we wrote; nothing when the line that told it is gone.
        digest: Option<String>,
        /// Whether it is as we wrote it.
        intact: bool,
        /// Whether it is held: by the label, and in no port or rule set free.
        held: bool,
    },
}

/// The part of a record that shows whose it is and what it sets free.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Head {
    metadata: HeadMetadata,
    spec: HeadSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct HeadSpec {
    auto: HeadAuto,
    interfaces: Vec<HeadInterface>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct HeadAuto {
    enrollment_enabled: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct HeadInterface {
    netboot: HeadNetboot,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct HeadNetboot {
    #[serde(rename = "allowPXE")]
    allow_pxe: bool,
    allow_workflow: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct HeadMetadata {
    labels: BTreeMap<String, String>,
}

/// Makes the directory where it is missing, and finds out whether records can be written there.
pub fn prepare(directory: &Path) -> Result<(), FileError> {
    let failed = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| FileError::Io { doing, path, source }
    };
    fs::create_dir_all(directory).map_err(failed("making", directory))?;
    let probe = directory.join(".drydock.tmp");
    File::create(&probe).map_err(failed("writing", &probe))?;
    fs::remove_file(&probe).map_err(failed("removing", &probe))
}

/// Puts a record in its place.
pub fn write(directory: &Path, hardware: &Hardware) -> Result<Outcome, FileError> {
    let name = &hardware.metadata.name;
    let path = place(directory, name);
    let body =
        hardware.to_yaml().map_err(|source| FileError::Yaml { path: path.clone(), source })?;
    let digest = digest(&body);
    match look(&path, name)? {
        Existing::Foreign => return Err(FileError::Foreign { path }),
        Existing::Ours { digest: Some(old), intact, held }
            if old == digest && (intact || held || !hardware.is_held()) =>
        {
            return Ok(Outcome::Unchanged);
        }
        Existing::Ours { intact: false, .. } => keep_aside(&path)?,
        Existing::Nothing | Existing::Ours { .. } => {}
    }
    let text = format!(
        "{HEADER} and replaces it; what you change here goes to {name}.yaml.edited then. sha256:{digest}\n{body}"
    );
    replace(directory, &path, &text)?;
    Ok(Outcome::Written)
}

/// Removes the record of a machine that was forgotten; one that somebody changed is kept aside.
pub fn remove(directory: &Path, name: &str) -> Result<(), FileError> {
    let path = place(directory, name);
    match look(&path, name)? {
        Existing::Nothing | Existing::Foreign => return Ok(()),
        Existing::Ours { intact: true, .. } => {}
        Existing::Ours { intact: false, .. } => keep_aside(&path)?,
    }
    let removed = fs::remove_file(&path).and_then(|()| File::open(directory)?.sync_all());
    removed.map_err(|source| FileError::Io { doing: "removing", path, source })
}

/// Names come from [`crate::machine`] and are DNS labels: no path can be in them.
fn place(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.yaml"))
}

fn look(path: &Path, name: &str) -> Result<Existing, FileError> {
    let failed = |source| FileError::Io { doing: "reading", path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Existing::Nothing),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(LIMIT).read_to_end(&mut bytes).map_err(failed)?;
    Ok(recognise(&String::from_utf8_lossy(&bytes), name))
}

fn recognise(text: &str, name: &str) -> Existing {
    let (first, body) = text.split_once('\n').unwrap_or((text, ""));
    let told = first
        .starts_with(HEADER)
        .then(|| first.rsplit_once("sha256:").map(|(_, digest)| digest.trim().to_owned()))
        .flatten();
    let Head { metadata: HeadMetadata { labels }, spec } =
        serde_saphyr::from_str::<Head>(text).unwrap_or_default();
    let ports_are_held =
        spec.interfaces.iter().all(|port| !port.netboot.allow_pxe && !port.netboot.allow_workflow);
    if told.is_none() && labels.get(MACHINE).is_none_or(|machine| machine != name) {
        return Existing::Foreign;
    }
    Existing::Ours {
        intact: told.as_ref().is_some_and(|told| *told == digest(body)),
        digest: told,
        held: labels.get(OWNER).is_some_and(|owner| owner == PENDING)
            && ports_are_held
            && !spec.auto.enrollment_enabled,
    }
}

fn digest(body: &str) -> String {
    Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

/// Copies what somebody changed to a name that is free.
fn keep_aside(path: &Path) -> Result<(), FileError> {
    let aside = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(if number < 2 { ".edited".to_owned() } else { format!(".edited-{number}") });
        PathBuf::from(name)
    };
    let mut free = (1_u32..).map(aside).skip_while(|path| path.symlink_metadata().is_ok());
    let Some(target) = free.next() else {
        return Ok(());
    };
    tracing::warn!(record = %path.display(), kept = %target.display(), "a record was changed by hand: kept aside");
    fs::copy(path, &target)
        .and_then(|_| File::open(&target)?.sync_all())
        .map_err(|source| FileError::Io { doing: "keeping aside", path: path.to_owned(), source })
}

/// Writes a file beside its place, on disk, and renames it into place, on disk.
fn replace(directory: &Path, path: &Path, text: &str) -> Result<(), FileError> {
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(path.file_name().unwrap_or_default());
    hidden.push(".tmp");
    let beside = directory.join(hidden);
    let written = File::create(&beside)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&beside, path))
        .and_then(|()| File::open(directory)?.sync_all());
    written.map_err(|source| {
        // A full disk gets its room back.
        let _gone_or_not_there = fs::remove_file(&beside);
        FileError::Io { doing: "writing", path: path.to_owned(), source }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::record::tests::{Sample, sample};

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn held() -> Hardware {
        Sample::default().record()
    }

    fn free() -> Hardware {
        let record = sample().record();
        assert!(!record.is_held());
        record
    }

    fn names(directory: &tempfile::TempDir) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn edit(directory: &tempfile::TempDir, from: &str, to: &str) {
        let path = directory.path().join("4q5hmp2.yaml");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from));
        fs::write(&path, text.replace(from, to)).unwrap();
    }

    fn text(directory: &tempfile::TempDir, name: &str) -> String {
        fs::read_to_string(directory.path().join(name)).unwrap()
    }

    #[test]
    fn a_record_is_written_once_and_again_only_when_it_says_something_else() {
        let directory = directory();
        prepare(directory.path()).unwrap();
        assert_eq!(write(directory.path(), &held()).unwrap(), Outcome::Written);
        let path = directory.path().join("4q5hmp2.yaml");
        let before = fs::metadata(&path).unwrap().modified().unwrap();
        assert_eq!(write(directory.path(), &held()).unwrap(), Outcome::Unchanged);
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), before);
        assert_eq!(write(directory.path(), &free()).unwrap(), Outcome::Written);
        assert_eq!(names(&directory), ["4q5hmp2.yaml"], "nothing stays beside it");
        assert!(!text(&directory, "4q5hmp2.yaml").contains(OWNER));
    }

    #[test]
    fn what_is_not_ours_is_never_touched() {
        let directory = directory();
        for foreign in [
            "kind: Hardware\n",
            "",
            "# something\nnot: [yaml",
            "metadata:\n  labels:\n    drydock.evoteum.com/machine: other\n",
        ] {
            fs::write(directory.path().join("4q5hmp2.yaml"), foreign).unwrap();
            let error = write(directory.path(), &held()).unwrap_err();
            assert!(matches!(error, FileError::Foreign { .. }), "{foreign}");
            remove(directory.path(), "4q5hmp2").unwrap();
            assert_eq!(text(&directory, "4q5hmp2.yaml"), foreign);
        }
    }

    #[test]
    fn a_change_by_hand_stays_until_there_is_news_and_is_kept_then() {
        let directory = directory();
        write(directory.path(), &free()).unwrap();
        edit(&directory, "x86_64", "aarch64");
        assert_eq!(write(directory.path(), &free()).unwrap(), Outcome::Unchanged);
        assert!(text(&directory, "4q5hmp2.yaml").contains("aarch64"));
        assert_eq!(write(directory.path(), &held()).unwrap(), Outcome::Written);
        assert_eq!(names(&directory), ["4q5hmp2.yaml", "4q5hmp2.yaml.edited"]);
        assert!(text(&directory, "4q5hmp2.yaml.edited").contains("aarch64"));
        edit(&directory, "x86_64", "riscv64");
        write(directory.path(), &free()).unwrap();
        assert!(text(&directory, "4q5hmp2.yaml.edited-2").contains("riscv64"));
        assert!(text(&directory, "4q5hmp2.yaml.edited").contains("aarch64"));
    }

    #[test]
    fn an_editor_cannot_approve_a_machine() {
        let directory = directory();
        write(directory.path(), &held()).unwrap();
        edit(&directory, OWNER, "example.com/owner");
        assert_eq!(write(directory.path(), &held()).unwrap(), Outcome::Written);
        assert!(text(&directory, "4q5hmp2.yaml").contains(OWNER));
        assert!(text(&directory, "4q5hmp2.yaml.edited").contains("example.com/owner"));
        for held in ["allowPXE: false", "allowWorkflow: false", "enrollmentEnabled: false"] {
            edit(&directory, held, &held.replace("false", "true"));
            assert_eq!(write(directory.path(), &self::held()).unwrap(), Outcome::Written, "{held}");
            assert!(text(&directory, "4q5hmp2.yaml").contains(held));
        }
    }

    #[test]
    fn a_file_whose_comment_a_tool_dropped_is_still_ours() {
        let directory = directory();
        write(directory.path(), &held()).unwrap();
        let all = text(&directory, "4q5hmp2.yaml");
        let body = all.split_once('\n').unwrap().1;
        fs::write(directory.path().join("4q5hmp2.yaml"), body).unwrap();
        assert_eq!(write(directory.path(), &held()).unwrap(), Outcome::Written);
        assert_eq!(text(&directory, "4q5hmp2.yaml"), all);
    }

    #[test]
    fn a_forgotten_machines_file_goes_and_a_changed_one_is_kept_aside() {
        let directory = directory();
        write(directory.path(), &held()).unwrap();
        remove(directory.path(), "4q5hmp2").unwrap();
        remove(directory.path(), "4q5hmp2").unwrap();
        assert_eq!(names(&directory), Vec::<String>::new());
        write(directory.path(), &held()).unwrap();
        edit(&directory, "x86_64", "aarch64");
        remove(directory.path(), "4q5hmp2").unwrap();
        assert_eq!(names(&directory), ["4q5hmp2.yaml.edited"]);
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_named() {
        let directory = directory();
        let path = directory.path().join("file");
        fs::write(&path, "").unwrap();
        let error = prepare(&path.join("hardware")).unwrap_err();
        assert!(error.to_string().contains("file/hardware"), "{error}");
        let error = write(&path, &held()).unwrap_err();
        assert!(matches!(error, FileError::Io { .. }));
    }

    #[test]
    fn a_link_in_its_place_is_not_followed_when_it_is_replaced() {
        let directory = directory();
        write(directory.path(), &held()).unwrap();
        let (path, target) =
            (directory.path().join("4q5hmp2.yaml"), directory.path().join("target"));
        fs::rename(&path, &target).unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        let before = fs::read_to_string(&target).unwrap();
        write(directory.path(), &free()).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), before);
        assert!(!path.symlink_metadata().unwrap().is_symlink());
    }
}
