//! A copy of the checkout, and the programs of its tests.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fmt::Write as _,
    fs,
    io::{self, BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{PLACES, numbers::Number};

/// The crates whose tests are to see a flip.
const CRATES: [&str; 2] = ["devices", "wipe"];

/// Which tests, of which of them, those first that see most. The devices' own know nothing of the codecs.
const TESTS: [(usize, &[&str]); 3] =
    [(1, &["transcripts"]), (1, &["firmware", "--skip", "transcripts"]), (0, &[])];

/// Where each crate's switch is put.
const ROOTS: [&str; 2] = ["tests/devices/src/lib.rs", "crates/wipe/src/lib.rs"];

/// Tells whether a flip is the one that is tried.
const SWITCH: &str = r#"
#[doc(hidden)]
pub(crate) fn is_flipped(index: usize) -> bool {
    static INDEX: std::sync::OnceLock<Option<usize>> = std::sync::OnceLock::new();
    *INDEX.get_or_init(|| std::env::var("FLIPPED").ok()?.parse().ok()) == Some(index)
}
"#;

/// Where no bytes of a device are: a medium's cipher, courses of erasures, how often is asked, what is kept.
const OTHERS: [&str; 5] = ["medium.rs", "course.rs", "polling.rs", "tape.rs", "neighbours.rs"];

/// Tests that take longer hang, which is seen too.
const PATIENCE: Duration = Duration::from_mins(2);

/// How a flip ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It does not build.
    Unbuilt,
    /// A test turned red.
    Seen,
    /// None did.
    Survived,
}

/// A copy of the checkout.
#[derive(Debug)]
pub(crate) struct Build {
    root: PathBuf,
    /// What the files are that are changed, as they were when they were copied.
    sources: BTreeMap<PathBuf, String>,
    /// Of each of [`CRATES`].
    programs: Vec<PathBuf>,
}

impl Build {
    /// Copies what git knows of the checkout.
    pub(crate) fn copy(root: &Path) -> Result<Self, Box<dyn Error>> {
        // What an earlier one left, without what cargo built.
        for entry in fs::read_dir(root).into_iter().flatten().filter_map(Result::ok) {
            if entry.file_type()?.is_dir() && entry.file_name() != "target" {
                fs::remove_dir_all(entry.path())?;
            }
        }
        let mut sources = BTreeMap::new();
        let listed = Command::new("git").args(["ls-files", "-z"]).output()?;
        for path in String::from_utf8(listed.stdout)?.split_terminator('\0') {
            let Ok(bytes) = fs::read(path) else { continue };
            put(&root.join(path), &bytes)?;
            if ROOTS.contains(&path)
                || PLACES.iter().any(|place| Path::new(path).starts_with(place))
            {
                sources.insert(PathBuf::from(path), String::from_utf8(bytes)?);
            }
        }
        Ok(Self { root: root.to_owned(), sources, programs: Vec::new() })
    }

    /// The sources whose numbers are flipped.
    pub(crate) fn sources(&self) -> impl Iterator<Item = (&Path, &str)> {
        let is_meant = |file: &Path| {
            PLACES.iter().filter_map(|place| file.strip_prefix(place).ok()).any(|within| {
                let is_test = within.iter().any(|part| part == "tests" || part == "tests.rs");
                let is_source = within.extension().is_some_and(|kind| kind == "rs");
                is_source && !is_test && !OTHERS.iter().any(|name| within.ends_with(name))
            })
        };
        let sources = self.sources.iter().filter(move |(file, _)| is_meant(file));
        sources.map(|(file, source)| (file.as_path(), source.as_str()))
    }

    /// Builds all flips that can stand behind a switch, and lists them and those that cannot.
    pub(crate) fn switch(
        &mut self,
        numbers: &[Number],
    ) -> Result<(Vec<usize>, Vec<usize>), Box<dyn Error>> {
        let mut fixed: BTreeSet<usize> =
            (0..numbers.len()).filter(|index| numbers[*index].is_fixed).collect();
        loop {
            for (file, source) in &self.sources {
                let mut of_file: Vec<usize> = (0..numbers.len())
                    .filter(|index| numbers[*index].file == *file && !fixed.contains(index))
                    .collect();
                of_file.sort_by_key(|index| numbers[*index].at.start);
                let mut source = switched(source, numbers, &of_file);
                if ROOTS.iter().any(|root| file == Path::new(root)) {
                    source += SWITCH;
                }
                put(&self.root.join(file), source.as_bytes())?;
            }
            let Err(complaint) = self.build("0")? else {
                self.programs = self.build("1")??;
                let switched = (0..numbers.len()).filter(|index| !fixed.contains(index)).collect();
                return Ok((switched, fixed.into_iter().collect()));
            };
            let before = fixed.len();
            for (file, line) in complaint.lines().filter_map(place) {
                let is_there =
                    |index: &usize| numbers[*index].file == file && numbers[*index].line == line;
                fixed.extend((0..numbers.len()).filter(is_there));
            }
            if fixed.len() == before {
                return Err(format!("what cannot be switched is not clear:\n{complaint}").into());
            }
        }
    }

