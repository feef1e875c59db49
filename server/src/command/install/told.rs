//! What an installed system is told: options and files of `drydock install`, checked before the server hears of them.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use protocol::install::{InstalledFile, Secret};

use crate::seed::{self, Format, Part, Seed};

/// What the installed system gets to know about itself: a seed on its disk, for cloud-init or Talos.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "What the installed system is told")]
pub(super) struct Told {
    /// Its host name. Without it: the machine's name.
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// A public SSH key that may log in as the image's user, or a file with such keys. Can be repeated.
    #[arg(long, value_name = "FILE|KEY", conflicts_with = "talos_config")]
    ssh_key: Vec<String>,
    /// cloud-init's user-data.
    #[arg(long, value_name = "FILE")]
    user_data: Option<PathBuf>,
    /// cloud-init's meta-data. What it does not say is added: instance-id, local-hostname.
    #[arg(long, value_name = "FILE")]
    meta_data: Option<PathBuf>,
    /// cloud-init's network-config; what OpenStack calls network data, in JSON, for a config-drive.
    #[arg(long, value_name = "FILE")]
    network_config: Option<PathBuf>,
    /// In which form it is written on the disk: cloud-init reads both.
    #[arg(long, value_enum, default_value = "no-cloud", conflicts_with = "talos_config")]
    seed: Form,
    /// Has cloud-init say back to the server that it is done, for drydock orders and explain.
    #[arg(long, conflicts_with = "talos_config")]
    phone_home: bool,
    /// Serves all of it over plain HTTP as well, so long from the end of the install on: 15m, 24h; 30 days at most.
    #[arg(long, value_name = "TIME", value_parser = super::seconds)]
    serve_metadata: Option<u64>,
    /// A machine configuration of Talos, for its image of the platform nocloud.
    #[arg(long, value_name = "FILE", conflicts_with = "user_data")]
    talos_config: Option<PathBuf>,
}

/// In which form a seed is written.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum Form {
    /// A filesystem labelled CIDATA.
    #[default]
    #[value(alias = "nocloud")]
    NoCloud,
    /// OpenStack's: a filesystem labelled config-2, the data in JSON.
    #[value(alias = "configdrive")]
    ConfigDrive,
    /// Nothing is written: the installed system asks over HTTP.
    #[value(name = "none")]
    Nothing,
}

impl Told {
    /// Reads and checks all of it. Says the file and the line where something is wrong.
    pub(super) fn seed(&self) -> anyhow::Result<Seed> {
        let mut ssh_keys = Vec::new();
        for written in &self.ssh_key {
            ssh_keys.extend(keys(written)?);
        }
        let seed = Seed {
            format: match (&self.talos_config, self.seed) {
                (Some(_), _) => Format::Talos,
                (None, Form::NoCloud) => Format::NoCloud,
                (None, Form::ConfigDrive) => Format::ConfigDrive,
                (None, Form::Nothing) => Format::Nothing,
            },
            hostname: self.hostname.clone(),
            ssh_keys,
            user_data: self.user_data().map(read).transpose()?,
            meta_data: self.meta_data.as_deref().map(read).transpose()?,
            network_config: self.network_config.as_deref().map(read).transpose()?,
            phone_home: self.phone_home,
            serve_seconds: self.serve_metadata,
        };
        if seed.is_empty() {
            return Ok(seed);
        }
        match seed.check() {
            Ok(()) => Ok(seed),
            Err(error) => {
                let file = match error.part {
                    Part::UserData => self.user_data(),
                    Part::MetaData => self.meta_data.as_deref(),
                    Part::NetworkConfig => self.network_config.as_deref(),
                    Part::Hostname | Part::SshKey(_) | Part::Way => None,
                };
                match (file, error.line) {
                    (Some(file), Some(line)) => {
                        bail!("{} line {line}: {}", file.display(), error.problem)
                    }
                    (Some(file), None) => bail!("{}: {}", file.display(), error.problem),
                    (None, _) => bail!(error),
                }
            }
        }
    }

    fn user_data(&self) -> Option<&Path> {
        self.talos_config.as_deref().or(self.user_data.as_deref())
    }
}

/// Reads `FILE:PATH`: a file here, and where it is to stand in the installed system.
pub(super) fn file(written: &str) -> anyhow::Result<InstalledFile> {
    let (local, path) = written
        .rsplit_once(":/")
        .map(|(local, path)| (Path::new(local), format!("/{path}")))
        .with_context(|| format!("--file {written}: FILE:PATH is wanted, as ./motd:/etc/motd"))?;
    let mode = fs::metadata(local)
        .with_context(|| format!("--file: {}", local.display()))?
        .permissions()
        .mode();
    let content = read(local).context("--file")?;
    let file = InstalledFile { path, mode: mode & 0o777, content };
    if !file.has_plain_path() {
        bail!("--file {written}: {} is no plain path: no empty parts, no . and ..", file.path);
    }
    Ok(file)
}

