//! What an installed system gets to know about itself: checked as people write it, and rendered. Pure.
//!
//! ```text
//! --hostname, --ssh-key, --user-data … ─► Seed ─► check ─► render ─► a step of the order ─► a small filesystem
//! ```
//!
//! What is checked is what would otherwise be noticed only when the installed system does not do what it should.

mod key;
mod render;
mod yaml;

use protocol::install::Secret;
use serde::{Deserialize, Serialize};

pub(crate) use self::key::decode as decode_base64;
pub use self::{
    key::{KeyProblem, check_key, looks_like_key},
    render::{Documents, Instance},
};

/// The largest text of a seed.
pub const TEXT_BYTES: usize = 256 << 10;
/// The longest that something is served: 30 days.
const SERVED_SECONDS: u64 = 30 * 86_400;
/// The most keys.
const KEYS: usize = 256;
/// The longest name of a host that Linux takes is 64 bytes, a whole domain name has 253 at most.
const HOSTNAME_BYTES: usize = 253;
const LABEL_BYTES: usize = 63;

/// What an installed system gets to know, as a person says it. Nothing of it is shown again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Seed {
    /// In which form.
    #[serde(default)]
    pub format: Format,
    /// The host's name; absent means the machine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Public keys that may log in, each as a line of `authorized_keys` without options.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_keys: Vec<String>,
    /// cloud-init's user-data, or the machine configuration of Talos.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_data: Option<Secret>,
    /// cloud-init's meta-data; a JSON object in a `ConfigDrive`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta_data: Option<Secret>,
    /// cloud-init's network-config; OpenStack's `network_data.json` in a `ConfigDrive`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_config: Option<Secret>,
    /// Whether cloud-init says back to the server that it is done. Only where the server serves metadata.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub phone_home: bool,
    /// How long all of it is served over plain HTTP as well, from the end of the install on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serve_seconds: Option<u64>,
}

/// In which form an installed system is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Format {
    /// cloud-init's `NoCloud`: a filesystem labelled `CIDATA` with `meta-data` and `user-data`.
    #[default]
    NoCloud,
    /// OpenStack's: a filesystem labelled `config-2` with `openstack/latest/meta_data.json`.
    ConfigDrive,
    /// Talos, in its image for the platform `nocloud`: a filesystem as for cloud-init, its configuration as user-data.
    Talos,
    /// Nothing is written: the installed system asks over HTTP.
    Nothing,
}

/// What a problem is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The host's name.
    Hostname,
    /// One of the keys, counted from 0.
    SshKey(usize),
    /// The user-data, or the configuration of Talos.
    UserData,
    /// The meta-data.
    MetaData,
    /// The network-config.
    NetworkConfig,
    /// How it reaches the installed system.
    Way,
}

/// Why a seed is not taken. Says nothing of what is in it but where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {problem}", shown(*part), at(*line))]
pub struct SeedError {
    /// In what.
    pub part: Part,
    /// In which line, counted from 1, where it is in one.
    pub line: Option<u64>,
    /// What.
    pub problem: String,
}

fn shown(part: Part) -> String {
    match part {
        Part::Hostname => "hostname".to_owned(),
        Part::SshKey(index) => format!("SSH key {}", index + 1),
        Part::UserData => "user-data".to_owned(),
        Part::MetaData => "meta-data".to_owned(),
        Part::NetworkConfig => "network-config".to_owned(),
        Part::Way => "seed".to_owned(),
    }
}

fn at(line: Option<u64>) -> String {
    line.map(|line| format!(" line {line}")).unwrap_or_default()
}

impl SeedError {
    fn new(part: Part, line: Option<u64>, problem: impl Into<String>) -> Self {
        Self { part, line, problem: problem.into() }
    }
}

impl Seed {
    /// Holds when nothing was said: then there is no seed at all.
    pub fn is_empty(&self) -> bool {
        *self == Self { format: self.format, ..Self::default() } && self.format != Format::Nothing
    }

    /// Holds when the installed system speaks to this server by itself.
    pub fn needs_server(&self) -> bool {
        self.phone_home || self.serve_seconds.is_some()
    }

