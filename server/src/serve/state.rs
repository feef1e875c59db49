//! The state directory: ours alone, one server at a time, with the key and the database.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::UNIX_EPOCH,
};

use redb::Database;

use super::storage::{GiveUp, Patient};
use crate::api::key::{KeyError, ServerKey};

/// What redb may keep of the database in memory.
const CACHE_BYTES: usize = 4 << 20;

/// An open state directory. While it lives, no other server can open it.
#[derive(Debug)]
pub struct State {
    path: PathBuf,
    /// The key of the agents' door.
    pub key: Arc<ServerKey>,
    /// Machines, leases, the journal.
    pub database: Arc<Database>,
    give_up: GiveUp,
    /// Locked for as long as it is open.
    _lock: File,
}

/// Says why a state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It could not be created, read or written.
    #[error("state directory {path}: {operation}")]
    Io {
        /// The directory or a file in it.
        path: PathBuf,
        /// What was being done.
        operation: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// It is somebody else's.
    #[error("state directory {path} belongs to user {owner}, not to user {ours} who runs this")]
    NotOurs {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The user id that we run as.
        ours: u32,
    },
    /// Others may look into it.
    #[error(
        "state directory {path} is open to others (mode {mode:03o}): it holds the server's key; chmod 700 {path}"
    )]
    Open {
        /// The directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Another server uses it.
    #[error("another drydock is running with state directory {0}")]
    InUse(PathBuf),
    /// The database is there, the key is not.
    #[error(
        "{0} is missing but the database is there: restore the key from a backup, or start with an empty state directory"
    )]
    KeyLost(PathBuf),
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The database cannot be used.
    #[error("database {path}")]
    Database {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: Box<redb::DatabaseError>,
    },
}

impl State {
    /// Opens a state directory; makes it, with its key and database, where it is not there.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let at =
            |operation| move |source| StateError::Io { path: path.to_owned(), operation, source };
        prepare(path)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(at("writing"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StateError::InUse(path.to_owned())),
            Err(TryLockError::Error(source)) => return Err(at("locking")(source)),
        }
        let database_path = database_path(path);
        let key_path = key_path(path);
        if database_path.exists() && !key_path.exists() {
            return Err(StateError::KeyLost(key_path));
        }
        let key = Arc::new(ServerKey::open(&key_path)?);
        let give_up = GiveUp::default();
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&database_path)
            .map_err(at("opening the database"))?;
        let backend = Patient::new(file, give_up.clone()).map_err(at("opening the database"))?;
        let database =
            Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(backend).map_err(
                |source| StateError::Database { path: database_path, source: Box::new(source) },
            )?;
        let database = Arc::new(database);
        Ok(Self { path: path.to_owned(), key, database, give_up, _lock: lock })
    }

    /// Returns the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tells this directory from a copy of it: the database's place on its filesystem, and when it was made.
    /// Whatever brings it back from elsewhere makes another file.
    pub fn home(&self) -> Option<String> {
        let metadata = fs::metadata(database_path(&self.path)).ok()?;
        let made = metadata.created().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(format!("{}:{}", metadata.ino(), made.as_nanos()))
    }

    /// Returns where the operators' door is.
    pub fn socket(&self) -> PathBuf {
        socket_path(&self.path)
    }

    /// Ends every wait for room on a full disk: the server goes down.
    pub fn give_up(&self) {
        self.give_up.give_up();
    }
}

/// Returns where the operators' door of a state directory is.
pub fn socket_path(state: &Path) -> PathBuf {
    state.join("drydock.sock")
}

/// Returns where the key of a state directory is.
pub fn key_path(state: &Path) -> PathBuf {
    state.join("ca.key")
}

/// Returns where the database of a state directory is.
pub fn database_path(state: &Path) -> PathBuf {
    state.join("drydock.redb")
}

