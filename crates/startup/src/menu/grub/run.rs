//! Follows a script of GRUB's up to what its default entry loads.

use std::{collections::BTreeMap, rc::Rc};

use super::{
    NotPlain,
    parse::{Piece, Statement, Word},
};

/// More commands than this are carried out by no generated menu.
const STEP_LIMIT: u32 = 20_000;
/// Functions call each other no deeper.
const DEPTH_LIMIT: usize = 16;
/// The kernel takes 2048 bytes; a script that makes longer texts is no menu.
const TEXT_LIMIT: usize = 16 << 10;

/// What a script can ask of a disk. Devices are spelled as GRUB does, `hd0,gpt2`.
pub(crate) trait Disk {
    /// Finds the device of a filesystem or with a file.
    fn search(&self, by: Search<'_>) -> Option<String>;

    /// Says whether a file is there; nothing is said of directories.
    fn has_file(&self, device: &str, path: &str) -> bool;
}

/// By what a filesystem is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Search<'s> {
    Uuid(&'s str),
    Label(&'s str),
    File(&'s str),
}

/// A file of a device.
pub(crate) type Place = (String, String);

/// What an entry loads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    /// A kernel.
    Kernel { title: String, kernel: Place, initrds: Vec<Place>, options: String },
    /// Entries of the Boot Loader Specification, on a device. The variables that they may name come with it.
    Entries { device: String, variables: BTreeMap<String, String> },
}

struct Entry {
    words: Vec<String>,
    body: Rc<Vec<Statement>>,
    is_submenu: bool,
}

#[derive(Default)]
struct Loaded {
    kernel: Option<(Place, String)>,
    initrds: Vec<Place>,
}

pub(super) struct Run<'d> {
    variables: BTreeMap<String, String>,
    functions: BTreeMap<String, Rc<Vec<Statement>>>,
    environment: BTreeMap<String, String>,
    disk: &'d dyn Disk,
    entries: Vec<Entry>,
    loaded: Loaded,
    /// Where `blscfg` was called.
    listed: Option<String>,
    /// Of the functions that run, the innermost last.
    arguments: Vec<Vec<String>>,
    /// Whether the last command succeeded.
    succeeded: bool,
    steps: u32,
}

impl<'d> Run<'d> {
    pub(super) fn new(
        device: &str,
        directory: &str,
        environment: &BTreeMap<String, String>,
        platform: &str,
        disk: &'d dyn Disk,
    ) -> Self {
        let prefix = format!("({device}){directory}");
        let processor = if platform == "efi" { "x86_64" } else { "i386" };
        let mut variables: BTreeMap<String, String> = [
            ("root", device),
            ("prefix", prefix.as_str()),
            ("config_directory", prefix.as_str()),
            ("grub_platform", platform),
            ("grub_cpu", processor),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        // What every GRUB since 2.00 says of itself.
        for feature in [
            "feature_200_final",
            "feature_all_video_module",
            "feature_chainloader_bpb",
            "feature_default_font_path",
            "feature_menuentry_id",
            "feature_menuentry_options",
            "feature_nativedisk_cmd",
            "feature_ntldr",
            "feature_platform_search_hint",
            "feature_timeout_style",
        ] {
            variables.insert(feature.to_owned(), "y".to_owned());
        }
        Self {
            variables,
            functions: BTreeMap::new(),
            environment: environment.clone(),
            disk,
            entries: Vec::new(),
            loaded: Loaded::default(),
            listed: None,
            arguments: Vec::new(),
            succeeded: true,
            steps: 0,
        }
    }

    /// Follows the script, then its default entry, through submenus.
    pub(super) fn choose(mut self, script: &[Statement]) -> Result<Choice, NotPlain> {
        self.all(script)?;
        if let Some(device) = self.listed.take() {
            // A menu of listed and written entries would have to be counted through.
            if self.entries.iter().any(|entry| !is_for_firmware(entry)) {
                return Err(NotPlain::new("it has entries of two kinds"));
            }
            return Ok(Choice::Entries { device, variables: self.variables });
        }
        let default = self.variables.get("default").cloned().unwrap_or_default();
        let mut path = default.split('>').map(str::to_owned).collect::<Vec<_>>().into_iter();
        loop {
            let wanted = path.next().unwrap_or_default();
            let entries = std::mem::take(&mut self.entries);
            let index = find(&entries, &wanted).unwrap_or(0);
            let entry = entries.into_iter().nth(index);
            let entry = entry.ok_or_else(|| NotPlain::new("it has no entries"))?;
            let title = entry.words.first().cloned().unwrap_or_default();
            self.variables.insert("chosen".to_owned(), title.clone());
            self.all(&entry.body)?;
            if entry.is_submenu {
                continue;
            }
            let Loaded { kernel, initrds } = self.loaded;
            let (kernel, options) =
                kernel.ok_or_else(|| NotPlain::new(format!("entry {title:?} loads no kernel")))?;
            return Ok(Choice::Kernel { title, kernel, initrds, options });
        }
    }

    fn all(&mut self, statements: &[Statement]) -> Result<bool, NotPlain> {
        let mut result = true;
        for statement in statements {
            result = self.one(statement)?;
        }
        Ok(result)
    }

    fn one(&mut self, statement: &Statement) -> Result<bool, NotPlain> {
        self.steps += 1;
        if self.steps > STEP_LIMIT {
            return Err(NotPlain::new("it does not end"));
        }
        match statement {
            Statement::Command(words) => {
                let words = self.expand_all(words)?;
                self.succeeded = self.command(&words)?;
                Ok(self.succeeded)
            }
            Statement::If { arms, other } => {
                for (condition, body) in arms {
                    if self.all(condition)? {
                        return self.all(body);
                    }
                }
                self.all(other)
            }
            Statement::Function { name, body } => {
                let name = self.expand(name)?.concat();
                self.functions.insert(name, Rc::clone(body));
                Ok(true)
            }
            Statement::Entry { words, body, is_submenu } => {
                let words = self.expand_all(words)?;
                self.entries.push(Entry { words, body: Rc::clone(body), is_submenu: *is_submenu });
                Ok(true)
            }
            Statement::Loop(kind) => Err(NotPlain::new(format!("it has a loop ({kind})"))),
        }
    }

    fn expand_all(&self, words: &[Word]) -> Result<Vec<String>, NotPlain> {
        let mut all = Vec::new();
        for word in words {
            all.extend(self.expand(word)?);
        }
        if all.iter().map(String::len).sum::<usize>() > TEXT_LIMIT {
            return Err(NotPlain::new("it makes texts that are too long"));
        }
        Ok(all)
    }

    /// Puts values in their places: an unquoted one may make several words of one, or none.
    fn expand(&self, word: &Word) -> Result<Vec<String>, NotPlain> {
        let mut words: Vec<String> = Vec::new();
        let mut open = false;
        for piece in word {
            let (text, quoted) = match piece {
                Piece::Text(text) => (text.as_str(), true),
                Piece::Variable { name, quoted } => (self.value(name)?, *quoted),
            };
            let mut add = |text: &str, open: &mut bool| {
                if !*open {
                    words.push(String::new());
                }
                if let Some(last) = words.last_mut() {
                    last.push_str(text);
                }
                *open = true;
            };
            if quoted {
                add(text, &mut open);
                continue;
            }
            for (index, part) in text.split_whitespace().enumerate() {
                if index > 0 || text.starts_with(char::is_whitespace) {
                    open = false;
                }
                add(part, &mut open);
            }
            if !text.is_empty() && text.ends_with(char::is_whitespace) {
                open = false;
            }
        }
        Ok(words)
    }

    fn value(&self, name: &str) -> Result<&str, NotPlain> {
        if let Ok(number) = name.parse::<usize>() {
            let arguments = self.arguments.last();
            let argument = number.checked_sub(1).and_then(|index| arguments?.get(index));
            return Ok(argument.map_or("", String::as_str));
        }
        match name {
            "?" => Ok(if self.succeeded { "0" } else { "1" }),
            "@" | "*" | "#" => Err(NotPlain::new(format!("it uses ${name}"))),
            name => Ok(self.variables.get(name).map_or("", String::as_str)),
        }
    }

    fn command(&mut self, words: &[String]) -> Result<bool, NotPlain> {
        let Some((name, arguments)) = words.split_first() else { return Ok(true) };
        if let Some((variable, value)) = name.split_once('=').filter(|_| arguments.is_empty()) {
            self.variables.insert(variable.to_owned(), value.to_owned());
            return Ok(true);
        }
        if let Some(body) = self.functions.get(name).cloned() {
            if self.arguments.len() >= DEPTH_LIMIT {
                return Err(NotPlain::new("its functions call themselves"));
            }
            self.arguments.push(arguments.to_vec());
            let result = self.all(&body);
            self.arguments.pop();
            return result;
        }
        match name.as_str() {
            "set" => {
                for pair in arguments {
                    let (variable, value) = pair.split_once('=').unwrap_or((pair, ""));
                    self.variables.insert(variable.to_owned(), value.to_owned());
                }
                Ok(true)
            }
            "unset" => {
                for variable in arguments {
                    self.variables.remove(variable);
                }
                Ok(true)
            }
            "load_env" => {
                self.variables.extend(self.environment.clone());
                Ok(true)
            }
            "[" | "test" => {
                let end = arguments.len() - usize::from(arguments.last().is_some_and(|w| w == "]"));
                self.test(&arguments[..end])
            }
            "search" | "search.fs_uuid" | "search.fs_label" | "search.file" => {
                Ok(self.search(name, arguments))
            }
            "linux" | "linuxefi" | "linux16" => {
                let (file, options) =
                    arguments.split_first().ok_or_else(|| NotPlain::new("linux without a file"))?;
                self.loaded.kernel = Some((self.place(file)?, options.join(" ")));
                self.loaded.initrds.clear();
                Ok(true)
            }
            "initrd" | "initrdefi" | "initrd16" => {
                for file in arguments {
                    let place = self.place(file)?;
                    self.loaded.initrds.push(place);
                }
                Ok(true)
            }
            "blscfg" => {
                if !arguments.is_empty() {
                    return Err(NotPlain::new("blscfg with arguments"));
                }
                self.listed = self.variables.get("root").cloned();
                Ok(true)
            }
            "fwsetup" if arguments == ["--is-supported"] => Ok(true),
            // Nobody holds a key down.
            "keystatus" | "false" | "sendkey" => Ok(false),
            // Drivers, show, and what is kept for the next start.
            "insmod" | "rmmod" | "echo" | "export" | "save_env" | "loadfont"
            | "background_image" | "background_color" | "terminal_output" | "terminal_input"
            | "terminal" | "serial" | "play" | "sleep" | "clear" | "true" | "keymap"
            | "increment" | "decrement" | "gettext" | "locale_dir" | "videoinfo" | "password"
            | "password_pbkdf2" => Ok(true),
            other => Err(NotPlain::new(format!("it has the command {other:?}"))),
        }
    }

    /// Sets a variable to the device that is found; not found, it stays as it is, as in GRUB.
    fn search(&mut self, name: &str, arguments: &[String]) -> bool {
        let mut variable = "root";
        let mut plain = Vec::new();
        let mut kind = match name {
            "search.fs_uuid" => Some("--fs-uuid"),
            "search.fs_label" => Some("--label"),
            "search.file" => Some("--file"),
            _ => None,
        };
        let mut rest = arguments.iter().map(String::as_str);
        while let Some(argument) = rest.next() {
            match argument {
                "-u" | "--fs-uuid" => kind = Some("--fs-uuid"),
                "-l" | "--label" | "--fs-label" => kind = Some("--label"),
                "-f" | "--file" => kind = Some("--file"),
                "-s" | "--set" => {
                    if kind.is_none() || !plain.is_empty() {
                        continue;
                    }
                    // `--set NAME` is old; the name is optional, and only ever `root`.
                    let mut ahead = rest.clone();
                    if ahead.next() == Some("root") {
                        rest = ahead;
                    }
                }
                other => match other.strip_prefix("--set=") {
                    Some(set) => variable = set,
                    None if other.starts_with("--") => {}
                    None => plain.push(other),
                },
            }
        }
        let Some(wanted) = plain.first() else { return false };
        let by = match kind {
            Some("--fs-uuid") => Search::Uuid(wanted),
            Some("--label") => Search::Label(wanted),
            _ => Search::File(wanted),
        };
        let variable = if name == "search" { variable } else { plain.get(1).unwrap_or(&"root") };
        match self.disk.search(by) {
            Some(device) => {
                self.variables.insert(variable.to_owned(), device);
                true
            }
            None => false,
        }
    }

    /// Takes `(device)/path` or `/path` apart.
    fn place(&self, file: &str) -> Result<Place, NotPlain> {
        let (device, path) = match file.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
            Some((device, path)) => (device, path),
            None => (self.variables.get("root").map_or("", String::as_str), file),
        };
        if !path.starts_with('/') {
            return Err(NotPlain::new(format!("it loads {file:?}")));
        }
        Ok((device.to_owned(), path.to_owned()))
    }

