//! A checked seed, as it is written for one machine.

use protocol::install::{Secret, Step};
use serde_json::{Value, json};

use super::{Format, Seed, SeedError, yaml::Object};

/// User-data that asks for nothing: cloud-init wants a file.
const NOTHING: &str = "#cloud-config\n{}\n";

/// Whom a seed is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instance<'a> {
    /// The machine's name: the host's, where nobody says another.
    pub machine: &'a str,
    /// When the order was given, in milliseconds since 1970: what was installed before is another instance.
    pub ordered: i64,
}

impl Instance<'_> {
    /// Returns what tells this installation from all others.
    fn id(self) -> String {
        format!("{}-{}", self.machine, self.ordered.div_euclid(1000))
    }
}

impl Seed {
    /// Renders it, where anything was said. Checks it once more.
    pub fn render(&self, instance: Instance<'_>) -> Result<Option<Step>, SeedError> {
        if self.is_empty() {
            return Ok(None);
        }
        self.check()?;
        let user_data = self.user_data.clone().unwrap_or_else(|| Secret(NOTHING.to_owned()));
        let network = self.network_config.clone();
        Ok(Some(match self.format {
            Format::NoCloud | Format::Talos => {
                let meta_data = self.no_cloud_meta_data(instance)?;
                Step::Seed { meta_data, user_data, network_config: network, vendor_data: None }
            }
            Format::ConfigDrive => Step::ConfigDrive {
                meta_data: self.drive_meta_data(instance)?,
                // Without any, there is no file: OpenStack has none either.
                user_data: self.user_data.clone(),
                network_data: network,
                vendor_data: None,
            },
        }))
    }

    /// The meta-data for cloud-init and Talos. What a person wrote stays as written where nothing is to be added.
    fn no_cloud_meta_data(&self, instance: Instance<'_>) -> Result<Secret, SeedError> {
        let given = self.read_meta_data()?;
        let mut added = Object::new();
        let has = |key: &str| given.as_ref().is_some_and(|given| given.contains_key(key));
        let mut add = |key: &str, value: Value| {
            if !has(key) {
                added.insert(key.to_owned(), value);
            }
        };
        add("instance-id", json!(instance.id()));
        if self.hostname.is_some() || !has("hostname") {
            add("local-hostname", json!(self.host(instance)));
        }
        if self.format == Format::Talos && !has("local-hostname") {
            add("hostname", json!(self.host(instance)));
        }
        if !self.ssh_keys.is_empty() {
            add("public-keys", json!(self.ssh_keys));
        }
        match (&self.meta_data, given) {
            (Some(written), _) if added.is_empty() => Ok(written.clone()),
            (_, given) => {
                let mut all = given.unwrap_or_default();
                all.extend(added);
                Ok(Secret(mapping(&all)))
            }
        }
    }

    /// The meta-data of a `ConfigDrive` (OpenStack's documentation, "Metadata service": `meta_data.json`).
    fn drive_meta_data(&self, instance: Instance<'_>) -> Result<Secret, SeedError> {
        let mut all = self.read_meta_data()?.unwrap_or_default();
        let host = self.host(instance).to_owned();
        all.entry("uuid").or_insert_with(|| json!(instance.id()));
        all.entry("hostname").or_insert_with(|| json!(host));
        all.entry("name").or_insert_with(|| json!(host));
        if !self.ssh_keys.is_empty() {
            let keys = self.ssh_keys.iter().enumerate();
            let keys: Object =
                keys.map(|(index, key)| (format!("key-{index}"), json!(key))).collect();
            all.insert("public_keys".to_owned(), Value::Object(keys));
        }
        Ok(Secret(format!("{:#}\n", Value::Object(all))))
    }

    fn host<'a>(&'a self, instance: Instance<'a>) -> &'a str {
        self.hostname.as_deref().unwrap_or(instance.machine)
    }
}

/// Writes a mapping, a key in a line. JSON's values are YAML's.
fn mapping(object: &Object) -> String {
    let line = |(key, value): (&String, &Value)| format!("{}: {value}", json!(key));
    object.iter().map(line).chain([String::new()]).collect::<Vec<_>>().join("\n")
}
