//! The loops: requests on the ports, other servers on the wire, the interface and the clocks.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use dhcp::{Message, MessageType, Operation};
use nix::time::{ClockId, clock_gettime};
use protocol::MacAddress;
use tokio::{
    task::JoinSet,
    time::{self, MissedTickBehavior},
};

use super::{Core, Open, RETRY, Seams};
use crate::{
    decision::Boot,
    dhcp::{
        answer::{self, Response, respond},
        caller::{Caller, SERVER_PORT},
        conflict::Conflicts,
        lease::UnixTime,
        lookout::{ForeignReply, Heard, Lookout, Sight, chosen_server},
        pace::{Progress, Verdict},
        program::Course,
        settings::Mode,
        watch::{Action, Event},
        wire::{
            Port,
            interface::{self, Interface},
        },
    },
    journal::{ClientFamily, Entry, Silence, What},
};

/// How many requests may be under way at once on one port: those that wait for ARP or for the disk.
const IN_FLIGHT: usize = 512;

/// How many addresses are tried for one client, when somebody answers for each.
const CONFLICTS: usize = 3;

/// How often the interface and the clocks are looked at.
const TICK: Duration = Duration::from_millis(500);

/// How much the clock that counts sleep may run ahead of the one that does not, between two ticks.
const SLEEP_TOLERANCE: Duration = Duration::from_secs(1);

/// How often one foreign server is told of, beside what it says to our machines.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// Works until the device is gone, or another one has its name.
pub(super) async fn until_replaced(core: &Arc<Core>, seams: &Seams, open: &mut Open) {
    let Open { interface, ports, conflicts, lookout } = open;
    let arp = async {
        match &*conflicts {
            Some(conflicts) => {
                let error = conflicts.run().await;
                tracing::warn!(%error, "hearing ARP");
            }
            None => std::future::pending().await,
        }
    };
    let clients = async {
        let mut serving = JoinSet::new();
        for port in &*ports {
            serving.spawn(serve(
                Arc::clone(core),
                seams.clone(),
                Arc::clone(port),
                conflicts.clone(),
            ));
        }
        while serving.join_next().await.is_some() {}
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = arp => {}
        () = clients => {}
        () = look_out(core, seams, interface, lookout) => {}
    }
}

/// Takes requests from one port, for ever. Each waits for ARP and the disk by itself.
async fn serve(core: Arc<Core>, seams: Seams, port: Arc<Port>, conflicts: Option<Arc<Conflicts>>) {
    let mut buffer = [0; 2048];
    let mut under_way = JoinSet::new();
    loop {
        while under_way.try_join_next().is_some() {}
        let (size, source) = match port.receive(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                tracing::warn!(port = port.number(), %error, "receiving");
                time::sleep(RETRY).await;
                continue;
            }
        };
        let request = read_request(&core, &seams, &buffer[..size], source, port.number());
        let Some(caller) = request else { continue };
        if under_way.len() < IN_FLIGHT {
            let (core, seams) = (Arc::clone(&core), seams.clone());
            let (port, conflicts) = (Arc::clone(&port), conflicts.clone());
            under_way.spawn(async move {
                answer_one(&core, &seams, &port, conflicts.as_deref(), &caller).await;
            });
        } else {
            let entry = answer::silence_entry(&caller, Silence::RateLimited, unix_now());
            (seams.journal)(entry);
        }
    }
}

/// Reads a request and counts it; absent where it is not to be answered, which is told then.
fn read_request(
    core: &Core,
    seams: &Seams,
    payload: &[u8],
    source: SocketAddrV4,
    port: u16,
) -> Option<Caller> {
    let (now, unix) = (Instant::now(), unix_now());
    let (mac, silence) = match Message::parse(payload) {
        // Between other servers and relays.
        Ok(message) if message.op == Operation::Reply => return None,
        Ok(message) => {
            let mac = message.chaddr;
            match Caller::recognise(message, source, port) {
                Ok(caller) => return admit(core, seams, caller, now, unix),
                Err(silence) => (Some(mac), silence),
            }
        }
        Err(error) => (None, Silence::Malformed { problem: error.to_string() }),
    };
    if core.state().pace.admit_nonsense(now) {
        let address = Some(*source.ip()).filter(|address| !address.is_unspecified());
        let what = What::DhcpSilence(silence);
        (seams.journal)(Entry { unix_milliseconds: unix.0, mac, address, machine: None, what });
    }
    None
}

/// Counts a request that makes sense.
fn admit(
    core: &Core,
    seams: &Seams,
    mut caller: Caller,
    now: Instant,
    unix: UnixTime,
) -> Option<Caller> {
    let verdict = {
        let mut state = core.state();
        let is_known = state.leases.knows(caller.mac());
        let before = state.pace.family_of(caller.mac());
        caller = caller.continuing(before);
        let verdict = state.pace.admit(caller.mac(), caller.family, is_known, now);
        if matches!(caller.family, ClientFamily::Agent | ClientFamily::Other) {
            // An operating system asks: the way there was no loop.
            state.pace.reached_system(caller.mac());
        }
        verdict
    };
    match verdict {
        Verdict::Sound => {
            let interface = core.settings.interface();
            (seams.journal)(answer::request_entry(&caller, interface, unix));
            Some(caller)
        }
        Verdict::TooMany => {
            (seams.journal)(answer::silence_entry(&caller, Silence::RateLimited, unix));
            None
        }
        Verdict::StillTooMany => None,
    }
}

