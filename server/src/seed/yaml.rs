//! Whether texts are what they should be: YAML of the right shape, with the line where they are not.

use std::fmt;

use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor},
};

use super::{Part, SeedError};

/// A mapping of texts to anything.
pub(super) type Object = serde_json::Map<String, serde_json::Value>;

/// A mapping of anything to anything, also of what JSON does not know.
struct Mapping;

impl<'de> Deserialize<'de> for Mapping {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self)
    }
}

impl<'de> Visitor<'de> for Mapping {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keys and values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(self)
    }
}

/// What user-data may begin with, beside `#cloud-config` and `#!` (cloud-init's documentation, "User-data formats").
const OTHER_KINDS: [&str; 6] = [
    "#include",
    "#cloud-boothook",
    "#part-handler",
    "#cloud-config-jsonp",
    "Content-Type:",
    "MIME-Version:",
];

/// Checks cloud-init's user-data: of a kind that cloud-init knows, and where that is YAML, well-formed.
pub(super) fn check_user_data(text: &str) -> Result<(), SeedError> {
    let wrong = |line, problem: &str| Err(SeedError::new(Part::UserData, Some(line), problem));
    let first = text.lines().next().unwrap_or_default().trim_end();
    match first {
        "## template: jinja" => {
            // Only what comes of the template is YAML.
            let kind = text.lines().nth(1).unwrap_or_default().trim_end();
            if is_known(kind) { Ok(()) } else { wrong(2, UNKNOWN_KIND) }
        }
        "#cloud-config" => shape::<Option<Mapping>>(Part::UserData, text).map(drop),
        "#cloud-config-archive" => shape::<Vec<IgnoredAny>>(Part::UserData, text).map(drop),
        _ if text.starts_with('\u{feff}') => {
            wrong(1, "begins with a byte order mark, so that cloud-init would not know it")
        }
        kind if is_known(kind) => Ok(()),
        _ => wrong(1, UNKNOWN_KIND),
    }
}

const UNKNOWN_KIND: &str = "begins neither with #cloud-config nor with #! nor with anything else \
     that cloud-init knows, so that cloud-init would pass over it";

fn is_known(kind: &str) -> bool {
    ["#cloud-config", "#cloud-config-archive"].contains(&kind)
        || kind.starts_with("#!")
        || OTHER_KINDS.iter().any(|known| {
            kind.get(..known.len()).is_some_and(|start| start.eq_ignore_ascii_case(known))
        })
}

/// Checks cloud-init's network-config: version 1 or 2, with or without `network:` around it.
pub(super) fn check_network_config(text: &str) -> Result<(), SeedError> {
    let part = Part::NetworkConfig;
    let outer = object(part, text)?;
    let inner = match outer.get("network") {
        Some(serde_json::Value::Object(inner)) => inner,
        _ => &outer,
    };
    let is_off = inner.get("config").and_then(|config| config.as_str()) == Some("disabled");
    let version = inner.get("version").and_then(serde_json::Value::as_u64);
    if is_off || matches!(version, Some(1 | 2)) {
        return Ok(());
    }
    Err(SeedError::new(part, None, "there is neither version: 1 nor version: 2"))
}

/// Checks OpenStack's `network_data.json`.
pub(super) fn check_network_data(text: &str) -> Result<(), SeedError> {
    let part = Part::NetworkConfig;
    let data = json_object(part, text)?;
    let is_list = |key: &str| data.get(key).is_some_and(serde_json::Value::is_array);
    if is_list("links") && is_list("networks") {
        return Ok(());
    }
    let problem = "a ConfigDrive has OpenStack's network_data.json, with links and networks";
    Err(SeedError::new(part, None, problem))
}

/// Checks a machine configuration of Talos: documents of which each says what it is.
pub(super) fn check_talos(text: &str) -> Result<(), SeedError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Document {
        version: Option<String>,
        machine: Option<IgnoredAny>,
        api_version: Option<String>,
        kind: Option<String>,
    }
    let part = Part::UserData;
    let documents: Vec<Document> =
        serde_saphyr::from_multiple(text).map_err(|error| problem(part, &error))?;
    let is_configuration = |document: &Document| {
        let old = document.version.as_deref() == Some("v1alpha1") && document.machine.is_some();
        old || (document.api_version.is_some() && document.kind.is_some())
    };
    if !documents.is_empty() && documents.iter().all(is_configuration) {
        return Ok(());
    }
    let problem = "no machine configuration of Talos: it says neither version: v1alpha1 and \
                   machine: nor apiVersion: and kind:";
    Err(SeedError::new(part, None, problem))
}

/// Reads a YAML mapping.
pub(super) fn object(part: Part, text: &str) -> Result<Object, SeedError> {
    shape(part, text)
}

/// Reads a JSON object.
pub(super) fn json_object(part: Part, text: &str) -> Result<Object, SeedError> {
    serde_json::from_str(text).map_err(|error| {
        let line = u64::try_from(error.line()).ok().filter(|line| *line > 0);
        // What follows may repeat what stands there.
        let problem = match error.classify() {
            serde_json::error::Category::Data => "not a JSON object",
            _ => "not JSON",
        };
        SeedError::new(part, line, problem)
    })
}

fn shape<T: DeserializeOwned>(part: Part, text: &str) -> Result<T, SeedError> {
    serde_saphyr::from_str(text).map_err(|error| problem(part, &error))
}

/// Says what the parser says, without what stands in the text.
fn problem(part: Part, error: &serde_saphyr::Error) -> SeedError {
    let error = error.without_snippet();
    let line = error.location().map(|location| location.line());
    let said = error.to_string();
    let said = said.lines().next().unwrap_or_default();
    let said = said.split(" at line ").next().unwrap_or_default();
    SeedError::new(part, line.filter(|line| *line > 0), said)
}
