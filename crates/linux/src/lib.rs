//! Safe doors into the kernel: the only crate that says `unsafe`.
