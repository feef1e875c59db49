//! Configurations that are right, and what is said of those that are not.

use std::fmt::Write;

use super::{interface::Interface, *};
use crate::dhcp::Mode;

const HEAD: &str = "apiVersion: drydock.evoteum.com/v1alpha1\nkind: BootstrapConfig\nspec:\n";

fn interfaces() -> Vec<Interface> {
    let interface = |name: &str, address: [u8; 4]| Interface {
        name: name.to_owned(),
        addresses: vec![address.into()],
    };
    vec![interface("eth0", [10, 0, 0, 2]), interface("wlan0", [192, 168, 1, 7])]
}

fn plan(text: &str, named: Option<&str>) -> Result<Plan, String> {
    let config = Config::parse(text).map_err(|error| error.to_string())?;
    Plan::make(&config, &interfaces(), named).map_err(|error| error.to_string())
}

const FULL: &str = "
  network:
    vlans:
      - name: machines
        cidr: 10.0.0.0/24
        staticIP:
          address: 10.0.0.2
          gateway: 10.0.0.1
          nameservers: [10.0.0.1, 9.9.9.9]
        dhcp:
          drydockManagesDHCP: true
          rangeStart: 10.0.0.100
          rangeEnd: 10.0.0.200
          reserveIPsForDiscoveredNodes: true
      - name: home
        interface: wlan0
        dhcp:
          drydockManagesDHCP: false
    discovery:
      enabled: true
      answer: listed
      machines: [\"52:54:00:00:00:01\", SN-7]
      ignore: [\"52:54:00:00:00:02\"]
  server:
    httpPort: 8480
    tlsPort: 8443
    consoles: [tty0, ttyS1]
    httpBoot: unified
    metadata:
      enabled: true
      address: 10.0.0.2
";

#[test]
fn the_server_is_announced_unless_a_person_says_otherwise() {
    let check = |server: &str| Config::parse(&format!("{HEAD}  server: {{{server}}}\n"));
    assert!(Config::default().announce);
    assert!(check("httpPort: 8480").unwrap().announce);
    assert!(check("announce: true").unwrap().announce);
    assert!(!check("announce: false").unwrap().announce);
    let refused = check("announce: sometimes").unwrap_err().to_string();
    assert!(refused.contains("line 4: server: {announce: sometimes}"), "{refused}");
}

#[test]
fn what_firmware_gets_that_boots_by_http_is_one_of_three() {
    let check = |written: &str| {
        let config = Config::parse(&format!("{HEAD}  server: {{{written}}}\n"));
        config.map(|config| config.http_boot).map_err(|error| error.to_string())
    };
    assert_eq!(check(""), Ok(HttpBoot::Ipxe));
    assert_eq!(check("httpBoot: ipxe"), Ok(HttpBoot::Ipxe));
    assert_eq!(check("httpBoot: signed"), Ok(HttpBoot::Signed));
    let problem = "neither ipxe nor unified nor signed nor shim: grub";
    assert!(check("httpBoot: grub").is_err_and(|said| said.contains(problem)));
}

#[test]
fn disks_on_a_network_are_looked_for_by_the_machines_that_are_named_or_by_all() {
    let parse = |server: &str| {
        let text = format!("{HEAD}  server: {{{server}}}\n");
        Config::parse(&text).map_err(|error| error.to_string())
    };
    let config = parse("httpPort: 7480").unwrap();
    assert!(!config.network_storage && config.lists.network_storage.is_empty());
    assert!(parse("networkStorage: true").unwrap().network_storage);
    let config = parse("networkStorage: false, networkStorageMachines: [SN-7]").unwrap();
    assert!(!config.network_storage);
    assert_eq!(config.lists.network_storage, ["SN-7".parse().unwrap()]);
    assert!(!parse("httpBoot: signed, networkStorage: false").unwrap().network_storage);
    assert!(parse("httpBoot: unified, networkStorage: true").unwrap().network_storage);
    for (server, problem) in [
        (
            "networkStorage: true, networkStorageMachines: [SN-7]",
            "line 4: spec.server.networkStorageMachines: means nothing beside networkStorage: true, which is for all: SN-7",
        ),
        (
            "httpBoot: signed, networkStorage: true",
            "line 4: spec.server.networkStorage: means nothing beside httpBoot: signed, since nothing can be said to a signed image",
        ),
        (
            "httpBoot: signed, networkStorageMachines: [SN-7]",
            "line 4: spec.server.networkStorageMachines: means nothing beside httpBoot: signed, since nothing can be said to a signed image: SN-7",
        ),
        (
            "networkStorageMachines: [SN-7, \"\"]",
            "line 4: spec.server.networkStorageMachines[1]: names no machine: empty",
        ),
    ] {
        assert_eq!(parse(server).unwrap_err(), problem);
    }
}

#[test]
fn metadata_is_served_only_where_that_is_said_and_at_one_of_the_servers_own_addresses() {
    let check = |vlans: &str, server: &str| {
        let text = format!("{HEAD}  network:\n    vlans: [{vlans}]\n  server: {{{server}}}\n");
        let config = Config::parse(&text).map_err(|error| error.to_string())?;
        let plan = Plan::make(&config, &interfaces(), None).map_err(|error| error.to_string())?;
        plan.metadata(&config).map_err(|error| error.to_string())
    };
    let one = "{name: a, interface: eth0, dhcp: {drydockManagesDHCP: false}}";
    let two = format!("{one}, {{name: b, interface: wlan0}}");
    assert_eq!(check(one, ""), Ok(None));
    assert_eq!(check(one, "metadata: {enabled: false}"), Ok(None));
    let on = "metadata: {enabled: true}";
    assert_eq!(check(one, on), Ok(Some("http://10.0.0.2:7480".to_owned())));
    let named = "httpPort: 80, metadata: {enabled: true, address: 192.168.1.7}";
    assert_eq!(check(&two, named), Ok(Some("http://192.168.1.7:80".to_owned())));
    insta::assert_snapshot!(check(&two, on).unwrap_err(), @"spec.server.metadata.address: say which one of the server's addresses installed systems reach: 10.0.0.2, 192.168.1.7");
    insta::assert_snapshot!(check(one, named).unwrap_err(), @"spec.server.metadata.address: the server has no such address here: 192.168.1.7");
    insta::assert_snapshot!(check(one, "metadata: {}").unwrap_err(), @"spec.server.metadata.enabled is missing");
    let off = "metadata: {enabled: false, address: 10.0.0.2}";
    insta::assert_snapshot!(check(one, off).unwrap_err(), @"line 6: spec.server.metadata.address: means nothing without enabled: true: 10.0.0.2");
}

#[test]
fn everything_that_is_built_can_be_said() {
    let text = format!("{HEAD}{FULL}");
    let config = Config::parse(&text).unwrap();
    assert_eq!((config.http_port, config.tls_port), (8480, 8443));
    assert_eq!(config.metadata, Metadata::On { address: Some([10, 0, 0, 2].into()) });
    assert_eq!(config.consoles, ["tty0", "ttyS1"]);
    assert_eq!(config.http_boot, HttpBoot::Unified);
    assert_eq!(config.lists.ignored.len(), 1);
    assert_eq!(config.lists.listed.as_ref().map(Vec::len), Some(2));
    let plan = plan(&text, None).unwrap();
    let [machines, home] = plan.networks.as_slice() else { panic!("{plan:?}") };
    assert_eq!(machines.dhcp.interface(), "eth0");
    assert_eq!(machines.dhcp.server_address(), Ipv4Addr::new(10, 0, 0, 2));
    assert!(matches!(machines.dhcp.mode(), Mode::Authoritative { force: false, .. }));
    assert!(machines.reserve_for_discovered);
    assert_eq!(home.dhcp.interface(), "wlan0");
    assert_eq!(*home.dhcp.mode(), Mode::Proxy);
}

#[test]
fn without_a_file_it_is_proxy_on_the_only_interface() {
    let only = &interfaces()[..1];
    let plan = Plan::make(&Config::default(), only, None).unwrap();
    assert_eq!(plan.networks[0].dhcp.interface(), "eth0");
    assert_eq!(*plan.networks[0].dhcp.mode(), Mode::Proxy);
    let named = Plan::make(&Config::default(), &interfaces(), Some("wlan0")).unwrap();
    assert_eq!(named.networks[0].dhcp.interface(), "wlan0");
}

#[test]
fn a_vlan_without_dhcp_is_off() {
    let text = format!("{HEAD}  network: {{vlans: [{{name: a, cidr: 10.0.0.0/24}}]}}\n");
    assert_eq!(*plan(&text, None).unwrap().networks[0].dhcp.mode(), Mode::Off);
}

#[test]
fn a_network_behind_a_relay_is_served_through_the_interface_that_is_named() {
    let vlan = |name: &str, third: u8| {
        format!(
            "      - {{name: {name}, interface: eth0, cidr: 10.0.{third}.0/24, dhcp: {{drydockManagesDHCP: true, rangeStart: 10.0.{third}.10, rangeEnd: 10.0.{third}.20}}}}\n"
        )
    };
    let text = format!("{HEAD}  network:\n    vlans:\n{}{}", vlan("near", 0), vlan("far", 9));
    let plan = plan(&text, None).unwrap();
    assert_eq!(plan.networks.len(), 1);
    assert_eq!(plan.networks[0].dhcp.subnets().len(), 2);
}

#[test]
fn discovery_that_is_not_enabled_answers_listed_machines_only() {
    let text = format!("{HEAD}  network: {{discovery: {{enabled: false}}}}\n");
    assert_eq!(Config::parse(&text).unwrap().lists.listed, Some(Vec::new()));
}

#[test]
fn what_is_wrong_is_said_in_one_line_that_names_the_key() {
    let vlan =
        |text: &str| format!("{HEAD}  network:\n    vlans:\n      - name: a\n        {text}\n");
    let dhcp = |text: &str| vlan(&format!("cidr: 10.0.0.0/24\n        dhcp:\n          {text}"));
    let managed = |text: &str| dhcp(&format!("drydockManagesDHCP: true\n          {text}"));
    let network = |text: &str| format!("{HEAD}  network:\n    {text}\n");
    let cases = [
        ("empty", String::new()),
        ("no YAML", "a: [b".to_owned()),
        ("no mapping", "- a\n".to_owned()),
        ("no kind", "apiVersion: drydock.evoteum.com/v1alpha1\nspec: {}\n".to_owned()),
        ("other version", HEAD.replace("v1alpha1", "v2") + "  {}\n"),
        ("no spec", HEAD.replace("spec:\n", "")),
        ("unknown key", network("vlan: []")),
        ("misspelt key", dhcp("drydockManagesDhcp: true")),
        ("key twice", network("vlans: []\n    vlans: []")),
        ("wrong type", dhcp("drydockManagesDHCP: perhaps")),
        ("cluster layout", format!("{HEAD}  clusterLayout: {{controllers: {{count: 3}}}}\n")),
        ("vlan id", vlan("id: 20")),
        ("vlan create", vlan("create: true")),
        ("controller", network("networkControllerManufacturer: {name: unifi}")),
        ("discovery method", network("discovery: {method: pxe}")),
        ("discovery timeout", network("discovery: {timeoutSeconds: 60}")),
        ("discovery answer", network("discovery: {answer: some}")),
        ("list without answer", network("discovery: {machines: [a]}")),
        ("empty name", network("discovery: {ignore: [\"\"]}")),
        ("no name", network("vlans: [{cidr: 10.0.0.0/24}]")),
        ("bad network", vlan("cidr: 10.0.0.0")),
        ("foreign network", vlan("cidr: 10.9.0.0/24")),
        ("no such interface", vlan("interface: eth7")),
        ("bad address", vlan("staticIP: {address: 10.0.0}")),
        ("foreign address", vlan("interface: eth0\n        staticIP: {address: 10.0.0.3}")),
        ("no mode", dhcp("rangeStart: 10.0.0.100")),
        ("no range", managed("rangeStart: 10.0.0.100")),
        ("range of a proxy", dhcp("drydockManagesDHCP: false\n          rangeStart: 10.0.0.100")),
        ("range outside", managed("rangeStart: 10.0.0.100\n          rangeEnd: 10.0.1.5")),
        ("range backwards", managed("rangeStart: 10.0.0.9\n          rangeEnd: 10.0.0.5")),
        ("range with the server", managed("rangeStart: 10.0.0.1\n          rangeEnd: 10.0.0.5")),
        ("port", format!("{HEAD}  server: {{httpPort: 0}}\n")),
        ("large port", format!("{HEAD}  server: {{httpPort: 70000}}\n")),
    ];
    let mut said = String::new();
    for (case, text) in cases {
        let error = plan(&text, None).unwrap_err();
        assert_eq!(error.lines().count(), 1, "{error}");
        writeln!(said, "{case}: {error}").unwrap();
    }
    for (case, result) in [
        ("several interfaces", Plan::make(&Config::default(), &interfaces(), None)),
        ("no interface", Plan::make(&Config::default(), &[], None)),
        ("named interface", Plan::make(&Config::default(), &interfaces(), Some("eth9"))),
    ] {
        writeln!(said, "{case}: {}", result.unwrap_err()).unwrap();
    }
    let both = plan(&vlan("interface: eth0"), Some("eth0")).unwrap_err();
    writeln!(said, "interface and vlans: {both}").unwrap();
    insta::assert_snapshot!(said);
}

#[test]
fn the_documented_configuration_is_one() {
    let document = include_str!("../../../docs/configuration.md");
    let yaml = document.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let plan = plan(yaml, None).unwrap();
    assert!(matches!(plan.networks[0].dhcp.mode(), Mode::Authoritative { .. }));
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}", at in 0_usize..900) {
        let whole = format!("{HEAD}{FULL}");
        let (before, after) = whole.split_at(at.min(whole.len()));
        let _read = Config::parse(&format!("{before}{text}{after}"));
        let _cut = Config::parse(before);
    }
}
