//! The paths, and what stands at each. Pure.

use std::net::Ipv4Addr;

use crate::seed::Documents;

/// What a path asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Something to read.
    Document(Document),
    /// The place to say back, with the token that was given.
    PhoneHome(String),
}

/// Something to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Document {
    /// cloud-init's files.
    MetaData,
    UserData,
    VendorData,
    NetworkConfig,
    /// EC2's: what there is of a version.
    Versions,
    /// EC2's: the names of the values.
    Values,
    InstanceId,
    Hostname,
    LocalAddress,
    /// EC2's: the numbers of the keys.
    Keys,
    /// EC2's: in which forms there is a key.
    KeyForms(usize),
    Key(usize),
}

/// The version of EC2's tree that cloud-init and Hegel know, and the newest, which is the same.
const VERSIONS: [&str; 2] = ["2009-04-04", "latest"];

/// Holds for paths that nobody else answers where metadata is served.
pub(super) fn is_ours(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    VERSIONS.contains(&first) || ["nocloud", "metadata"].contains(&first)
}

impl Wanted {
    /// Reads a path. Slashes too many at its beginning do no harm: base addresses are often written with one.
    pub(super) fn of(path: &str) -> Option<Self> {
        let path = path.trim_start_matches('/');
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        let document = match first {
            "nocloud" => match rest.trim_start_matches('/') {
                "meta-data" => Document::MetaData,
                "user-data" => Document::UserData,
                "vendor-data" => Document::VendorData,
                "network-config" => Document::NetworkConfig,
                _ => return None,
            },
            "metadata" => {
                let token = rest.strip_suffix("/phone-home")?;
                let is_token = token.len() == 32
                    && token.bytes().all(|d| matches!(d, b'0'..=b'9' | b'a'..=b'f'));
                return is_token.then(|| Self::PhoneHome(token.to_owned()));
            }
            version if VERSIONS.contains(&version) => Document::of_ec2(rest)?,
            _ => return None,
        };
        Some(Self::Document(document))
    }
}

impl Document {
    fn of_ec2(path: &str) -> Option<Self> {
        Some(match path {
            "" => Self::Versions,
            "user-data" => Self::UserData,
            "meta-data" | "meta-data/" => Self::Values,
            "meta-data/instance-id" => Self::InstanceId,
            "meta-data/hostname" | "meta-data/local-hostname" => Self::Hostname,
            "meta-data/local-ipv4" => Self::LocalAddress,
            "meta-data/public-keys" | "meta-data/public-keys/" => Self::Keys,
            _ => {
                let key = path.strip_prefix("meta-data/public-keys/")?;
                let (number, form) = key.split_once('/').unwrap_or((key, ""));
                let number = number.parse().ok().filter(|_| !number.starts_with('+'))?;
                match form {
                    "" => Self::KeyForms(number),
                    "openssh-key" => Self::Key(number),
                    _ => return None,
                }
            }
        })
    }

    /// Names it for the journal: all values of EC2's are its meta-data.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::UserData => "user-data",
            Self::VendorData => "vendor-data",
            Self::NetworkConfig => "network-config",
            Self::MetaData
            | Self::Versions
            | Self::Values
            | Self::InstanceId
            | Self::Hostname
            | Self::LocalAddress
            | Self::Keys
            | Self::KeyForms(_)
            | Self::Key(_) => "meta-data",
        }
    }

    /// Returns what stands there for the machine that asks from an address.
    pub(super) fn text(self, documents: &Documents, address: Ipv4Addr) -> Option<String> {
        let keys = &documents.ssh_keys;
        Some(match self {
            Self::MetaData => documents.meta_data.0.clone(),
            Self::UserData => documents.user_data.0.clone(),
            // cloud-init wants the file; an empty one says nothing.
            Self::VendorData => {
                documents.vendor_data.as_ref().map(|text| text.0.clone()).unwrap_or_default()
            }
            Self::NetworkConfig => documents.network_config.as_ref()?.0.clone(),
            Self::Versions => "meta-data/\nuser-data".to_owned(),
            Self::Values => {
                let mut names = vec!["hostname", "instance-id", "local-hostname", "local-ipv4"];
                names.extend((!keys.is_empty()).then_some("public-keys/"));
                names.join("\n")
            }
            Self::InstanceId => documents.instance_id.clone(),
            Self::Hostname => documents.hostname.clone(),
            Self::LocalAddress => address.to_string(),
            Self::Keys if keys.is_empty() => return None,
            Self::Keys => {
                let names = (0..keys.len()).map(|number| format!("{number}=key-{number}"));
                names.collect::<Vec<_>>().join("\n")
            }
            Self::KeyForms(number) => keys.get(number).map(|_| "openssh-key".to_owned())?,
            Self::Key(number) => keys.get(number)?.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_others_stay_theirs() {
        for path in ["/", "/boot/ipxe.efi", "/latestx", "/image/latest", "/script.ipxe", ""] {
            assert!(!is_ours(path), "{path}");
        }
        for path in ["/latest", "//nocloud/meta-data", "/2009-04-04/", "/metadata/x"] {
            assert!(is_ours(path), "{path}");
        }
    }

    #[test]
    fn nothing_but_these_paths_is_anything() {
        for path in [
            "/latest/meta-data/public-keys/+1",
            "/latest/meta-data/public-keys/-1/openssh-key",
            "/latest/meta-data/public-keys/0/rsa",
            "/latest/meta-data/public-keys/99999999999999999999999",
            "/latest/../latest/user-data",
            "/latest/user-data/",
            "/latest/api/token",
            "/nocloud",
            "/nocloud/",
            "/nocloud/../metadata",
            "/nocloud/%6deta-data",
            "/metadata/phone-home",
            "/metadata//phone-home",
            "/metadata/A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5/phone-home",
            "/metadata/a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5",
        ] {
            assert_eq!(Wanted::of(path), None, "{path}");
        }
        let home = Wanted::of("/metadata/a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5/phone-home");
        assert_eq!(home, Some(Wanted::PhoneHome("a5".repeat(16))));
    }

    proptest::proptest! {
        #[test]
        fn no_path_makes_it_panic(path in "/?(latest|nocloud|metadata)?(/|meta-data|public-keys|[0-9]|.){0,12}") {
            let ours = is_ours(&path);
            proptest::prop_assert!(ours || Wanted::of(&path).is_none());
        }
    }
}
