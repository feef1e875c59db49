//! Which board has which port, as its boot loader said over DHCP: over TFTP it says its serial number only.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use protocol::MacAddress;

use super::board::{Board, Model, Serial};

/// Boards remembered at least; at most twice as many.
const GENERATION: usize = 2_048;

/// The boards that asked lately. Cheap to clone; bounded: what was not seen for long is forgotten.
#[derive(Debug, Clone, Default)]
pub struct Boards(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    young: HashMap<MacAddress, Board>,
    old: HashMap<MacAddress, Board>,
}

impl Boards {
    /// Remembers what a board said of itself.
    pub fn learn(&self, mac: MacAddress, board: Board) {
        let mut seen = self.seen();
        if seen.young.len() >= GENERATION && !seen.young.contains_key(&mac) {
            seen.old = mem::take(&mut seen.young);
        }
        seen.old.remove(&mac);
        seen.young.insert(mac, board);
    }

    /// Returns the port of the board that has a serial number; nothing where several ports have said it, since anybody can.
    pub fn mac_of(&self, serial: Serial) -> Option<MacAddress> {
        let seen = self.seen();
        let all = seen.young.iter().chain(&seen.old);
        let mut its = all.filter(|(_, board)| board.serial == Some(serial)).map(|(mac, _)| *mac);
        its.next().filter(|_| its.next().is_none())
    }

    /// Returns which board has a port, where one said so.
    pub fn of(&self, mac: MacAddress) -> Option<Board> {
        let seen = self.seen();
        seen.young.get(&mac).or_else(|| seen.old.get(&mac)).copied()
    }

    /// Returns which model has a port.
    pub fn model_of(&self, mac: MacAddress) -> Model {
        self.of(mac).map_or_else(Model::default, |board| board.model)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(number: u32) -> MacAddress {
        let [a, b, c, d] = number.to_be_bytes();
        MacAddress([2, 0, a, b, c, d])
    }

    fn board(number: u32) -> Board {
        let mut identifier = vec![0];
        identifier.extend(*b"RPi4\x11\x31\xc0\0\0\0\0\0");
        identifier.extend(number.to_le_bytes());
        Board::of(mac(number), Some(&identifier))
    }

    #[test]
    fn a_board_is_found_by_its_serial_number() {
        let boards = Boards::default();
        boards.learn(mac(7), board(7));
        assert_eq!(boards.mac_of(Serial::read("00000007").unwrap()), Some(mac(7)));
        assert_eq!(boards.model_of(mac(7)), Model::Four);
        assert_eq!(boards.model_of(mac(8)), Model::Unknown);
        boards.learn(mac(7), Board { serial: None, model: Model::Unknown });
        assert_eq!(boards.mac_of(Serial::read("00000007").unwrap()), None, "it says another one");
    }

    #[test]
    fn a_flood_of_boards_is_bounded_and_the_latest_are_known() {
        let boards = Boards::default();
        for number in 1..=20_000 {
            boards.learn(mac(number), board(number));
            assert_eq!(boards.mac_of(board(number).serial.unwrap()), Some(mac(number)));
        }
        let seen = boards.seen();
        assert!(seen.young.len() + seen.old.len() <= 2 * GENERATION);
    }

    #[test]
    fn a_serial_number_that_two_ports_say_is_nobody_s() {
        let boards = Boards::default();
        boards.learn(mac(7), board(7));
        boards.learn(mac(8), board(7));
        assert_eq!(boards.mac_of(board(7).serial.unwrap()), None);
        assert_eq!(boards.of(mac(7)), Some(board(7)));
        boards.learn(mac(8), board(8));
        assert_eq!(boards.mac_of(board(7).serial.unwrap()), Some(mac(7)));
    }
}