/// Answers one request, or tells why not.
async fn answer_one(
    core: &Core,
    seams: &Seams,
    port: &Port,
    conflicts: Option<&Conflicts>,
    caller: &Caller,
) {
    let course = course(core, seams, caller);
    for _ in 0..CONFLICTS {
        let response = {
            let mut state = core.state();
            match state.watch.obstacle() {
                Some(server) => {
                    let silence = Some(Silence::Suspended { server });
                    Response { silence, ..Response::default() }
                }
                None => respond(caller, &core.settings, &mut state.leases, &course, unix_now()),
            }
        };
        if let Some(silence) = response.silence {
            (seams.journal)(answer::silence_entry(caller, silence, unix_now()));
            return;
        }
        if let (Some(address), Some(conflicts)) = (response.probe, conflicts)
            && let Some(owner) = conflicts.owner(address, caller.mac()).await
        {
            tracing::warn!(%address, %owner, "an address of the pool is in use: laid aside");
            let laid_aside = core.state().leases.quarantine(caller.mac(), address, unix_now());
            if let Some(lease) = laid_aside {
                core.write(address, lease).await;
            }
            continue;
        }
        send(core, seams, port, caller, response).await;
        return;
    }
    (seams.journal)(answer::silence_entry(caller, Silence::PoolExhausted, unix_now()));
}

/// Sends a reply, once what it promises is stored.
async fn send(core: &Core, seams: &Seams, port: &Port, caller: &Caller, response: Response) {
    if let Some((address, lease)) = response.store {
        core.write(address, lease).await;
    }
    if let Some(address) = response.has_address {
        (seams.note_address)(caller.mac(), address);
    }
    let Some(reply) = response.reply else { return };
    let from = core.settings.server_address();
    match port.send(&reply.payload, from, reply.destination).await {
        Ok(()) => (seams.journal)(answer::reply_entry(caller, &reply, unix_now())),
        Err(error) => {
            tracing::warn!(mac = %caller.mac(), to = %reply.destination, %error, "a reply was not sent");
        }
    }
}

/// Asks what the machine shall boot, and counts how often it was told to boot from us.
fn course(core: &Core, seams: &Seams, caller: &Caller) -> Course {
    if !caller.is_network_boot() {
        return Course::Decided(Boot::OwnDisk);
    }
    let boot = (seams.decide)(&caller.traveller());
    let unserved = caller.board().and_then(|board| (seams.see_board)(caller.mac(), board, &boot));
    if let Some(silence) = unserved {
        return Course::Decided(Boot::Silence(silence));
    }
    if !matches!(boot, Boot::System(_)) {
        return Course::Decided(boot);
    }
    // Every boot begins with a DISCOVER; what follows it is the same round.
    let progress = match (caller.kind, caller.port) {
        (MessageType::Discover, SERVER_PORT) => {
            core.state().pace.boots(&caller.message, Instant::now())
        }
        _ => core.state().pace.progress(caller.mac()),
    };
    match progress {
        Progress::Fine => Course::Decided(boot),
        Progress::LoopGoesOn => Course::OutOfLoop,
        Progress::LoopBegins { rounds } => {
            (seams.journal)(answer::entry(caller, unix_now(), What::BootLoop { rounds }));
            Course::OutOfLoop
        }
    }
}

/// Watches the wire, the interface and the clocks, until the device is gone.
async fn look_out(
    core: &Core,
    seams: &Seams,
    interface: &mut Interface,
    lookout: &mut Option<Lookout>,
) {
    let mut ticks = time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut slept = time_asleep();
    loop {
        let sight = async {
            match lookout {
                Some(lookout) => lookout.watch().await,
                None => std::future::pending().await,
            }
        };
        let mut events = Vec::new();
        let mut client = None;
        tokio::select! {
            sight = sight => match sight {
                Ok(Sight::ProbeEnded) => events.push(Event::ProbePassed),
                Ok(Sight::Heard(heard)) => match *heard {
                    Heard::Server(reply) => {
                        tell_of_server(core, seams, &reply);
                        if reply.lends_addresses() {
                            events.push(Event::ServerSeen(reply.server));
                        }
                    }
                    Heard::Client(message) => {
                        let chosen = chosen_server(&message, core.settings.server_address());
                        client = chosen.map(|_| message.chaddr);
                        events.extend(chosen.map(Event::ServerNamed));
                        overhear(core, seams, message);
                    }
                },
                Err(error) => {
                    tracing::warn!(%error, "hearing other DHCP servers");
                    return;
                }
            },
            _ = ticks.tick() => {
                let asleep = time_asleep();
                if asleep.saturating_sub(slept) > SLEEP_TOLERANCE {
                    tracing::info!("the host slept");
                    events.push(Event::NetworkChanged);
                }
                slept = asleep;
                match interface::read(core.settings.interface()) {
                    Ok(Some(found)) if found.link == interface.link => {
                        events.extend(changes(core, interface, &found));
                        *interface = found;
                    }
                    Ok(_) => return,
                    Err(error) => tracing::warn!(%error, "reading the state of the interface"),
                }
                events.push(Event::Tick);
            }
        }
        if let Mode::Authoritative { force: false, .. } = core.settings.mode() {
            for event in events {
                step(core, lookout.as_mut(), event, client);
            }
        }
    }
}