    /// Decides a condition: `!`, `-a` and `-o` over comparisons.
    fn test(&self, words: &[String]) -> Result<bool, NotPlain> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut any = false;
        for alternative in words.split(|word| *word == "-o") {
            let mut all = true;
            for part in alternative.split(|word| *word == "-a") {
                all &= self.comparison(part)?;
            }
            any |= all;
        }
        Ok(any)
    }

    fn comparison(&self, words: &[&str]) -> Result<bool, NotPlain> {
        let number = |text: &str| text.trim().parse::<i64>().unwrap_or(0);
        match words {
            ["!", rest @ ..] => Ok(!self.comparison(rest)?),
            ["-z", text] => Ok(text.is_empty()),
            ["-e" | "-f" | "-s", file] => {
                let place = self.place(file);
                Ok(place.is_ok_and(|(device, path)| self.disk.has_file(&device, &path)))
            }
            // Only for fonts and themes.
            ["-d", _] | [] => Ok(false),
            ["-n", text] | [text] => Ok(!text.is_empty()),
            [one, "=" | "==", other] => Ok(one == other),
            [one, "!=", other] => Ok(one != other),
            [one, "-eq", other] => Ok(number(one) == number(other)),
            [one, "-ne", other] => Ok(number(one) != number(other)),
            [one, "-lt", other] => Ok(number(one) < number(other)),
            [one, "-le", other] => Ok(number(one) <= number(other)),
            [one, "-gt", other] => Ok(number(one) > number(other)),
            [one, "-ge", other] => Ok(number(one) >= number(other)),
            other => Err(NotPlain::new(format!("it asks for {:?}", other.join(" ")))),
        }
    }
}

/// Finds an entry by number, by what stands after `--id`, or by its title.
fn find(entries: &[Entry], wanted: &str) -> Option<usize> {
    if let Ok(number) = wanted.trim().parse::<usize>() {
        return (number < entries.len()).then_some(number);
    }
    let named = |entry: &Entry| {
        let mut words = entry.words.iter();
        words.any(|word| word == "--id") && words.next().is_some_and(|id| id == wanted)
            || entry.words.first().is_some_and(|title| title == wanted)
    };
    entries.iter().position(named)
}

/// Holds for the entry that leads into the firmware's own menu.
fn is_for_firmware(entry: &Entry) -> bool {
    let is_setup = |statement: &Statement| {
        matches!(statement, Statement::Command(words)
            if words.first().is_some_and(|word| *word == [Piece::Text("fwsetup".to_owned())]))
    };
    entry.body.iter().any(is_setup)
}
