//! The engine as its caller sees it, on media and from sources that fail in every way we know.
#![forbid(unsafe_code)]

mod after;
mod cuts;
mod faults;
mod foreign;
mod medium;
mod order;
mod progress;
mod source;
mod stop;
mod table;
mod torn;
mod zeroing;