/// Takes an event in, and does what follows. A probe asks as `client`, where one gave reason for it.
fn step(core: &Core, lookout: Option<&mut Lookout>, event: Event, client: Option<MacAddress>) {
    let now = Instant::now();
    let (before, after, action) = {
        let mut state = core.state();
        let before = state.watch;
        let (after, action) = before.step(event, now);
        state.watch = after;
        (before, after, action)
    };
    if let (Action::Probe, Some(lookout)) = (action, lookout) {
        lookout.begin_probe(client, now);
    }
    let interface = core.settings.interface();
    if let (Action::Probe, Event::ServerNamed(server), Some(client)) = (action, event, client) {
        tracing::warn!(interface, %server, %client, "a client asks another DHCP server: looking for it");
    }
    match (before.obstacle(), after.obstacle()) {
        (None, Some(_)) => tracing::warn!(interface, ?event, "DHCP is suspended"),
        (Some(_), None) => tracing::info!(interface, "DHCP goes on: no other server answers"),
        _ => {}
    }
}

/// Compares the interface with what it was.
fn changes(core: &Core, before: &Interface, found: &Interface) -> Vec<Event> {
    let address = core.settings.server_address();
    let mut events = Vec::new();
    if before.carrier_changes != found.carrier_changes || before.addresses != found.addresses {
        events.push(Event::NetworkChanged);
    }
    // Said every time: the watch knows whether it is news.
    events.push(if found.is_running && found.addresses.contains(&address) {
        Event::AddressBack
    } else {
        Event::AddressLost
    });
    events
}

/// Tells of another server's answer: to our machines always, to others now and then.
fn tell_of_server(core: &Core, seams: &Seams, reply: &ForeignReply) {
    let message = &reply.message;
    let now = Instant::now();
    let (is_new, family) = {
        let mut state = core.state();
        let is_authoritative = matches!(core.settings.mode(), Mode::Authoritative { .. });
        let is_new = is_authoritative
            && reply.lends_addresses()
            && state.told.is_none_or(|(server, when)| {
                server != reply.server || now.saturating_duration_since(when) > TOLD_EVERY
            });
        if is_new {
            state.told = Some((reply.server, now));
        }
        (is_new, state.pace.family_of(message.chaddr))
    };
    let is_traveller = family.is_some_and(|family| family != ClientFamily::Other);
    let given = Some(message.yiaddr).filter(|address| !address.is_unspecified());
    let kind = message.options.message_type();
    if let (Some(MessageType::Ack), Some(address), true) = (kind, given, is_traveller) {
        (seams.note_address)(message.chaddr, address);
    }
    if is_new || (is_traveller && kind == Some(MessageType::Offer)) {
        (seams.journal)(Entry {
            unix_milliseconds: unix_now().0,
            mac: Some(message.chaddr),
            address: given,
            machine: None,
            what: What::ForeignOffer {
                server: reply.server,
                has_server_identifier: message.options.contains(dhcp::code::SERVER_IDENTIFIER),
                file: message.boot_file(),
            },
        });
    }
}

/// Tells that a machine asks where DHCP is off: who listens on no port hears it all the same.
fn overhear(core: &Core, seams: &Seams, message: Message) {
    if *core.settings.mode() != Mode::Off {
        return;
    }
    let source = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
    let (now, unix) = (Instant::now(), unix_now());
    let Ok(caller) = Caller::recognise(message, source, SERVER_PORT) else { return };
    if !caller.is_network_boot() {
        return;
    }
    if let Some(caller) = admit(core, seams, caller, now, unix) {
        if let Some(board) = caller.board() {
            // Over TFTP it says its serial number only.
            (seams.see_board)(caller.mac(), board, &Boot::OwnDisk);
        }
        (seams.journal)(answer::silence_entry(&caller, Silence::Off, unix));
    }
}

/// The clock, for leases and entries.
fn unix_now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// How long the host has slept since it started: `CLOCK_BOOTTIME` counts sleep, `CLOCK_MONOTONIC` does not.
fn time_asleep() -> Duration {
    let read = |clock| clock_gettime(clock).map(Duration::from).unwrap_or_default();
    let awake = read(ClockId::CLOCK_MONOTONIC);
    read(ClockId::CLOCK_BOOTTIME).saturating_sub(awake)
}