/// Reads a key, or a file of keys. Empty lines and comments in it are passed over.
fn keys(written: &str) -> anyhow::Result<Vec<String>> {
    if seed::looks_like_key(written) {
        seed::check_key(written).context("--ssh-key")?;
        return Ok(vec![written.trim().to_owned()]);
    }
    let text = read(Path::new(written)).context("--ssh-key: neither a public key nor a file")?;
    let mut keys = Vec::new();
    for (index, line) in text.0.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        seed::check_key(line).with_context(|| format!("{written} line {}", index + 1))?;
        keys.push(line.to_owned());
    }
    if keys.is_empty() {
        bail!("there is no key in it: {written}");
    }
    Ok(keys)
}

/// Reads a text that nobody else is to see.
pub(super) fn read(path: &Path) -> anyhow::Result<Secret> {
    text(path, seed::TEXT_BYTES).map(Secret)
}

/// Reads a map of an image: longer than texts for people, and still one request with them.
pub(super) fn map(path: &Path) -> anyhow::Result<String> {
    text(path, 1 << 20)
}

fn text(path: &Path, limit: usize) -> anyhow::Result<String> {
    let context = || format!("reading {}", path.display());
    let mut bytes = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX);
    let file = File::open(path).with_context(context)?;
    file.take(most + 1).read_to_end(&mut bytes).with_context(context)?;
    if bytes.len() > limit {
        bail!("more than {limit} bytes: {}", path.display());
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.split(|byte| *byte == b'\n').count();
        anyhow::anyhow!("{} line {line}: not text in UTF-8", path.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::tests::KEY;

    fn file(directory: &tempfile::TempDir, name: &str, text: &[u8]) -> PathBuf {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn problem(told: &Told) -> String {
        let said = format!("{:#}", told.seed().unwrap_err());
        // What stands before the file's own name is the test's.
        said.rsplit('/').next().unwrap_or_default().to_owned()
    }

    #[test]
    fn a_file_for_the_installed_system_keeps_its_permissions_and_needs_a_plain_path() {
        let directory = tempfile::tempdir().unwrap();
        let motd = file(&directory, "motd", b"ahoy\n");
        fs::set_permissions(&motd, fs::Permissions::from_mode(0o640)).unwrap();
        let written = |path: &str| super::file(&format!("{}:{path}", motd.display()));
        let taken = written("/etc/motd").unwrap();
        assert_eq!((taken.path.as_str(), taken.mode), ("/etc/motd", 0o640));
        assert_eq!(taken.content.0, "ahoy\n");
        for wrong in ["etc/motd", "/etc/../motd", "/etc/", "/"] {
            assert!(written(wrong).is_err(), "{wrong}");
        }
        assert!(super::file("nowhere:/etc/motd").is_err());
    }

    #[test]
    fn a_mistake_is_said_with_its_file_and_line_and_without_what_stands_there() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str, text: &str| Some(file(&directory, name, text.as_bytes()));
        let user_data = at("user.yaml", "#cloud-config\npassword: hunter2\n  chpasswd: {\n");
        let said = problem(&Told { user_data, ..Told::default() });
        assert!(said.starts_with("user.yaml line "), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
        let user_data = at("plain.yaml", "password: hunter2\n");
        let said = problem(&Told { user_data, ..Told::default() });
        assert!(said.starts_with("plain.yaml line 1: begins neither with #cloud-config"), "{said}");
        let network_config = at("net.yaml", "version: 3\n");
        let said = problem(&Told { network_config, ..Told::default() });
        assert_eq!(said, "net.yaml: there is neither version: 1 nor version: 2");
        let talos_config = at("talos.yaml", "cluster: {}\n");
        let said = problem(&Told { talos_config, ..Told::default() });
        assert!(said.starts_with("talos.yaml: no machine configuration of Talos"), "{said}");
        let path = file(&directory, "binary", b"#cloud-config\n\xff\n");
        let said = problem(&Told { user_data: Some(path), ..Told::default() });
        assert_eq!(said, "binary line 2: not text in UTF-8");
    }

    #[test]
    fn keys_come_from_files_and_from_the_command_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = file(&directory, "keys.pub", format!("# mine\n\n{KEY}\n").as_bytes());
        let ssh_key = vec![KEY.to_owned(), path.display().to_string()];
        let seed = Told { ssh_key, ..Told::default() }.seed().unwrap();
        assert_eq!(seed.ssh_keys, [KEY, KEY]);
        let private = b"-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n";
        let path = file(&directory, "id_ed25519", private);
        let said = problem(&Told { ssh_key: vec![path.display().to_string()], ..Told::default() });
        assert!(said.starts_with("id_ed25519 line 1: that is a private key"), "{said}");
        assert!(!said.contains("c2VjcmV0"), "{said}");
    }

    #[test]
    fn nothing_said_is_no_seed() {
        assert_eq!(Told::default().seed().unwrap(), Seed::default());
    }
}
