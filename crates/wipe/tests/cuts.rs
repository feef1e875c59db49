//! Power cuts at many points of whole wipes at `redline`: before, in and after each command, write, flush, wait and step
//! of the journal. The next boots go on, and end with an honest verdict.
//!
//! `DRYDOCK_POWER_CUTS` says how many points of each group of disks; `make soak` sets it to 1,000.
//! What fails names its seed: `DRYDOCK_POWER_SEED` with one point repeats it.
#![forbid(unsafe_code)]

#[path = "cuts/commands.rs"]
mod commands;
#[path = "cuts/drive.rs"]
mod drive;
#[path = "cuts/machine.rs"]
mod machine;
#[expect(dead_code, reason = "installs need more of it")]
#[path = "../../install/tests/it/medium.rs"]
mod medium;
#[path = "cuts/redline.rs"]
mod redline;

/// Returns how many points are tried, and the seed of the first.
fn points(usual: u64) -> (u64, u64) {
    let told = |name: &str| {
        let text = std::env::var(name).ok();
        text.map(|text| text.parse().expect("a number"))
    };
    (told("DRYDOCK_POWER_CUTS").unwrap_or(usual), told("DRYDOCK_POWER_SEED").unwrap_or(1))
}

/// Tries points, and says of one that fails how to try it again.
fn each_point(usual: u64, story: impl Fn(u64)) {
    let (points, first) = points(usual);
    for seed in first..first + points {
        let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| story(seed)));
        if let Err(cause) = tried {
            let words = cause.downcast_ref::<String>().map(String::as_str);
            let words = words.or_else(|| cause.downcast_ref::<&str>().copied());
            let words = words.unwrap_or("a panic without words");
            panic!("DRYDOCK_POWER_SEED={seed} DRYDOCK_POWER_CUTS=1 repeats it: {words}");
        }
    }
}
