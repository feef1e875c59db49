//! Flips one bit of one number at a time in the codecs of devices' commands and in the devices that are made up, and
//! looks whether a test turns red.
//!
//! ```text
//! flip_bits COUNT SEED       so many flips, chosen by a seed; COUNT `all` is one of each number
//! ```
//!
//! Works in a copy of the checkout below `target/`. What survives is listed, and fails the run unless
//! `tests/devices/examples/flip_bits.allow` says why it may.
#![forbid(unsafe_code)]
#![expect(clippy::disallowed_methods, reason = "it runs cargo, and waits for it")]
#![expect(clippy::print_stdout, reason = "it is read by who runs it")]

use std::{
    collections::BTreeSet,
    env,
    error::Error,
    fs,
    io::{self, Read as _},
    ops::Range,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Whose numbers are flipped.
const PLACES: [&str; 2] = ["crates/wipe/src/firmware", "tests/devices/src"];

/// The tests that are to see it.
const TESTS: [&[&str]; 2] = [
    &["test", "--quiet", "--package", "devices", "--lib"],
    &["test", "--quiet", "--package", "wipe", "--lib", "firmware"],
];

/// Where no bytes of a device are: a medium's cipher, courses of erasures, how often is asked, what is kept.
const OTHERS: [&str; 4] = ["medium.rs", "course.rs", "polling.rs", "tape.rs"];

/// One that takes longer hangs, which is seen too.
const PATIENCE: Duration = Duration::from_mins(5);

/// A number in a source.
#[derive(Debug, Clone)]
struct Number {
    file: PathBuf,
    line: usize,
    /// The line without what surrounds it: allowances name it.
    text: String,
    at: Range<usize>,
}

/// How a flip ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It does not build.
    Unbuilt,
    /// A test turned red.
    Seen,
    /// None did.
    Survived,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let count = arguments.next().unwrap_or_else(|| "100".to_owned());
    let seed: u64 = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let root = PathBuf::from("target/flip-bits");
    copy(&root)?;
    let allowed = fs::read_to_string("tests/devices/examples/flip_bits.allow")?;
    let allowed: BTreeSet<String> =
        allowed.lines().filter_map(|line| Some(line.split_once(" # ")?.0.to_owned())).collect();
    let mut numbers = Vec::new();
    for place in PLACES {
        for file in sources(Path::new(place))? {
            numbers.extend(find(&file, &fs::read_to_string(&file)?));
        }
    }
    let mut chance = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for index in (1..numbers.len()).rev() {
        let other = usize::try_from(next(&mut chance) >> 16)? % (index + 1);
        numbers.swap(index, other);
    }
    let all = numbers.len();
    if count != "all" {
        numbers.truncate(count.parse()?);
    }
    println!("{} of {all} numbers, seed {seed}", numbers.len());
    if run(&root, &TESTS)? != End::Survived {
        return Err("the tests are red before anything was flipped".into());
    }
    let (mut red, mut broken, mut accepted, mut survivors) = (0, 0, 0, 0);
    for number in &numbers {
        let source = fs::read_to_string(&number.file)?;
        let old = &source[number.at.clone()];
        let new = flipped(old, next(&mut chance));
        let changed = format!("{}{new}{}", &source[..number.at.start], &source[number.at.end..]);
        let copy = root.join(&number.file);
        fs::write(&copy, changed)?;
        let tests = if number.file.starts_with(PLACES[0]) { &TESTS[1..] } else { &TESTS[..] };
        let end = run(&root, tests);
        fs::write(&copy, &source)?;
        let name = format!("{}: {}: {old}", number.file.display(), number.text);
        match end? {
            End::Seen => red += 1,
            End::Unbuilt => broken += 1,
            End::Survived if allowed.contains(&name) => accepted += 1,
            End::Survived => {
                survivors += 1;
                println!("SURVIVED {name} → {new} (line {})", number.line);
            }
        }
    }
    println!(
        "{red} turned a test red, {broken} do not build, {accepted} may survive, {survivors} may not and did"
    );
    Ok(if survivors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Copies what git knows of the checkout.
fn copy(root: &Path) -> Result<(), Box<dyn Error>> {
    let listed = Command::new("git").args(["ls-files", "-z"]).output()?;
    for path in String::from_utf8(listed.stdout)?.split_terminator('\0') {
        let (from, to) = (Path::new(path), root.join(path));
        // What is the same keeps its time, so that it is not built again.
        let Ok(bytes) = fs::read(from) else { continue };
        if fs::read(&to).is_ok_and(|there| there == bytes) {
            continue;
        }
        fs::create_dir_all(to.parent().ok_or("a file without a directory")?)?;
        fs::write(to, bytes)?;
    }
    Ok(())
}

/// Lists sources without those of tests.
fn sources(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let is_other = OTHERS.iter().any(|name| path.ends_with(name));
        if is_other || path.file_stem().is_some_and(|name| name == "tests") {
            continue;
        }
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Finds whole numbers outside comments, strings and tests.
fn find(file: &Path, source: &str) -> Vec<Number> {
    let end = source.find("#[cfg(test)]\nmod tests {").unwrap_or(source.len());
    let (mut found, mut start) = (Vec::new(), 0);
    for (line, text) in (1..).zip(source[..end].split_inclusive('\n')) {
        let code = text.find("//").map_or(text, |comment| &text[..comment]);
        // How long something may take is no byte of a command.
        let code = if code.contains("Duration::") { "" } else { code };
        let bytes = code.as_bytes();
        let (mut at, mut is_string) = (0, false);
        while at < bytes.len() {
            let byte = bytes[at];
            if byte == b'"' {
                is_string = !is_string;
            }
            let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            let begins = byte.is_ascii_digit() && (at == 0 || !is_word(bytes[at - 1]));
            // Not what a tuple's fields are called.
            let is_field = at > 0 && bytes[at - 1] == b'.' && (at < 2 || bytes[at - 2] != b'.');
            if !begins || is_string || is_field {
                at += 1;
                continue;
            }
            let length = bytes[at..].iter().take_while(|byte| is_word(**byte)).count();
            let digits = if code[at..].starts_with("0x") {
                length
            } else {
                bytes[at..at + length]
                    .iter()
                    .take_while(|b| b.is_ascii_digit() || **b == b'_')
                    .count()
            };
            found.push(Number {
                file: file.to_owned(),
                line,
                text: code.trim().to_owned(),
                at: start + at..start + at + digits,
            });
            at += length;
        }
        start += text.len();
    }
    found
}

/// Flips one bit of a number, among those that it is written with.
fn flipped(text: &str, chance: u64) -> String {
    let plain = text.replace('_', "");
    if let Some(digits) = plain.strip_prefix("0x") {
        let bits = 4 * digits.len();
        let bit = usize::try_from(chance >> 16).unwrap_or(0) % bits;
        let number = u128::from_str_radix(digits, 16).unwrap_or(0) ^ 1 << bit;
        return format!("0x{number:0width$x}", width = digits.len());
    }
    let number: u128 = plain.parse().unwrap_or(0);
    let bits = (u128::BITS - number.leading_zeros()).max(1);
    let bit = u32::try_from(chance >> 40).unwrap_or(0) % bits;
    (number ^ 1 << bit).to_string()
}

/// Builds and runs tests, each only when those before have seen nothing. The devices' own know nothing of the codecs.
fn run(root: &Path, tests: &[&[&str]]) -> Result<End, Box<dyn Error>> {
    for test in tests {
        let mut child = cargo(root, test).spawn()?;
        // Read while it runs: what does not build has much to say.
        let complaint = child.stderr.take().map(|mut pipe| {
            thread::spawn(move || {
                let mut words = Vec::new();
                pipe.read_to_end(&mut words).map(|_| words)
            })
        });
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if begun.elapsed() > PATIENCE {
                child.kill()?;
                child.wait()?;
                return Ok(End::Seen);
            }
            thread::park_timeout(Duration::from_millis(50));
        };
        let words = complaint.and_then(|thread| thread.join().ok()).transpose()?;
        let words = String::from_utf8_lossy(&words.unwrap_or_default()).into_owned();
        if words.contains("could not compile") {
            return Ok(End::Unbuilt);
        }
        if !status.success() {
            return Ok(End::Seen);
        }
    }
    Ok(End::Survived)
}

fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(root).args(arguments).args(["--locked", "--offline"]);
    // Beside this one's own, and with less to write.
    command.env("CARGO_TARGET_DIR", "target").env("CARGO_INCREMENTAL", "1");
    command.env("CARGO_PROFILE_DEV_DEBUG", "0").env("PROPTEST_RNG_SEED", "1");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Marsaglia's xorshift.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}
