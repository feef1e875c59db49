//! Which boot file a client is told: names as in ARCHITECTURE.md, "The wire".

use crate::{
    boot::{HttpBoot, PxeBoot, Unified},
    decision::Boot,
    dhcp::{caller::Caller, settings::Settings},
    journal::{ClientFamily, Silence, Unserved},
};

/// What to boot, with what DHCP itself has noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Course {
    /// As decided.
    Decided(Boot),
    /// The machine went in circles through us: its own disk, and not by way of a script.
    OutOfLoop,
}

/// Names the boot file, as TFTP path or URL, empty for firmware that has names of its own; or says why there is none.
pub fn boot_file(caller: &Caller, course: &Course, settings: &Settings) -> Result<String, Silence> {
    if let Course::Decided(Boot::Silence(silence)) = course {
        return Err(silence.clone());
    }
    if caller.family == ClientFamily::RaspberryPi {
        return of_raspberry_pi(caller, course);
    }
    let program = program(caller, settings)?;
    let unified = unified(caller, course, settings);
    let name = match (course, caller.family) {
        // iPXE leaves by `exit 1`, which a script must say: a missing file holds old ones up for 20 s.
        (Course::Decided(_), ClientFamily::Ipxe) => "boot.ipxe",
        (Course::Decided(Boot::System(_)), _) => unified.as_deref().unwrap_or(program),
        (Course::Decided(_) | Course::OutOfLoop, _) => "own-disk",
    };
    let path = format!("boot/{}/{name}", caller.mac().hyphenated());
    Ok(match caller.family {
        ClientFamily::UefiHttp | ClientFamily::Ipxe => {
            format!("http://{}:{}/{path}", settings.server_address(), settings.http_port())
        }
        _ => path,
    })
}

/// Names nothing: a Raspberry Pi's firmware has its own names for files, and none that is named to it is asked for.
/// So the disk's name says only what was decided, for people.
fn of_raspberry_pi(caller: &Caller, course: &Course) -> Result<String, Silence> {
    match course {
        Course::Decided(Boot::System(_)) => Ok(String::new()),
        Course::Decided(_) => Ok(format!("boot/{}/own-disk", caller.mac().hyphenated())),
        // Files are not asked for by way of DHCP: only who hears no server goes on.
        Course::OutOfLoop => {
            let model = caller.board().map_or("Raspberry Pi", |board| board.model.name());
            Err(Silence::RaspberryPi { model: model.to_owned(), because: Unserved::Loop })
        }
    }
}

/// Names the image that firmware gets without iPXE before it, where it boots by HTTP and the configuration says so.
fn unified(caller: &Caller, course: &Course, settings: &Settings) -> Option<String> {
    let (Course::Decided(Boot::System(system)), ClientFamily::UefiHttp) = (course, caller.family)
    else {
        return None;
    };
    let image = |architecture: &u16| settings.http_boot().image(*system, *architecture);
    caller.architectures().iter().find_map(image).map(Unified::file_name)
}

/// Chooses the boot program by the first architecture that there is one for.
fn program(caller: &Caller, settings: &Settings) -> Result<&'static str, Silence> {
    let architectures = caller.architectures();
    let unknown =
        || Silence::UnknownArchitecture { architecture: *architectures.first().unwrap_or(&0) };
    let program =
        architectures.iter().find_map(|number| program_of(*number)).ok_or_else(unknown)?;
    let takes_shim = match caller.family {
        ClientFamily::UefiHttp => settings.http_boot() == HttpBoot::Shim,
        _ => settings.pxe_boot() == PxeBoot::Shim,
    };
    // Debian signs GRUB for what it has iPXE for; on Arm its shim has no GRUB of ours behind it.
    Ok(if takes_shim && program == "snponly.efi" { "shimx64.efi" } else { program })
}

/// IANA "Processor Architecture Types". x64 firmware says 7, 8 or 9: RFC 4578 and its registry disagree.
fn program_of(architecture: u16) -> Option<&'static str> {
    match architecture {
        0 | 20 => Some("undionly.kpxe"),
        7..=9 | 16 | 17 => Some("snponly.efi"),
        11 | 19 => Some("ipxe-arm64.efi"),
        _ => None,
    }
}
