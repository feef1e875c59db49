//! `harbour`: removes ephemeral state of an installed system, and touches nothing else.
//!
//! ```text
//! partitions ─► which system, mounted where ─► the list's rules there ─► walk, bottom up ─► looked at again
//! ```
//!
//! [`list`] says what goes and what is never entered; [`clean()`] walks. No link is followed, no mount and no Btrfs
//! subvolume is entered, nothing is opened but directories. What is removed is removed by name: a file that has another
//! name elsewhere stays there as it is. Nothing is erased in the standards' sense: what a removed file held is still on
//! the medium.

mod clean;
mod cleaned;
mod heard;
pub mod list;
mod mounting;
mod pattern;
mod run;
mod system;
mod table;
mod volume;

pub use self::{
    clean::{Mode, Removed, clean},
    cleaned::{Cleaned, Count, Left, Why},
    mounting::{Filesystems, Live, MountError, Mounted, Window},
    pattern::List,
    run::{Filesystem, Report, run},
    system::{Candidate, Place, System, candidates, find, volumes},
};
