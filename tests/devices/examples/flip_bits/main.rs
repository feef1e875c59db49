//! Flips one bit of one number at a time in the codecs of devices' commands and in the devices that are made up, and
//! looks whether a test turns red.
//!
//! ```text
//! flip_bits COUNT SEED [FILES]    so many numbers, `all` or a part of them by lot (`600-900`: what comes from the 600th on
//!                                 and before the 900th), of files whose path holds FILES; the seed says which bit of each, too
//! flip_bits OUTPUT SEED           those that survived an earlier run, which wrote this file
//! ```
//!
//! Works in copies of the checkout below `target/`, one for each processor. All flips that can be are built at once, each
//! behind a switch, so that one takes as long as the tests do; those in constants and patterns are built one by one. What survives is
//! listed, and fails the run unless `tests/devices/examples/flip_bits/allowed.txt` says why it may.
#![forbid(unsafe_code)]
#![expect(clippy::disallowed_methods, reason = "it runs cargo, and waits for it")]
#![expect(clippy::print_stdout, reason = "it is read by who runs it")]

mod build;
mod numbers;

use std::{
    collections::BTreeSet,
    env,
    error::Error,
    fs,
    path::Path,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use self::{
    build::{Build, End},
    numbers::Number,
};

/// Whose numbers are flipped.
const PLACES: [&str; 2] = ["crates/wipe/src/firmware", "tests/devices/src"];

/// How many flips ended how.
#[derive(Debug, Default)]
struct Tally {
    tried: usize,
    seen: usize,
    unbuilt: usize,
    allowed: usize,
    survived: usize,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let count = arguments.next().unwrap_or_else(|| "100".to_owned());
    let seed: u64 = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let files = arguments.next().unwrap_or_default();
    let allowed = fs::read_to_string("tests/devices/examples/flip_bits/allowed.txt")?;
    let allowed: BTreeSet<String> =
        allowed.lines().filter_map(|line| Some(line.split_once(" # ")?.0.to_owned())).collect();
    let workers = thread::available_parallelism()?.get();
    let copies = (0..workers)
        .map(|worker| Build::copy(&Path::new("target/flip-bits").join(worker.to_string())));
    let mut builds = copies.collect::<Result<Vec<_>, _>>()?;
    let build = &mut builds[0];
    let mut numbers = Vec::new();
    for (file, source) in build.sources() {
        numbers.extend(numbers::find(file, source, seed));
    }
    numbers.retain(|number| number.file.to_string_lossy().contains(&files));
    let all = numbers.len();
    numbers.sort_by_cached_key(|number| {
        numbers::hash(format!("{seed}{}{:?}", number.name, number.at).as_bytes())
    });
    if let Ok(earlier) = fs::read_to_string(&count) {
        numbers.retain(|number| {
            earlier.contains(&format!("SURVIVED {} → {}", number.name, number.new))
        });
    } else if let Some((first, end)) = count.split_once('-') {
        numbers = numbers.into_iter().take(end.parse()?).skip(first.parse()?).collect();
    } else if count != "all" {
        numbers.truncate(count.parse()?);
    }
    let (switched, fixed) = build.switch(&numbers)?;
    println!(
        "{} of {all} numbers, seed {seed}, {} of them built one by one",
        numbers.len(),
        fixed.len()
    );
    if build.run(None, &numbers[0])? != End::Survived {
        return Err("the tests are red before anything was flipped".into());
    }

    let tally = Mutex::new(Tally::default());
    let tell = |number: &Number, end| {
        let mut tally = tally.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        tally.tried += 1;
        if tally.tried % 100 == 0 {
            println!("{} of {} tried", tally.tried, numbers.len());
        }
        match end {
            End::Seen => tally.seen += 1,
            End::Unbuilt => tally.unbuilt += 1,
            End::Survived if allowed.contains(&number.name) => tally.allowed += 1,
            End::Survived => {
                tally.survived += 1;
                println!("SURVIVED {} → {} (line {})", number.name, number.new, number.line);
            }
        }
    };
    for (indices, is_alone) in [(switched, false), (fixed, true)] {
        let next = AtomicUsize::new(0);
        let work = |worker: usize| -> Result<(), String> {
            while let Some(&index) = indices.get(next.fetch_add(1, Ordering::Relaxed)) {
                let number = &numbers[index];
                let end = if is_alone {
                    builds[worker].run_alone(number)
                } else {
                    builds[0].run(Some(index), number)
                };
                tell(number, end.map_err(|error| format!("{}: {error}", number.name))?);
            }
            Ok(())
        };
        thread::scope(|scope| {
            let work = &work;
            let running: Vec<_> =
                (0..workers).map(|worker| scope.spawn(move || work(worker))).collect();
            running
                .into_iter()
                .try_for_each(|worker| worker.join().map_err(|_| "a worker panicked".to_owned())?)
        })?;
    }
    let Tally { seen, unbuilt, allowed, survived, .. } = tally.into_inner()?;
    println!(
        "{seen} turned a test red, {unbuilt} do not build, {allowed} may survive, {survived} may not and did"
    );
    Ok(if survived == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
