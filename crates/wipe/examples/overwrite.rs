//! Writes over loop devices, or reads them back, each on a thread of its own, and prints the seconds it took.
//!
//! ```sh
//! cargo build --release --package wipe --example overwrite
//! overwrite zeros /dev/loop0 /dev/loop1    # a pass of zeros over both, flushed
//! overwrite stream /dev/loop0              # a pass of the keyed stream
//! overwrite offload /dev/loop0             # the device zeroes itself
//! overwrite verify /dev/loop0              # reads everything: zeros
//! overwrite verify-stream /dev/loop0       # reads everything: the keyed stream
//! overwrite sample /dev/loop0              # reads 46,050 places: zeros
//! overwrite speed                          # the stream alone on one core, bytes a second
//! ```
//!
//! It fails where anything was not written, or is not as it shall be.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it is a program that prints figures")]

use std::{env, error::Error, path::Path, thread, time::Instant};

use disk::{AlignedBuffer, LoopDevice};
use protocol::wipe::Seed;
use wipe::{
    Unwatched,
    pass::{BadRanges, Gear, Key, Offload, Pass, PassOutcome, Pattern, offload, write},
    verification::{Content, Marking, Plan, Reading, look},
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const SEED: Seed = Seed([42; 32]);
/// How much of the stream is made to see how fast it is.
const SPEED_BYTES: u64 = 8 << 30;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let Some((verb, devices)) = arguments.split_first() else {
        return Err(
            "overwrite zeros|stream|offload|verify|verify-stream|sample|speed DEVICE…".into()
        );
    };
    if verb == "speed" {
        println!("{:.0}", speed()?);
        return Ok(());
    }
    let disks = devices.iter().map(|path| LoopDevice::open(Path::new(path)));
    let disks: Vec<LoopDevice> = disks.collect::<Result<_, _>>()?;
    let begun = Instant::now();
    let results: Vec<Outcome<()>> = thread::scope(|scope| {
        let work = |disk| scope.spawn(move || once(verb, disk));
        let threads: Vec<_> = disks.iter().map(work).collect();
        let end = |thread: thread::ScopedJoinHandle<'_, Outcome<()>>| {
            thread.join().unwrap_or_else(|_| Err("it panicked".into()))
        };
        threads.into_iter().map(end).collect()
    });
    let seconds = begun.elapsed().as_secs_f64();
    results.into_iter().collect::<Outcome<()>>()?;
    println!("{seconds:.3}");
    Ok(())
}

fn once(verb: &str, disk: &LoopDevice) -> Outcome<()> {
    let watch = Unwatched::new();
    let key = Key::of(&SEED, 0, 0);
    let gear = Gear::default();
    let pass = |pattern| Pass { pattern, number: 0, from: 0, gear };
    let must_be = |reading, content| {
        let plan = Plan { seed: SEED, disk: 0, reading, marking: Marking::Known, gear };
        let look = look(disk, &plan, content, 0, &BadRanges::default(), &watch);
        if look.is_clean() { Ok(()) } else { Err(format!("it is not clean: {look:?}").into()) }
    };
    match verb {
        "zeros" => whole(&write(disk, &pass(Pattern::Zeros), &watch)),
        "stream" => whole(&write(disk, &pass(Pattern::Stream(key)), &watch)),
        "offload" => match offload(disk, &watch) {
            Offload::Done(outcome) => whole(&outcome),
            Offload::Unsupported => Err("the device does not zero itself".into()),
        },
        "verify" => must_be(Reading::Whole, Content::Zeros),
        "verify-stream" => must_be(Reading::Whole, Content::Stream(key)),
        "sample" => must_be(Reading::TenThousandth, Content::Zeros),
        _ => Err(format!("there is no {verb}").into()),
    }
}

fn whole(outcome: &PassOutcome) -> Outcome<()> {
    if outcome.is_whole() { Ok(()) } else { Err(format!("it is not whole: {outcome:?}").into()) }
}

/// Returns how many bytes of the stream one core makes in a second.
fn speed() -> Outcome<f64> {
    let key = Key::of(&SEED, 0, 0);
    let mut buffer = AlignedBuffer::zeroed(2 << 20);
    let step = u64::try_from(buffer.len())?;
    let begun = Instant::now();
    for offset in (0..SPEED_BYTES / step).map(|number| number * step) {
        key.fill(offset, &mut buffer);
        std::hint::black_box(&mut buffer);
    }
    Ok(f64::from(u32::try_from(SPEED_BYTES >> 20)?) * 1_048_576.0 / begun.elapsed().as_secs_f64())
}
