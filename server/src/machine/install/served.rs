//! What an installed system may ask of this server over plain HTTP, and how long; what it says back.

use protocol::install::Secret;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::machine::{DiskOrder, disk_order::OrderState};
use crate::seed::{Documents, Seed};

/// How long an installed system may take to say back that it is done, where nothing is served for longer.
const HEARD_SECONDS: u64 = 86_400;

/// What an installed system may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Served {
    /// Only the installed system knows it: 32 lower-case digits.
    token: Secret,
    /// What is served, where anything is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    documents: Option<Documents>,
    /// Whether it is heard.
    phone_home: bool,
    /// How long, from the end of the install on.
    seconds: u64,
    /// What it has fetched: said once each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    fetched: Vec<String>,
}

/// What an installed system said of itself. Anybody on its network may have said it who read what it was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PhonedHome {
    /// When: milliseconds since 1970.
    pub at: i64,
    /// Its host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Its instance-id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
}

impl Served {
    pub(super) fn new(token: String, seed: &Seed, documents: Option<Documents>) -> Self {
        let seconds = seed.serve_seconds.unwrap_or(HEARD_SECONDS);
        let token = Secret(token);
        Self { token, documents, phone_home: seed.phone_home, seconds, fetched: Vec::new() }
    }

    /// Returns what is served.
    pub(in crate::machine) fn documents(&self) -> Option<&Documents> {
        self.documents.as_ref()
    }

    /// Holds for who is to be heard.
    pub(in crate::machine) fn hears(&self, token: &str) -> bool {
        self.phone_home
            // Of digests: how far a guess is right is not to be measured.
            && Sha256::digest(&self.token.0) == Sha256::digest(token)
    }

    /// Notes that something was fetched; false when it was before.
    pub(in crate::machine) fn note(&mut self, name: &str) -> bool {
        let is_first = !self.fetched.iter().any(|known| known == name);
        if is_first {
            self.fetched.push(name.to_owned());
        }
        is_first
    }
}

impl DiskOrder {
    /// Returns what is served at a moment: nothing before the image is on its disk, nothing when its time is over.
    pub(in crate::machine) fn served_at(&self, unix_milliseconds: i64) -> Option<&Served> {
        let served = self.install()?.served.as_deref()?;
        let (from, until) = self.served_between(served)?;
        (from..until).contains(&unix_milliseconds).then_some(served)
    }

    /// Holds when what was to be served never will be any more.
    pub(in crate::machine) fn served_in_vain(&self, unix_milliseconds: i64) -> bool {
        let served = self.install().and_then(|install| install.served.as_deref());
        let Some(served) = served else { return false };
        let until = self.served_between(served).map(|(_, until)| until);
        let is_over = !self.is_open() && !self.is_lost();
        is_over && until.is_none_or(|until| until <= unix_milliseconds)
    }

    /// Returns from when until when it is served; nothing where the image is not on its disk.
    fn served_between(&self, served: &Served) -> Option<(i64, i64)> {
        let OrderState::Done { at, .. } = self.state else { return None };
        let lasts = i64::try_from(served.seconds).unwrap_or(i64::MAX).saturating_mul(1000);
        Some((at, at.saturating_add(lasts)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{
        Session,
        disk_order::tests::{installed, order},
    };

    fn served() -> DiskOrder {
        let seed = Seed { phone_home: true, serve_seconds: Some(60), ..Seed::default() };
        let served = Some(Box::new(Served::new("a5".repeat(16), &seed, None)));
        let mut order = order(1);
        order.install_mut().unwrap().served = served;
        order
    }

    fn done(at: i64) -> OrderState {
        let protocol::EventKind::Installed { report, .. } = installed(1) else {
            panic!("not installed")
        };
        OrderState::Done { session: Session([1; 32]), at, report }
    }

    #[test]
    fn it_is_served_from_the_end_of_the_install_until_its_time_is_over() {
        let mut order = served();
        assert_eq!(order.served_at(0), None);
        assert!(!order.served_in_vain(i64::MAX), "its install may still come");
        order.state = done(1000);
        assert_eq!(order.served_at(999), None);
        assert!(!order.served_in_vain(999), "a clock that went back ends nothing");
        assert!(order.served_at(1000).is_some() && order.served_at(60_999).is_some());
        assert_eq!(order.served_at(61_000), None);
        assert!(order.served_in_vain(61_000));
    }

    #[test]
    fn what_failed_serves_nothing() {
        let mut order = served();
        order.state = OrderState::Failed { at: 1, reason: String::new(), touched: true };
        assert_eq!(order.served_at(1), None);
        assert!(order.served_in_vain(1));
    }

    #[test]
    fn only_the_token_is_heard() {
        let served = served().install_mut().unwrap().served.take().unwrap();
        assert!(served.hears(&"a5".repeat(16)));
        for token in ["", "a5", &"A5".repeat(16), &"a4".repeat(16), &"a5".repeat(17)] {
            assert!(!served.hears(token), "{token}");
        }
        assert!(!format!("{served:?}").contains("a5a5"));
    }
}