/// Returns a directory outside of the state directory that ends with the host's boot: what systemd made for the unit,
/// else `/run/drydock`, else one of the user who runs this. Absent where none can be written.
pub fn runtime_directory() -> Option<PathBuf> {
    // Of several directories of a unit the first.
    let of_unit = std::env::var_os("RUNTIME_DIRECTORY")
        .and_then(|all| std::env::split_paths(&all).next())
        .filter(|path| path.is_dir());
    let of_user =
        std::env::var_os("XDG_RUNTIME_DIR").map(|path| PathBuf::from(path).join("drydock"));
    let own = [Some(PathBuf::from("/run/drydock")), of_user].into_iter().flatten();
    of_unit.or_else(|| own.into_iter().find(|path| prepare(path).is_ok()))
}

/// Returns what tells this boot of the host from all others; empty where the kernel does not say.
pub fn boot_of_the_host() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

/// Makes a directory of mode 0700, or checks that it is ours and closed to others; closes an empty one.
pub fn prepare(path: &Path) -> Result<(), StateError> {
    let at = |operation| move |source| StateError::Io { path: path.to_owned(), operation, source };
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(at("creating"))?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(at("creating")(error));
        }
        _ => {}
    }
    let metadata = fs::metadata(path).map_err(at("looking at"))?;
    if !metadata.is_dir() {
        return Err(at("opening")(ErrorKind::NotADirectory.into()));
    }
    let ours = nix::unistd::geteuid().as_raw();
    if metadata.uid() != ours {
        return Err(StateError::NotOurs { path: path.to_owned(), owner: metadata.uid(), ours });
    }
    let mode = metadata.mode() & 0o777;
    // A container's volume is open to others when it is new; there is nothing in it that anybody could have read.
    let is_empty = || fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    if mode & 0o077 != 0 && is_empty() {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(at("closing"))?;
        return Ok(());
    }
    if mode & 0o077 != 0 {
        return Err(StateError::Open { path: path.to_owned(), mode });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn the_first_start_makes_a_closed_directory_and_the_key_stays() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/state");
        let pin = State::open(&path).unwrap().key.pin();
        assert_eq!(mode_of(&path), 0o700);
        assert_eq!(mode_of(&key_path(&path)), 0o600);
        assert_eq!(mode_of(&database_path(&path)), 0o600);
        assert_eq!(State::open(&path).unwrap().key.pin(), pin);
    }

    #[test]
    fn a_directory_open_to_others_is_refused() {
        let path = tempfile::tempdir().unwrap();
        fs::set_permissions(path.path(), PermissionsExt::from_mode(0o750)).unwrap();
        fs::write(path.path().join("somebody's"), "").unwrap();
        let error = State::open(path.path()).unwrap_err();
        assert!(matches!(error, StateError::Open { mode: 0o750, .. }), "{error}");
        assert!(!key_path(path.path()).exists(), "nothing was made");
    }

    #[test]
    fn an_empty_directory_is_closed_to_others() {
        let path = tempfile::tempdir().unwrap();
        fs::set_permissions(path.path(), PermissionsExt::from_mode(0o755)).unwrap();
        State::open(path.path()).unwrap();
        assert_eq!(mode_of(path.path()), 0o700);
    }

    #[test]
    fn a_second_server_is_refused() {
        let path = tempfile::tempdir().unwrap();
        fs::set_permissions(path.path(), PermissionsExt::from_mode(0o700)).unwrap();
        let first = State::open(path.path()).unwrap();
        assert!(matches!(State::open(path.path()), Err(StateError::InUse(_))));
        drop(first);
        State::open(path.path()).unwrap();
    }

    #[test]
    fn a_lost_key_is_never_replaced() {
        let path = tempfile::tempdir().unwrap();
        fs::set_permissions(path.path(), PermissionsExt::from_mode(0o700)).unwrap();
        drop(State::open(path.path()).unwrap());
        fs::remove_file(key_path(path.path())).unwrap();
        assert!(matches!(State::open(path.path()), Err(StateError::KeyLost(_))));
        assert!(!key_path(path.path()).exists());
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        fs::write(&path, "").unwrap();
        let error = State::open(&path).unwrap_err();
        assert!(error.to_string().contains("state"), "{error}");
    }
}