    /// Runs the tests with one flip on, and stops where the first turns red.
    pub(crate) fn run(&self, index: Option<usize>, number: &Number) -> Result<End, Box<dyn Error>> {
        Ok(self.run_programs(&self.programs, index, number)?)
    }

    /// Builds one flip without a switch, and runs the tests.
    pub(crate) fn run_alone(&self, number: &Number) -> Result<End, Box<dyn Error>> {
        for (file, source) in &self.sources {
            let flipped = if *file == number.file {
                &format!("{}{}{}", &source[..number.at.start], number.new, &source[number.at.end..])
            } else {
                source
            };
            put(&self.root.join(file), flipped.as_bytes())?;
        }
        let Ok(programs) = self.build("0")? else { return Ok(End::Unbuilt) };
        Ok(self.run_programs(&programs, None, number)?)
    }

    /// Builds the tests, for all flips so that they are fast, for one so that it is built fast; what the compiler says where it cannot.
    fn build(&self, optimization: &str) -> Result<Result<Vec<PathBuf>, String>, Box<dyn Error>> {
        let mut programs = Vec::new();
        for package in CRATES {
            let Output { status, stderr, .. } = self.cargo(package, optimization).output()?;
            let said = String::from_utf8_lossy(&stderr).into_owned();
            if !status.success() {
                return Ok(Err(said));
            }
            let program = said.lines().find_map(|line| {
                Some(
                    line.trim()
                        .strip_prefix("Executable ")?
                        .split_once('(')?
                        .1
                        .trim_end_matches(')')
                        .to_owned(),
                )
            });
            programs.push(
                self.root.join(program.ok_or("cargo names no program of tests")?).canonicalize()?,
            );
        }
        Ok(Ok(programs))
    }

    fn run_programs(
        &self,
        programs: &[PathBuf],
        index: Option<usize>,
        number: &Number,
    ) -> io::Result<End> {
        let is_of_devices = number.file.starts_with(PLACES[1]);
        let tests = TESTS.iter().filter(|(of, _)| *of != 0 || is_of_devices || index.is_none());
        for (of, names) in tests {
            let mut command = Command::new(&programs[*of]);
            command.current_dir(&self.root).args(*names).arg("--test-threads=1");
            command.env("PROPTEST_RNG_SEED", "1").env("PROPTEST_CASES", "32").env_remove("FLIPPED");
            command.envs(index.map(|index| ("FLIPPED", index.to_string())));
            if !is_green(&mut command)? {
                return Ok(End::Seen);
            }
        }
        Ok(End::Survived)
    }

    fn cargo(&self, package: &str, optimization: &str) -> Command {
        let mut command = Command::new("cargo");
        command.current_dir(&self.root).args(["test", "--no-run", "--lib", "--package", package]);
        command.args(["--locked", "--offline", "--message-format=short"]);
        // Beside this one's own, and with less to write.
        command.env("CARGO_TARGET_DIR", "target").env("CARGO_INCREMENTAL", "1");
        command.env("CARGO_PROFILE_DEV_DEBUG", "0").env("RUSTFLAGS", "--cap-lints=warn");
        command.env("CARGO_PROFILE_DEV_OPT_LEVEL", optimization);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }
}

/// Writes a file. What is the same keeps its time, so that it is not built again.
fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    fs::write(path, bytes)
}

/// Puts switches into a source.
fn switched(source: &str, numbers: &[Number], indices: &[usize]) -> String {
    let (mut text, mut end) = (String::with_capacity(source.len() * 2), 0);
    for index in indices {
        let number = &numbers[*index];
        text += &source[end..number.at.start];
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "(if crate::is_flipped({index}) {{ {} }} else {{ {} }})",
            number.new, number.old
        );
        end = number.at.end;
    }
    text + &source[end..]
}

/// Where the compiler found an error: `FILE:LINE:COLUMN: error…`.
fn place(complaint: &str) -> Option<(PathBuf, usize)> {
    let (place, _) = complaint.split_once(": error")?;
    let mut parts = place.split(':');
    Some((PathBuf::from(parts.next()?), parts.next()?.parse().ok()?))
}

/// Runs tests until the first turns red; one that hangs is red.
fn is_green(command: &mut Command) -> io::Result<bool> {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let lines = child.stdout.take().map(|pipe| BufReader::new(pipe).lines());
    let reader = thread::spawn(move || {
        let is_red = |line: io::Result<String>| line.is_ok_and(|line| line.ends_with("FAILED"));
        lines.is_some_and(|mut lines| lines.any(is_red))
    });
    let begun = Instant::now();
    while !reader.is_finished() && begun.elapsed() < PATIENCE {
        thread::park_timeout(Duration::from_millis(10));
    }
    let is_late = !reader.is_finished();
    if is_late {
        child.kill()?;
    }
    let is_red = reader.join().unwrap_or(true);
    if is_red {
        // It may have ended by itself.
        drop(child.kill());
    }
    Ok(child.wait()?.success() && !is_red && !is_late)
}
