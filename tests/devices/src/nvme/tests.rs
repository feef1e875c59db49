//! What the specification says, asked of the simulator.

mod format;
mod identify;
mod io;
mod neighbours;
mod sanitize;

use super::*;

/// Status of a command that must fail.
fn refusal(answer: Result<u32, Failure>) -> u16 {
    match answer {
        Err(Failure::Status(status)) => status,
        other => panic!("a status was expected: {other:?}"),
    }
}

/// A controller whose namespaces are full of `0x5a`.
fn written(config: Config) -> Controller {
    let mut controller = Controller::new(config);
    for (id, namespace) in controller.namespaces.clone() {
        if namespace.is_attached && !namespace.is_write_protected {
            controller.write(id, 0, &vec![0x5a; index(namespace.bytes)]).unwrap();
        }
    }
    controller
}

/// How many bytes of what was written are still stored.
fn left(controller: &Controller) -> usize {
    let medium = controller.medium();
    medium.chunks(512).filter(|page| page.iter().all(|byte| *byte == 0x5a)).count() * 512
}

fn three_namespaces() -> Config {
    let unattached = Namespace { is_attached: false, ..Namespace::new(16 << 10, 3) };
    Config {
        namespaces: BTreeMap::from([
            (1, Namespace::new(16 << 10, 1)),
            (2, Namespace::new(16 << 10, 2)),
            (3, unattached),
        ]),
        ..Config::default()
    }
}

fn sanitize(controller: &mut Controller, dword: u32) -> Result<u32, Failure> {
    controller.admin(0x84, 0, [dword, 0x0403_0201, 0, 0, 0, 0], &mut [])
}

fn format(controller: &mut Controller, nsid: u32, dword: u32) -> Result<u32, Failure> {
    controller.admin(0x80, nsid, [dword, 0, 0, 0, 0, 0], &mut [])
}

/// `SPROG` and `SSTAT`.
fn sanitize_log(controller: &mut Controller) -> (u16, u16) {
    let mut log = [0; 512];
    controller.admin(0x02, ALL_NAMESPACES, [0x7f << 16 | 0x81, 0, 0, 0, 0, 0], &mut log).unwrap();
    (u16::from_le_bytes([log[0], log[1]]), u16::from_le_bytes([log[2], log[3]]))
}

fn identify(controller: &mut Controller, cns: u32, nsid: u32) -> Vec<u8> {
    let mut page = vec![0xee; 4096];
    controller.admin(0x06, nsid, [cns, 0, 0, 0, 0, 0], &mut page).unwrap();
    page
}

const HOUR: Duration = Duration::from_hours(1);

/// The bytes of a page that are not zero, but for a range.
fn set(page: &[u8], without: &[&std::ops::Range<usize>]) -> Vec<(usize, u8)> {
    let is_asked = |at: &usize| !without.iter().any(|range| range.contains(at));
    let bytes = page.iter().copied().enumerate().filter(|(_, byte)| *byte != 0);
    bytes.filter(|(at, _)| is_asked(at)).collect()
}

/// One range of Dataset Management.
fn deallocation(first: u64, blocks: u32) -> Vec<u8> {
    let mut range = vec![0; 4096];
    range[4..8].copy_from_slice(&blocks.to_le_bytes());
    range[8..16].copy_from_slice(&first.to_le_bytes());
    range
}
