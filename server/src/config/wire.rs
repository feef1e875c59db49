//! The configuration as written, with line numbers; unknown keys are refused, those not built yet are recognised.

use std::net::Ipv4Addr;

use serde::{Deserialize, de::IgnoredAny};
use serde_saphyr::{Error, Spanned};

use super::{Cidr, Config, ConfigError, Dhcp, Metadata, Vlan, selectors};
use crate::{
    boot::{HttpBoot, PxeBoot},
    decision::{Lists, Selector},
};

/// The `apiVersion` of this vocabulary.
const API_VERSION: &str = "drydock.evoteum.com/v1alpha1";
/// The kind of this document.
const KIND: &str = "BootstrapConfig";

/// A text and where it stands.
pub(super) type Text = Spanned<String>;
/// A key of the vocabulary that does nothing yet.
type Unbuilt = Option<Spanned<IgnoredAny>>;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct File {
    api_version: Option<Text>,
    kind: Option<Text>,
    spec: Option<Spec>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Spec {
    #[serde(default)]
    network: Network,
    #[serde(default)]
    server: Server,
    cluster_layout: Unbuilt,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Network {
    #[serde(default)]
    vlans: Vec<WrittenVlan>,
    #[serde(default)]
    discovery: Discovery,
    #[serde(rename = "networkControllerManufacturer")]
    controller: Unbuilt,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenVlan {
    name: Option<Text>,
    id: Unbuilt,
    create: Unbuilt,
    interface: Option<Text>,
    cidr: Option<Text>,
    #[serde(rename = "staticIP")]
    static_ip: Option<StaticIp>,
    dhcp: Option<WrittenDhcp>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StaticIp {
    address: Option<Text>,
    gateway: Option<Text>,
    #[serde(default)]
    nameservers: Vec<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenDhcp {
    #[serde(rename = "drydockManagesDHCP")]
    drydock_manages_dhcp: Option<bool>,
    range_start: Option<Text>,
    range_end: Option<Text>,
    #[serde(rename = "reserveIPsForDiscoveredNodes")]
    reserve: Option<Spanned<bool>>,
    force: Option<Spanned<bool>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Discovery {
    enabled: Option<bool>,
    answer: Option<Text>,
    machines: Option<Vec<Text>>,
    #[serde(default)]
    ignore: Vec<Text>,
    method: Unbuilt,
    timeout_seconds: Unbuilt,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Server {
    http_port: Option<Spanned<u16>>,
    tls_port: Option<Spanned<u16>>,
    consoles: Option<Vec<Text>>,
    http_boot: Option<Text>,
    pxe_boot: Option<Text>,
    metadata: Option<WrittenMetadata>,
    network_storage: Option<Spanned<bool>>,
    network_storage_machines: Option<Vec<Text>>,
    announce: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenMetadata {
    enabled: Option<bool>,
    address: Option<Text>,
}

/// Reads the text of a file.
pub(super) fn read(text: &str) -> Result<File, ConfigError> {
    serde_saphyr::from_str(text).map_err(|error| {
        let error = error.without_snippet();
        let line = error.location().map_or(0, |location| location.line());
        match error {
            Error::SerdeUnknownField { field, .. } => {
                ConfigError::UnknownKey { line, key: field.clone() }
            }
            Error::DuplicateMappingKey { key, .. } => {
                let key = key.as_deref().unwrap_or("a key");
                ConfigError::Shape { line, problem: format!("{key} stands there twice") }
            }
            error => ConfigError::Shape { line, problem: problem(text, line, error) },
        }
    })
}

/// Says what the parser says, behind what is written there: that names the key.
fn problem(text: &str, line: u64, error: &Error) -> String {
    let said = error.to_string();
    let said = said.lines().next().unwrap_or_default();
    let said = said.split(" at line ").next().unwrap_or_default();
    let index = usize::try_from(line.saturating_sub(1)).unwrap_or(usize::MAX);
    let written: String =
        text.lines().nth(index).unwrap_or_default().trim().chars().take(80).collect();
    if written.is_empty() { said.to_owned() } else { format!("{written}: {said}") }
}

impl File {
    /// Checks everything that does not depend on this machine.
    pub(super) fn check(self) -> Result<Config, ConfigError> {
        constant("apiVersion", self.api_version, API_VERSION)?;
        constant("kind", self.kind, KIND)?;
        let spec = self.spec.ok_or_else(|| missing("spec"))?;
        built("spec.clusterLayout", &spec.cluster_layout)?;
        let network = spec.network;
        built("spec.network.networkControllerManufacturer", &network.controller)?;
        let usual = Config::default();
        let http_boot = http_boot("spec.server.httpBoot", spec.server.http_boot)?;
        let network_storage = storage_of_all(spec.server.network_storage, http_boot)?;
        let mut lists = network.discovery.check()?;
        lists.network_storage =
            storage_machines(network_storage, spec.server.network_storage_machines, http_boot)?;
        Ok(Config {
            vlans: network
                .vlans
                .into_iter()
                .enumerate()
                .map(|(index, vlan)| vlan.check(format!("spec.network.vlans[{index}]")))
                .collect::<Result<_, _>>()?,
            lists,
            http_port: port("spec.server.httpPort", spec.server.http_port, usual.http_port)?,
            tls_port: port("spec.server.tlsPort", spec.server.tls_port, usual.tls_port)?,
            consoles: spec
                .server
                .consoles
                .unwrap_or_default()
                .into_iter()
                .map(|console| console.value)
                .collect(),
            http_boot,
            pxe_boot: pxe_boot("spec.server.pxeBoot", spec.server.pxe_boot)?,
            metadata: match spec.server.metadata {
                None => Metadata::Off,
                Some(written) => written.check("spec.server.metadata")?,
            },
            network_storage,
            announce: spec.server.announce.unwrap_or(usual.announce),
        })
    }
}

impl WrittenVlan {
    fn check(self, key: String) -> Result<Vlan, ConfigError> {
        built(&format!("{key}.id"), &self.id)?;
        built(&format!("{key}.create"), &self.create)?;
        if self.name.is_none() {
            return Err(missing(&format!("{key}.name")));
        }
        let cidr = self
            .cidr
            .map(|text| {
                Cidr::parse(&text.value).ok_or_else(|| {
                    value(&format!("{key}.cidr"), &text, "no network of the form 10.0.0.0/24")
                })
            })
            .transpose()?;
        let static_key = format!("{key}.staticIP");
        let (mut own, mut gateway, mut name_servers) = (None, None, Vec::new());
        if let Some(written) = self.static_ip {
            own = address(&format!("{static_key}.address"), written.address)?;
            gateway = address(&format!("{static_key}.gateway"), written.gateway)?;
            for (index, text) in written.nameservers.into_iter().enumerate() {
                name_servers
                    .extend(address(&format!("{static_key}.nameservers[{index}]"), Some(text))?);
            }
        }
        let dhcp = match self.dhcp {
            None => Dhcp::Off,
            Some(dhcp) => dhcp.check(&format!("{key}.dhcp"))?,
        };
        if cidr.is_none() && matches!(dhcp, Dhcp::Authoritative { .. }) {
            return Err(missing(&format!("{key}.cidr")));
        }
        let interface = self.interface.map(|text| text.value);
        Ok(Vlan { key, interface, cidr, address: own, gateway, name_servers, dhcp })
    }
}

impl WrittenDhcp {
    fn check(self, key: &str) -> Result<Dhcp, ConfigError> {
        let manages = format!("{key}.drydockManagesDHCP");
        if self.drydock_manages_dhcp.ok_or_else(|| missing(&manages))? {
            let (start, end) = (format!("{key}.rangeStart"), format!("{key}.rangeEnd"));
            return Ok(Dhcp::Authoritative {
                range_start: address(&start, self.range_start)?.ok_or_else(|| missing(&start))?,
                range_end: address(&end, self.range_end)?.ok_or_else(|| missing(&end))?,
                reserve_for_discovered: self.reserve.is_some_and(|reserve| reserve.value),
                force: self.force.is_some_and(|force| force.value),
            });
        }
        // Said, not ignored: whoever writes them expects addresses to be given.
        let useless = [
            ("rangeStart", self.range_start.map(|text| text.referenced)),
            ("rangeEnd", self.range_end.map(|text| text.referenced)),
            ("reserveIPsForDiscoveredNodes", self.reserve.map(|flag| flag.referenced)),
            ("force", self.force.map(|flag| flag.referenced)),
        ];
        match useless.into_iter().find_map(|(name, place)| Some((name, place?))) {
            Some((name, place)) => Err(ConfigError::Value {
                line: place.line(),
                key: format!("{key}.{name}"),
                problem: "means nothing without drydockManagesDHCP: true".to_owned(),
            }),
            None => Ok(Dhcp::Proxy),
        }
    }
}

impl WrittenMetadata {
    fn check(self, key: &str) -> Result<Metadata, ConfigError> {
        let enabled = format!("{key}.enabled");
        let is_on = self.enabled.ok_or_else(|| missing(&enabled))?;
        let key = format!("{key}.address");
        match (is_on, self.address) {
            (true, written) => Ok(Metadata::On { address: address(&key, written)? }),
            (false, None) => Ok(Metadata::Off),
            (false, Some(text)) => Err(value(&key, &text, "means nothing without enabled: true")),
        }
    }
}

impl Discovery {
    fn check(self) -> Result<Lists, ConfigError> {
        let key = "spec.network.discovery";
        built(&format!("{key}.method"), &self.method)?;
        built(&format!("{key}.timeoutSeconds"), &self.timeout_seconds)?;
        let only_listed = match &self.answer {
            None => self.enabled == Some(false),
            Some(text) if text.value == "listed" => true,
            Some(text) if text.value == "all" => {
                if self.enabled == Some(false) {
                    let problem = "contradicts spec.network.discovery.enabled: false";
                    return Err(value(&format!("{key}.answer"), text, problem));
                }
                false
            }
            Some(text) => {
                return Err(value(&format!("{key}.answer"), text, "neither all nor listed"));
            }
        };
        let ignored = selectors(&format!("{key}.ignore"), &self.ignore)?;
        let machines = format!("{key}.machines");
        let listed = match (only_listed, self.machines) {
            (true, written) => Some(selectors(&machines, &written.unwrap_or_default())?),
            (false, Some(written)) if !written.is_empty() => {
                let problem = "means nothing without answer: listed";
                return Err(value(&machines, &written[0], problem));
            }
            (false, _) => None,
        };
        Ok(Lists { ignored, listed, ..Lists::default() })
    }
}

/// Why nothing is said of disks on a network where images are signed.
const UNTOLD: &str =
    "means nothing beside httpBoot: signed, since nothing can be said to a signed image";

/// Reads whether every machine looks for disks on a network.
fn storage_of_all(written: Option<Spanned<bool>>, boot: HttpBoot) -> Result<bool, ConfigError> {
    match written {
        Some(written) if written.value && boot == HttpBoot::Signed => Err(ConfigError::Value {
            line: written.referenced.line(),
            key: "spec.server.networkStorage".to_owned(),
            problem: UNTOLD.to_owned(),
        }),
        written => Ok(written.is_some_and(|written| written.value)),
    }
}

/// Reads the list of machines that look for disks on a network.
fn storage_machines(
    all: bool,
    written: Option<Vec<Text>>,
    boot: HttpBoot,
) -> Result<Vec<Selector>, ConfigError> {
    let key = "spec.server.networkStorageMachines";
    let written = written.unwrap_or_default();
    match written.first() {
        Some(first) if boot == HttpBoot::Signed => Err(value(key, first, UNTOLD)),
        Some(first) if all => {
            Err(value(key, first, "means nothing beside networkStorage: true, which is for all"))
        }
        _ => selectors(key, &written),
    }
}

fn http_boot(key: &str, written: Option<Text>) -> Result<HttpBoot, ConfigError> {
    let Some(text) = written else { return Ok(HttpBoot::default()) };
    let problem = "neither ipxe nor unified nor signed nor shim";
    HttpBoot::named(&text.value).ok_or_else(|| value(key, &text, problem))
}

fn pxe_boot(key: &str, written: Option<Text>) -> Result<PxeBoot, ConfigError> {
    let Some(text) = written else { return Ok(PxeBoot::default()) };
    PxeBoot::named(&text.value).ok_or_else(|| value(key, &text, "neither ipxe nor shim"))
}

fn missing(key: &str) -> ConfigError {
    ConfigError::Missing { key: key.to_owned() }
}

fn value(key: &str, text: &Text, problem: &str) -> ConfigError {
    let problem = format!("{problem}: {}", text.value);
    ConfigError::Value { line: text.referenced.line(), key: key.to_owned(), problem }
}

fn built(key: &str, written: &Unbuilt) -> Result<(), ConfigError> {
    match written {
        None => Ok(()),
        Some(written) => {
            Err(ConfigError::NotBuilt { line: written.referenced.line(), key: key.to_owned() })
        }
    }
}

fn constant(key: &str, written: Option<Text>, expected: &str) -> Result<(), ConfigError> {
    let written = written.ok_or_else(|| missing(key))?;
    if written.value == expected {
        return Ok(());
    }
    Err(value(key, &written, &format!("not {expected}")))
}

fn address(key: &str, written: Option<Text>) -> Result<Option<Ipv4Addr>, ConfigError> {
    written
        .map(|text| text.value.parse().map_err(|_| value(key, &text, "no IPv4 address")))
        .transpose()
}

fn port(key: &str, written: Option<Spanned<u16>>, usual: u16) -> Result<u16, ConfigError> {
    match written {
        None => Ok(usual),
        Some(port) if port.value == 0 => Err(ConfigError::Value {
            line: port.referenced.line(),
            key: key.to_owned(),
            problem: "no port: 0".to_owned(),
        }),
        Some(port) => Ok(port.value),
    }
}
