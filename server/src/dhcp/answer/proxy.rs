//! Beside the router's DHCP: no addresses, only what to boot. Facts: bootserver.md 2.5.

use dhcp::{MessageType, code};

use super::{Discovery, Response, add_boot, begin, send};
use crate::{
    decision::Boot,
    dhcp::{
        caller::{Caller, SERVER_PORT},
        program::{Course, boot_file},
        settings::Settings,
    },
    journal::{ClientFamily, Silence},
};

/// Answers DISCOVER on port 67, and on port 4011 the question that follows when the client has its address.
pub(super) fn answer(
    caller: &Caller,
    settings: &Settings,
    course: &Course,
) -> Result<Response, Silence> {
    if caller.family == ClientFamily::Agent {
        return to_agent(caller, settings, course);
    }
    if !caller.is_network_boot() {
        return Err(Silence::NotNetworkBoot);
    }
    let kind = match (caller.kind, caller.port) {
        (MessageType::Discover, _) => MessageType::Offer,
        (MessageType::Request | MessageType::Inform, port) => {
            let chosen = caller.chosen_server().filter(|it| *it != settings.server_address());
            match chosen {
                Some(server) => return Err(Silence::OtherServer { server }),
                // An answer to what everybody hears would compete with the router's.
                None if port == SERVER_PORT => return Err(Silence::NotNetworkBoot),
                None => MessageType::Ack,
            }
        }
        _ => return Ok(Response::default()),
    };
    let file = boot_file(caller, course, settings)?;
    let mut reply = begin(caller, settings, kind);
    // BIOS would wait for 4011 otherwise; some UEFI firmware ignores offers that skip it.
    let discovery = match caller.family {
        ClientFamily::BiosPxe => Discovery::Skipped,
        _ => Discovery::Usual,
    };
    add_boot(&mut reply, caller, settings, &file, discovery);
    let reply = Some(send(caller, reply));
    Ok(Response { reply, has_address: caller.own_address(), ..Response::default() })
}

/// Tells an agent that looks for an address where its server is: one whose image is signed knows it from nobody else.
fn to_agent(caller: &Caller, settings: &Settings, course: &Course) -> Result<Response, Silence> {
    if caller.kind != MessageType::Discover {
        return Err(Silence::NotNetworkBoot);
    }
    if let Course::Decided(Boot::Silence(silence)) = course {
        return Err(silence.clone());
    }
    let mut reply = begin(caller, settings, MessageType::Offer);
    reply.options.set_text(code::DRYDOCK_SERVER, &settings.agents_door());
    Ok(Response { reply: Some(send(caller, reply)), ..Response::default() })
}
