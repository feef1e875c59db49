//! A machine that started from a CD or a stick, and whoever sits at it: its inventory on the screen, a menu, and what is
//! chosen there. A server that is found later, or that a person trusts, takes the machine over and closes the menu.

mod dialogue;
mod keys;
mod menu;
mod stick;

use std::{collections::VecDeque, future::pending, time::Duration};

use inventory::guard;
use protocol::Announce;
use tokio::{
    sync::{mpsc, watch},
    task::spawn_blocking,
    time::sleep,
};
use tracing::info;

pub use self::dialogue::{Dialogue, Done, Reply, Task, Then, Topic};
use self::menu::{Effect, Menu, Seen};
use crate::{
    console,
    finding::{Offers, Way},
    life::Talk,
    session::{self, End},
    work::Master,
};

/// How long a server that is known has to answer before the person at the console is asked.
const SERVER_PATIENCE: Duration = Duration::from_secs(30);

/// What is known of the machine and its surroundings, as it changes.
#[derive(Debug)]
pub(crate) struct Seat {
    /// The name of this system.
    pub(crate) system: &'static str,
    /// What this program adds to the menu.
    pub(crate) topic: Option<Topic>,
    /// What was said of the server.
    pub(crate) way: Way,
    /// The machine.
    pub(crate) picture: watch::Receiver<Option<Announce>>,
    /// What is heard of servers.
    pub(crate) offers: watch::Receiver<Offers>,
}

/// Why nothing is begun yet: what is missing may belong to what is meant (SAFETY.md 8).
const INCOMPLETE: &str = "the machine is not described as a whole: drivers or disks are on their way, or did not come; if that lasts, start it again";

/// Holds where everything that this machine has is there, as far as anybody knows.
fn is_whole(picture: Option<&Announce>) -> bool {
    picture.is_some_and(|it| it.complete && it.inventory.awaited.is_empty())
}

/// What comes of what was begun beside.
enum Came {
    Key(Result<protocol::Pin, String>),
    Saved(Result<String, String>),
    Done(Done),
}

/// What happened.
enum Happened {
    Typed(keys::Typed),
    Came(Came),
    /// The machine is described, and no server has come.
    Described,
    /// There is news of servers.
    Heard,
}

/// Sits at the consoles until the boot ends. `begin` speaks to a server.
pub(crate) async fn sit<E>(seat: Seat, begin: impl Fn(Way) -> Talk<E>) -> Result<End, E> {
    let Seat { system, topic, way, mut picture, mut offers } = seat;
    let mut menu = Menu::new(system, topic);
    let mut talk = match &way {
        Way::Ask | Way::Nobody => None,
        known => Some(begin(known.clone())),
    };
    let patience = if talk.is_some() { SERVER_PATIENCE } else { Duration::ZERO };
    let quiet = sleep(patience);
    tokio::pin!(quiet);
    let mut is_shown = false;
    let mut typed = keys::listen();
    let (tell, mut came) = mpsc::unbounded_channel();
    loop {
        let speak = async {
            match &mut talk {
                Some(talk) => talk.await,
                None => pending().await,
            }
        };
        // Nobody reads a machine that is half described; whoever types does not have to wait.
        let described = async {
            quiet.as_mut().await;
            let is_described =
                |picture: &Option<Announce>| picture.as_ref().is_some_and(|it| it.complete);
            picture.wait_for(is_described).await.is_ok()
        };
        let happened = tokio::select! {
            end = speak => return end,
            Some(typed) = typed.recv() => Happened::Typed(typed),
            Some(came) = came.recv() => Happened::Came(came),
            true = described, if !is_shown => Happened::Described,
            Ok(()) = offers.changed() => Happened::Heard,
        };
        let effects = {
            let (picture, offers) = (picture.borrow(), offers.borrow_and_update());
            let seen = Seen {
                inventory: picture.as_ref().map(|picture| &picture.inventory),
                offers: offers.all(),
                has_server: talk.is_some(),
                is_served: Master::Server.has_it(),
                is_alone: Master::Person.has_it(),
            };
            match happened {
                Happened::Typed(typed) => menu.line(typed.console, typed.line.as_deref(), seen),
                Happened::Came(Came::Key(found)) => menu.key(found),
                Happened::Came(Came::Saved(outcome)) => menu.saved(outcome),
                Happened::Came(Came::Done(done)) => menu.done(done),
                Happened::Heard => menu.heard(seen),
                Happened::Described => {
                    is_shown = true;
                    menu.picture(seen)
                }
            }
        };
        let mut effects: VecDeque<Effect> = effects.into();
        while let Some(effect) = effects.pop_front() {
            let tell = tell.clone();
            match effect {
                Effect::Show(words) => console::show(&words),
                Effect::Restart => return Ok(End::Restart),
                Effect::SwitchOff => return Ok(End::SwitchOff),
                Effect::Trust(server, pin) => {
                    info!(server, %pin, "a person at the console trusts this server");
                    talk = Some(begin(Way::Speak { server, pins: vec![pin] }));
                }
                // What became awaited while a person typed may belong to what is meant.
                Effect::Work(_) | Effect::Alone(_) if !is_whole(picture.borrow().as_ref()) => {
                    effects.extend(menu.back(INCOMPLETE));
                }
                beside @ (Effect::Look(_) | Effect::Save(..) | Effect::Work(_)) => {
                    start(beside, tell);
                }
                Effect::Alone(begin) if Master::Person.take() => {
                    // Whoever may have been about to answer is not spoken to any more.
                    talk = None;
                    info!("a person at the console has this machine: no server is spoken to");
                    let machine = picture.borrow().as_ref().map(|it| it.inventory.clone());
                    effects.extend(match machine {
                        Some(machine) => menu.follow(begin(&machine)),
                        None => menu.back(INCOMPLETE),
                    });
                }
                Effect::Alone(_) => effects.extend(menu.back("the server has this machine")),
            }
        }
    }
}

/// Begins what is done beside the menu, and has what comes of it told.
fn start(effect: Effect, tell: mpsc::UnboundedSender<Came>) {
    match effect {
        Effect::Look(server) => {
            tokio::spawn(async move {
                let _nobody_left = tell.send(Came::Key(session::key_of(&server).await));
            });
        }
        Effect::Save(stick, name, content) => {
            spawn_blocking(move || {
                // Where a filesystem makes no sense the library may panic.
                let saved = guard::catch(|| stick::save(&stick, &name, &content));
                let saved = saved.unwrap_or_else(Err);
                let _nobody_left = tell.send(Came::Saved(saved));
            });
        }
        Effect::Work(work) => {
            spawn_blocking(move || {
                let failed = |reason: String| Done {
                    reply: Reply::leave(format!("it failed: {reason}")),
                    report: None,
                };
                let done = guard::catch(work).unwrap_or_else(failed);
                let _nobody_left = tell.send(Came::Done(done));
            });
        }
        _ => {}
    }
}
