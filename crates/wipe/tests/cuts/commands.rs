//! The doors through which the machine's disk takes commands.

use std::{io, time::Duration};

use disk::command::{
    Data, MmcCommand, MmcDevice, NvmeCommand, NvmeController, NvmeFailure, OpalDevice, OpalFailure,
    OpalStatus, ScsiAnswer, ScsiDevice,
};

use crate::{
    drive::Drive,
    machine::{Machine, Off, gone, off},
};

impl NvmeController for Machine {
    fn admin(
        &self,
        command: &NvmeCommand,
        mut data: Data<'_>,
        _: Duration,
    ) -> Result<u32, NvmeFailure> {
        let NvmeCommand { opcode, nsid, dwords } = *command;
        let sent = self.command(|drive| {
            let Drive::Nvme(controller) = drive else { unreachable!("it is one") };
            match &mut data {
                Data::None => controller.admin(opcode, nsid, dwords, &mut []),
                Data::In(buffer) => controller.admin(opcode, nsid, dwords, buffer),
                Data::Out(bytes) => controller.admin(opcode, nsid, dwords, &mut bytes.to_vec()),
            }
        });
        sent.map_err(|Off| NvmeFailure::NoAnswer(off()))?.map_err(|failure| match failure {
            devices::nvme::Failure::Status(status) => NvmeFailure::Status(status),
            devices::nvme::Failure::NoAnswer => {
                NvmeFailure::NoAnswer(io::ErrorKind::TimedOut.into())
            }
        })
    }
}

impl ScsiDevice for Machine {
    fn execute(&self, command: &[u8], mut data: Data<'_>, _: Duration) -> io::Result<ScsiAnswer> {
        gone(self.command(|drive| {
            let mut send = |data: &mut [u8]| match drive {
                Drive::Ata(disk) => disk.execute(command, data),
                Drive::Scsi(disk) => disk.execute(command, data),
                _ => unreachable!("it takes SCSI commands"),
            };
            let answer = match &mut data {
                Data::None => send(&mut []),
                Data::In(buffer) => send(buffer),
                Data::Out(bytes) => send(&mut bytes.to_vec()),
            };
            match answer {
                Ok(devices::Answer { status, sense, transferred }) => {
                    Ok(ScsiAnswer { status, sense, transferred })
                }
                Err(devices::NoAnswer) => Err(io::ErrorKind::TimedOut.into()),
            }
        }))
    }
}

fn card(drive: &mut Drive) -> &mut devices::mmc::Card {
    let Drive::Mmc(card) = drive else { unreachable!("it is one") };
    card
}

fn refused(error: devices::mmc::Error) -> io::Error {
    io::Error::other(format!("{error:?}"))
}

impl MmcDevice for Machine {
    fn command(
        &self,
        command: &MmcCommand,
        mut data: Data<'_>,
        _: Duration,
    ) -> io::Result<[u32; 4]> {
        let MmcCommand { index, argument, flags, is_write } = *command;
        gone(self.command(|drive| {
            let card = card(drive);
            let answer = match &mut data {
                Data::None => card.command(index, argument, flags, is_write, &mut []),
                Data::In(buffer) => card.command(index, argument, flags, is_write, buffer),
                Data::Out(bytes) => {
                    card.command(index, argument, flags, is_write, &mut bytes.to_vec())
                }
            };
            answer.map_err(refused)
        }))
    }

    fn secure_discard(&self, offset: u64, length: u64) -> io::Result<()> {
        gone(self.command(|drive| card(drive).secure_discard(offset, length).map_err(refused)))
    }
}

impl Machine {
    fn opal<T>(
        &self,
        mut ask: impl FnMut(&mut devices::opal::Disk) -> Result<T, devices::opal::Failure>,
    ) -> Result<T, OpalFailure> {
        let asked = self.command(|drive| {
            let Drive::Opal(disk) = drive else { unreachable!("it is one") };
            ask(disk)
        });
        asked.map_err(|Off| OpalFailure::NoAnswer(off()))?.map_err(|failure| match failure {
            devices::opal::Failure::Status(status) => OpalFailure::Status(status),
            devices::opal::Failure::NoAnswer => {
                OpalFailure::NoAnswer(io::ErrorKind::TimedOut.into())
            }
        })
    }
}

impl OpalDevice for Machine {
    fn status(&self) -> io::Result<OpalStatus> {
        let status = self.opal(|disk| disk.status());
        status.map(|flags| OpalStatus { flags }).map_err(|_| off())
    }

    fn revert_with_psid(&self, psid: &[u8]) -> Result<(), OpalFailure> {
        self.opal(|disk| disk.revert_with_psid(psid))
    }

    fn revert_with_sid(&self, sid: &[u8]) -> Result<(), OpalFailure> {
        self.opal(|disk| disk.revert_with_sid(sid))
    }
}
