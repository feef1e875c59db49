//! What installed systems may ask for, and what they say back: each by the port that it speaks through.

use protocol::MacAddress;

use super::{Effects, Fleet, Now};
use crate::{
    journal::What,
    machine::{DiskOrder, Machine, install::PhonedHome},
    seed::Documents,
};

impl Fleet {
    /// Returns what is served to the machine that has a port; `name` is what it fetches, and is journalled once.
    pub(in crate::machine) fn documents_for(
        &mut self,
        port: MacAddress,
        name: &str,
        now: Now,
        effects: &mut Effects,
    ) -> Option<Documents> {
        let machine = self.only_one_with(port)?;
        let order = machine.served_order(now)?;
        let (id, documents) = (order.id, order.install()?.served.as_deref()?.documents()?.clone());
        let machine = machine.name.clone();
        let machine = self.machines.get_mut(machine.as_str())?;
        let served = machine.orders.last_mut()?.install_mut()?.served.as_deref_mut()?;
        if served.note(name) {
            effects.tell(machine, now, What::MetadataServed { order: id, name: name.to_owned() });
            effects.touched.insert(machine.name.clone());
        }
        Some(documents)
    }

    /// Takes what an installed system says back. False for everybody who is not to be heard.
    pub(in crate::machine) fn phones_home(
        &mut self,
        port: MacAddress,
        token: &str,
        said: &PhonedHome,
        now: Now,
        effects: &mut Effects,
    ) -> bool {
        let heard = self.only_one_with(port).filter(|machine| {
            machine
                .served_order(now)
                .and_then(|order| order.install()?.served.as_deref())
                .is_some_and(|served| served.hears(token))
        });
        let Some(name) = heard.map(|machine| machine.name.clone()) else { return false };
        let Some(machine) = self.machines.get_mut(name.as_str()) else { return false };
        let Some(order) = machine.orders.last_mut() else { return false };
        let id = order.id;
        let Some(install) = order.install_mut() else { return false };
        // It says so until it is answered; the first time counts.
        if install.phoned_home.is_none() {
            install.phoned_home = Some(said.clone());
            let PhonedHome { at: _, hostname, instance_id } = said.clone();
            let what = What::PhonedHome { order: id, hostname, instance_id };
            effects.tell(machine, now, what);
            effects.changed.insert(name);
        }
        true
    }

    /// Finds the machine that a port belongs to. Ports that can be another machine's tomorrow are nobody's, and so are
    /// those that two machines show.
    fn only_one_with(&self, port: MacAddress) -> Option<&Machine> {
        let shows = |machine: &&Machine| machine.ports.iter().any(|known| known.mac == port);
        let mut found = self.machines().filter(shows);
        let machine = found.next().filter(|_| found.next().is_none())?;
        let is_fixed = machine.ports.iter().any(|known| known.mac == port && !known.removable);
        is_fixed.then_some(machine)
    }

    /// Forgets what is never served any more.
    pub(super) fn stop_serving(&mut self, now: Now, effects: &mut Effects) {
        for machine in self.machines.values_mut() {
            for order in &mut machine.orders {
                if order.served_in_vain(now.unix_milliseconds)
                    && let Some(install) = order.install_mut()
                {
                    install.served = None;
                    effects.touched.insert(machine.name.clone());
                }
            }
        }
    }
}

impl Machine {
    /// Returns the order whose installed system may ask: the last one of a machine that is approved and ours.
    fn served_order(&self, now: Now) -> Option<&DiskOrder> {
        let order =
            self.orders.last().filter(|_| self.is_approved() && self.claimed_by.is_none())?;
        order.served_at(now.unix_milliseconds).map(|_| order)
    }

    /// Forgets all that would be served: this is not the machine that it was meant for, or not in that state.
    pub(in crate::machine) fn serve_nothing(&mut self) {
        for install in self.orders.iter_mut().filter_map(DiskOrder::install_mut) {
            install.served = None;
        }
    }
}
