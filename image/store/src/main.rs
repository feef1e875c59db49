//! Divides a kernel's modules and their firmware into the core that every machine loads, the store, and packs.
//!
//! ```text
//!  lists of the core ──┐                           ┌─► modules/   the core, with the lists of everything
//!                      ├─► union ──► store divide ─┼─► store/     every other file, named by its SHA-256
//!  lists of the store ─┘   (one depmod)            └─► packs/     what one network card needs besides the core
//!                                                        │
//!                                    store check ◄───────┘
//! ```
//!
//! `store divide BUILD` reads `BUILD/union` and `BUILD/union.named` (image/select-modules) and the firmware of Debian's
//! packages in `BUILD/parts`. `store check BUILD CARDS...` looks at what came of it, and prints one table.
//! `store board BUILD PARTS TREES...` looks whether the core drives what leads to a board's network port and console.
#![forbid(unsafe_code)]

mod board;
mod cards;
mod check;
mod compression;
mod divide;
mod division;
mod firmware;
mod kernel;
mod layout;
mod lists;
mod modinfo;
mod pack;
mod parallel;
mod samples;
mod supply;
mod table;
mod tree;
#[cfg(test)]
mod whole;

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::bail;

use crate::layout::Layout;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["divide", build] => divide::divide(&Layout::new(build)),
        ["check", build, ref cards @ ..] => {
            let layout = Layout::new(build);
            let texts: Result<Vec<String>, _> =
                cards.iter().map(|cards| kernel::text(Path::new(cards))).collect();
            table::print(&check::check(&layout, &texts?.concat())?, &layout)
        }
        ["board", build, parts, ref trees @ ..] => {
            let trees: Vec<PathBuf> = trees.iter().map(PathBuf::from).collect();
            let said = board::check(&Layout::new(build), Path::new(parts), &trees)?;
            table::say(&said)
        }
        _ => bail!(
            "usage: store divide BUILD; store check BUILD CARDS...; store board BUILD PARTS TREES..."
        ),
    }
}