    /// Checks all of it.
    pub fn check(&self) -> Result<(), SeedError> {
        for (part, text) in self.texts() {
            if text.0.len() > TEXT_BYTES {
                let problem = format!("more than {TEXT_BYTES} bytes");
                return Err(SeedError::new(part, None, problem));
            }
        }
        if let Some(hostname) = &self.hostname {
            check_hostname(hostname)
                .map_err(|problem| SeedError::new(Part::Hostname, None, problem))?;
        }
        if self.ssh_keys.len() > KEYS {
            return Err(SeedError::new(Part::SshKey(KEYS), None, format!("more than {KEYS} keys")));
        }
        for (index, key) in self.ssh_keys.iter().enumerate() {
            check_key(key).map_err(|problem| {
                SeedError::new(Part::SshKey(index), None, problem.to_string())
            })?;
        }
        self.check_way().map_err(|problem| SeedError::new(Part::Way, None, problem))?;
        match self.format {
            Format::NoCloud | Format::ConfigDrive | Format::Nothing => self.check_for_cloud_init(),
            Format::Talos => self.check_for_talos(),
        }
    }

    fn check_way(&self) -> Result<(), String> {
        match (self.format, self.serve_seconds) {
            (_, Some(seconds)) if !(1..=SERVED_SECONDS).contains(&seconds) => {
                Err(format!("it may be served from 1 second to 30 days, not {seconds} seconds"))
            }
            (Format::ConfigDrive, Some(_)) => {
                Err("what is served has cloud-init's form, not that of a ConfigDrive".to_owned())
            }
            (Format::Nothing, None) => {
                Err("nothing is written on the disk, and nothing is served".to_owned())
            }
            (Format::Talos, _) if self.phone_home => {
                Err("Talos does not say back that it is done".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn texts(&self) -> impl Iterator<Item = (Part, &Secret)> {
        let texts = [
            (Part::UserData, &self.user_data),
            (Part::MetaData, &self.meta_data),
            (Part::NetworkConfig, &self.network_config),
        ];
        texts.into_iter().filter_map(|(part, text)| Some((part, text.as_ref()?)))
    }

    fn check_for_cloud_init(&self) -> Result<(), SeedError> {
        if let Some(user_data) = &self.user_data {
            yaml::check_user_data(&user_data.0)?;
        }
        match self.format {
            Format::ConfigDrive => {
                if let Some(network) = &self.network_config {
                    yaml::check_network_data(&network.0)?;
                }
            }
            Format::NoCloud | Format::Talos | Format::Nothing => self.check_network_config()?,
        }
        let Some(meta_data) = self.read_meta_data()? else { return Ok(()) };
        let said = |keys: &[&str]| keys.iter().any(|key| meta_data.contains_key(*key));
        let twice = |option: &str| {
            let problem = format!("it stands in the meta-data already; leave out {option}");
            Err(SeedError::new(Part::MetaData, None, problem))
        };
        if self.hostname.is_some() && said(&["local-hostname", "hostname"]) {
            return twice("--hostname");
        }
        if !self.ssh_keys.is_empty() && said(&["public-keys", "public_keys"]) {
            return twice("--ssh-key");
        }
        Ok(())
    }

    fn check_for_talos(&self) -> Result<(), SeedError> {
        let missing = SeedError::new(Part::UserData, None, "there is no machine configuration");
        let configuration = self.user_data.as_ref().ok_or(missing)?;
        yaml::check_talos(&configuration.0)?;
        if !self.ssh_keys.is_empty() {
            let problem = "Talos has no logins, so no keys for them";
            return Err(SeedError::new(Part::SshKey(0), None, problem));
        }
        self.check_network_config()?;
        self.read_meta_data()?;
        Ok(())
    }

    fn check_network_config(&self) -> Result<(), SeedError> {
        match &self.network_config {
            Some(text) => yaml::check_network_config(&text.0),
            None => Ok(()),
        }
    }

    /// Reads the meta-data that a person gave.
    fn read_meta_data(&self) -> Result<Option<yaml::Object>, SeedError> {
        let Some(text) = &self.meta_data else { return Ok(None) };
        match self.format {
            Format::NoCloud | Format::Talos | Format::Nothing => {
                yaml::object(Part::MetaData, &text.0).map(Some)
            }
            Format::ConfigDrive => yaml::json_object(Part::MetaData, &text.0).map(Some),
        }
    }
}

/// Checks a host's name, with or without a domain (RFC 1123 §2.1).
fn check_hostname(name: &str) -> Result<(), &'static str> {
    let is_label = |label: &str| {
        (1..=LABEL_BYTES).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > HOSTNAME_BYTES || !name.split('.').all(is_label) {
        return Err("not a host's name: letters, digits and hyphens, 63 at most between dots");
    }
    if name.split('.').all(|label| label.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err("not a host's name: it reads as a number");
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
