//! Processors: SMBIOS says which sockets, the kernel says what is in them.

use std::collections::BTreeMap;

use protocol::inventory::Processor;

/// What `/proc/cpuinfo` says of one socket.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Package {
    vendor: Option<String>,
    model: Option<String>,
    cores: Option<u32>,
    threads: u32,
    flags: Vec<String>,
}

/// Joins both views: sockets and their rated speed from SMBIOS; maker, model and flags from the processors
/// themselves (`CPUID`), which cannot be mistyped. A field that one side lacks comes from the other.
pub(crate) fn join(sockets: Vec<Processor>, cpuinfo: &str) -> Vec<Processor> {
    let packages = packages(cpuinfo);
    if sockets.is_empty() {
        return packages
            .into_values()
            .map(|package| fill(Processor::default(), Some(package)))
            .collect();
    }
    // Sockets and packages are counted alike, but only equal numbers of them say which is which.
    let same = sockets.len() == packages.len();
    let first = packages.values().next().cloned().map(|package| Package {
        cores: None,
        threads: 0,
        ..package
    });
    let mut packages = packages.into_values();
    sockets
        .into_iter()
        .map(|socket| {
            let package = if same { packages.next() } else { first.clone() };
            fill(socket, package)
        })
        .collect()
}

fn fill(socket: Processor, package: Option<Package>) -> Processor {
    let Some(package) = package else { return socket };
    Processor {
        vendor: package.vendor.or(socket.vendor),
        model: package.model.or(socket.model),
        cores: socket.cores.or(package.cores),
        threads: socket.threads.or((package.threads > 0).then_some(package.threads)),
        flags: package.flags,
        ..socket
    }
}

/// Reads `/proc/cpuinfo` into packages by `physical id`; where there is none (Arm, one processor), all are one.
fn packages(cpuinfo: &str) -> BTreeMap<u32, Package> {
    let mut packages: BTreeMap<u32, Package> = BTreeMap::new();
    for block in cpuinfo.split("\n\n") {
        let fields: BTreeMap<&str, &str> = block
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(key, value)| (key.trim(), value.trim()))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        if !fields.contains_key("processor") {
            continue;
        }
        let number = fields.get("physical id").and_then(|id| id.parse().ok()).unwrap_or(0);
        let package = packages.entry(number).or_default();
        package.threads = package.threads.saturating_add(1);
        if package.threads > 1 {
            continue;
        }
        let text = |key: &str| fields.get(key).map(|value| (*value).to_owned());
        package.vendor = text("vendor_id");
        package.model = text("model name");
        package.cores = fields.get("cpu cores").and_then(|cores| cores.parse().ok());
        let flags =
            fields.get("flags").or_else(|| fields.get("Features")).copied().unwrap_or_default();
        package.flags = flags.split_whitespace().map(str::to_owned).collect();
        package.flags.sort_unstable();
        package.flags.dedup();
    }
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_SOCKETS: &str = "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Xeon E5\n\
        physical id\t: 0\ncpu cores\t: 8\nflags\t\t: vmx fpu aes\n\n\
        processor\t: 1\nvendor_id\t: GenuineIntel\nmodel name\t: Xeon E5\nphysical id\t: 1\ncpu cores\t: 8\n\n\
        processor\t: 2\nphysical id\t: 0\n\n";

    fn socket(name: &str) -> Processor {
        Processor {
            socket: Some(name.to_owned()),
            vendor: Some("Intel(R) Corporation".to_owned()),
            model: Some("pc-i440fx".to_owned()),
            threads: Some(16),
            ..Processor::default()
        }
    }

    #[test]
    fn without_smbios_the_kernel_tells_the_packages() {
        let processors = join(Vec::new(), TWO_SOCKETS);
        assert_eq!(processors.len(), 2);
        assert_eq!(processors[0].threads, Some(2));
        assert_eq!(processors[0].cores, Some(8));
        assert_eq!(processors[0].flags, ["aes", "fpu", "vmx"]);
        assert_eq!(processors[1].threads, Some(1));
    }

    #[test]
    fn the_processor_knows_its_own_name_best() {
        let processors = join(vec![socket("CPU 1"), socket("CPU 2")], TWO_SOCKETS);
        assert_eq!(processors[1].socket.as_deref(), Some("CPU 2"));
        assert_eq!(processors[1].vendor.as_deref(), Some("GenuineIntel"));
        assert_eq!(processors[1].model.as_deref(), Some("Xeon E5"));
        assert_eq!(processors[1].cores, Some(8));
        assert_eq!(processors[1].threads, Some(16), "what SMBIOS says stands");
    }

    #[test]
    fn counts_are_not_moved_between_sockets() {
        let processors = join(vec![socket("CPU 1")], TWO_SOCKETS);
        assert_eq!(processors.len(), 1);
        assert_eq!(processors[0].cores, None);
        assert_eq!(processors[0].vendor.as_deref(), Some("GenuineIntel"));
    }

    #[test]
    fn arm_has_one_package_and_features() {
        let processors = join(
            Vec::new(),
            "processor\t: 0\nFeatures\t: fp asimd\n\nprocessor\t: 1\n\nSerial\t: 1\n",
        );
        assert_eq!(processors.len(), 1);
        assert_eq!(processors[0].threads, Some(2));
        assert_eq!(processors[0].flags, ["asimd", "fp"]);
        assert_eq!(processors[0].model, None);
    }

    #[test]
    fn junk_is_no_processor() {
        assert_eq!(join(Vec::new(), "\0\u{7f}::::\n\nprocessor\n\n"), []);
    }
}
