//! What installed systems are told about themselves.

use std::fs;

use anyhow::{Context as _, Result};

use super::written;
use crate::{lab::Lab, listener::Listener, machine::chance};

/// What the installed system is told about itself, and what to say of it.
pub(super) struct Told {
    /// Its host name.
    pub(super) name: String,
    /// A public key.
    pub(super) key: String,
    /// What to say, and to whom, as cloud-init reads it.
    pub(super) user_data: String,
    file: String,
}

impl Told {
    /// Makes up a name and a key.
    pub(super) fn new(lab: &Lab, listener: &Listener) -> Result<Told> {
        let name = format!("hull-{}", chance::digits(8).to_lowercase());
        let key = format!("{} tug@lab", written::key());
        let user_data = format!(
            "#cloud-config\nruncmd:\n  - [python3, -c, \"{}\"]\n",
            SAYS.trim().replace('\n', "; ").replace("URL", &listener.url)
        );
        let path = lab.scratch("user-data");
        fs::write(&path, &user_data).context("writing user-data")?;
        let file = path.to_str().context("the scratch directory is no UTF-8")?.to_owned();
        Ok(Told { name, key, user_data, file })
    }

    /// Returns the options of the command that say so.
    pub(super) fn options(&self) -> [&str; 6] {
        ["--hostname", &self.name, "--ssh-key", &self.key, "--user-data", &self.file]
    }
}

/// The installed system's own words about itself.
const SAYS: &str = "
import json, os, socket, urllib.request
root = os.statvfs('/')
said = dict(hostname=socket.gethostname(), keys=open('/home/debian/.ssh/authorized_keys').read(), \
uefi=os.path.exists('/sys/firmware/efi'), rootBytes=root.f_blocks * root.f_frsize)
urllib.request.urlopen('URL', json.dumps(said).encode(), 60)
";
