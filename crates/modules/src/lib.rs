//! What a kernel's lists of modules say: which module drives what, what it needs, and which files are in the store.
//! Pure, over texts.
//!
//! The lists stand in `/lib/modules/RELEASE/` and describe every module that was built for this kernel, whether its file
//! is there or only in the store: [`Index`] reads depmod's, [`Store`] and [`Firmware`] read ours.
//!
//! ```
//! use modules::{Index, Store, Texts};
//!
//! let texts = Texts {
//!     alias: "alias pci:v00008086d000010D3sv*sd*bc*sc*i* e1000e\n".to_owned(),
//!     dep: "kernel/drivers/net/e1000e.ko.xz:\n".to_owned(),
//!     ..Texts::default()
//! };
//! let index = Index::new(&texts);
//! assert_eq!(index.drivers("pci:v00008086d000010D3sv00001AF4sd00000000bc02sc00i00"), ["e1000e"]);
//! assert_eq!(index.plan("e1000e"), ["kernel/drivers/net/e1000e.ko.xz"]);
//!
//! let line = format!("{} 1200 kernel/drivers/net/e1000e.ko.xz\n", "ab".repeat(32));
//! let store: Store = line.parse().expect("this is how a line looks");
//! let (place, entry) = store.get("kernel/drivers/net/e1000e.ko.xz").expect("it was in the text");
//! assert_eq!((place.is_firmware(), entry.length, entry.network_storage), (false, 1200, false));
//! assert_eq!(store.to_string(), line);
//! ```
#![forbid(unsafe_code)]

mod firmware;
mod index;
mod line;
mod pattern;
mod store;

pub use self::{
    firmware::{Firmware, Named},
    index::{Index, Texts, name},
    line::{Fault, ListError},
    store::{Digest, Entry, LONGEST_FILE, Place, Store},
};
