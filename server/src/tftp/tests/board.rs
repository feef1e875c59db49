//! What the firmware of a Raspberry Pi asks for, replayed in its order against the real port.
//!
//! The order is that of logs of servers and of the firmware (rpi-eeprom, issues 74 and 417; raspberrypi/firmware, issue 1575): it looks
//! at a file's size and breaks off with error 0, "Early terminate", before it loads it. No board was at hand.

use std::{fs, path::Path};

use super::*;
use crate::{
    boot::{Board, BoardFile, Boards, test_builds},
    decision::Traveller,
};

const MAC: MacAddress = MacAddress([0xdc, 0xa6, 0x32, 1, 2, 3]);
const PI4: &[u8] = b"\0RPi4\x11\x31\xc0\0\x32\x01\x02\x03\x26\x46\xf4\xb7";
/// The same board with the newer processor.
const PI5_D: &[u8] = b"\0RPi5\x71\x41\xd0\0\x32\x01\x02\x03\x26\x46\xf4\xb7";
const PI5: &[u8] = b"\0RPi5\x70\x41\xd0\0\x32\x01\x02\x03\x26\x46\xf4\xb7";
const BUILD: &str = test_builds::OLD;

/// The server's port with the files of both boards in a build, and what it told.
struct Scene {
    address: SocketAddrV4,
    told: test_context::Told,
    directory: tempfile::TempDir,
    _stop: oneshot::Sender<()>,
}

/// Kernel and initramfs are larger than what is held in memory, and end in the middle of a block.
fn image(name: &str) -> Vec<u8> {
    let mut bytes = pattern(3_500_001);
    bytes.extend(name.as_bytes());
    bytes
}

fn fill(build: &Path) {
    let images = ["sunshineos", "herculesos"]
        .map(|system| ["vmlinuz", "initrd"].map(|part| format!("{system}-aarch64.{part}")));
    for name in images.as_flattened() {
        fs::write(build.join(name), image(name)).unwrap();
    }
    fs::create_dir_all(build.join("raspberry-pi")).unwrap();
    let firmware = ["start4.elf", "fixup4.dat"];
    let trees = ["bcm2711-rpi-4-b.dtb", "bcm2712-rpi-5-b.dtb", "bcm2712-d-rpi-5-b.dtb"];
    for name in firmware.into_iter().chain(trees) {
        assert!(BoardFile::named(name).is_some());
        fs::write(build.join("raspberry-pi").join(name), name.repeat(1000)).unwrap();
    }
}

/// Serves boards that are to boot this, once they have said over DHCP who they are.
fn serve(boot: Boot, identifier: Option<&[u8]>) -> Scene {
    let said: Vec<_> = identifier.into_iter().map(|identifier| (MAC, identifier)).collect();
    serve_who(boot, &said, None)
}

/// Serves who has said what over DHCP; whoever asks does so from the address of that port, where one is named.
fn serve_who(boot: Boot, said: &[(MacAddress, &[u8])], asks: Option<MacAddress>) -> Scene {
    let (mut context, told, directory) = test_context::context(Boot::OwnDisk);
    test_builds::add(directory.path(), BUILD, b"kernel");
    fill(&directory.path().join("builds").join(BUILD));
    test_builds::flip(directory.path(), BUILD);
    context.boards = Boards::default();
    for (mac, identifier) in said {
        context.boards.learn(*mac, Board::of(*mac, Some(identifier)));
    }
    context.mac_of = std::sync::Arc::new(move |_| asks);
    let decided = Traveller { mac: Some(MAC), ..Traveller::default() };
    context.decide = std::sync::Arc::new(move |traveller| {
        assert_eq!(*traveller, decided, "nobody is decided about without a name");
        boot.clone()
    });
    let bound = bind(Ipv4Addr::LOCALHOST, 0).unwrap();
    let address = bound.address();
    let (stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(bound.run(context, Limits::default(), async move {
        drop(stopped.await);
    }));
    Scene { address, told, directory, _stop: stop }
}

/// Asks as the boot loader does: each time from another port.
fn ask(server: SocketAddrV4, path: &str, block: usize) -> Client {
    let client = Client::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let request = format!("\0\u{1}{path}\0octet\0tsize\00\0blksize\0{block}\0");
    client.send_to(request.as_bytes(), server).unwrap();
    client
}

fn answer(client: &Client) -> Vec<u8> {
    let mut packet = [0; 2048];
    let (length, _) = client.recv_from(&mut packet).unwrap();
    packet[..length].to_vec()
}

/// Returns the size, or nothing where the file is not there; breaks off.
fn size(server: SocketAddrV4, path: &str, block: usize) -> Option<usize> {
    let client = ask(server, path, block);
    let packet = answer(&client);
    if packet.starts_with(b"\0\x05") {
        assert!(packet.starts_with(b"\0\x05\0\x01"), "not found, and nothing else: {packet:?}");
        return None;
    }
    client.send_to(b"\0\x05\0\0Early terminate\0", server).unwrap();
    let text = String::from_utf8(packet).unwrap();
    let options: Vec<&str> = text.strip_prefix("\0\u{6}").unwrap().split('\0').collect();
    let size = options.iter().position(|option| *option == "tsize").unwrap();
    assert!(options.contains(&block.to_string().as_str()));
    Some(options[size + 1].parse().unwrap())
}

/// Loads a whole file, one block at a time.
fn load(server: SocketAddrV4, path: &str, block: usize) -> Vec<u8> {
    let client = ask(server, path, block);
    assert!(answer(&client).starts_with(b"\0\x06"), "{path} is there, and its size is told");
    client.send_to(b"\0\x04\0\0", server).unwrap();
    let mut content = Vec::new();
    loop {
        let packet = answer(&client);
        let [0, 3, high, low, data @ ..] = &packet[..] else { panic!("{packet:?}") };
        content.extend_from_slice(data);
        client.send_to(&[0, 4, *high, *low], server).unwrap();
        if data.len() < block {
            return content;
        }
    }
}

/// Looks, and loads what is there.
fn look_and_load(server: SocketAddrV4, path: &str, block: usize) -> Option<Vec<u8>> {
    let size = size(server, path, block)?;
    let content = load(server, path, block);
    assert_eq!(content.len(), size);
    Some(content)
}

fn text(server: SocketAddrV4, path: &str, block: usize) -> String {
    String::from_utf8(look_and_load(server, path, block).unwrap()).unwrap()
}

/// Returns what stands behind a word in a line of the configuration.
fn value<'a>(configuration: &'a str, word: &str) -> &'a str {
    let line = configuration.lines().find_map(|line| line.strip_prefix(word)).unwrap();
    line.split(' ').next().unwrap()
}

/// What the firmware does with a configuration, whichever part of it runs where: returns kernel and initramfs.
fn load_system(server: SocketAddrV4, tree: &str, serial_port: &str, block: usize) -> [Vec<u8>; 2] {
    let configuration = text(server, "b7f44626/config.txt", block);
    let prefix = format!("b7f44626/{}", value(&configuration, "os_prefix="));
    for name in ["recovery.elf", "dt-blob.bin", "bcm2711-rpi-4-b-x.dtb", "bootcfg.txt"] {
        assert_eq!(size(server, &format!("b7f44626/{name}"), block), None, "{name}");
    }
    let kernel = format!("{prefix}{}", value(&configuration, "kernel="));
    assert!(size(server, &kernel, block).is_some(), "else the prefix would not count");
    let initramfs = format!("{prefix}{}", value(&configuration, "initramfs "));
    let initramfs = look_and_load(server, &initramfs, block).unwrap();
    let tree_bytes = look_and_load(server, &format!("{prefix}{tree}"), block).unwrap();
    assert_eq!(tree_bytes, tree.repeat(1000).into_bytes());
    assert_eq!(size(server, &format!("{prefix}overlays/overlay_map.dtb"), block), None);
    let line = text(server, &format!("{prefix}cmdline.txt"), block);
    assert!(line.contains(serial_port), "{line}");
    assert!(line.contains(" drydock.server=https://10.0.0.1:7443 drydock.pin=sha256:01"), "{line}");
    assert!(line.ends_with(" drydock.port=dc:a6:32:01:02:03\n"), "{line}");
    for name in ["armstub8-gic.bin", "armstub8-2712.bin", "recovery8.img"] {
        assert_eq!(size(server, &format!("b7f44626/{name}"), block), None, "{name}");
    }
    [look_and_load(server, &kernel, block).unwrap(), initramfs]
}

fn failures(scene: &Scene) -> Vec<What> {
    let told = scene.told.lock().unwrap();
    let is_failure = |what: &What| matches!(what, What::FileFailed { .. });
    told.iter().map(|(_, what)| what.clone()).filter(is_failure).collect()
}

async fn as_a_board<T: Send + 'static>(story: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(story).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pi_4_loads_everything_by_its_serial_number() {
    const BLOCK: usize = 1024;
    let scene = serve(Boot::System(System::Sunshine), Some(PI4));
    let server = scene.address;
    let loaded = as_a_board(move || {
        // The boot loader in its EEPROM.
        assert!(size(server, "b7f44626/start4.elf", BLOCK).is_some());
        assert!(text(server, "b7f44626/config.txt", BLOCK).contains("arm_64bit=1\n"));
        for name in ["vl805.sig", "pieeprom.sig", "recover4.elf", "recovery.elf"] {
            assert_eq!(size(server, &format!("b7f44626/{name}"), BLOCK), None, "{name}");
        }
        for name in ["start4.elf", "fixup4.dat"] {
            let content = look_and_load(server, &format!("b7f44626/{name}"), BLOCK).unwrap();
            assert_eq!(content, name.repeat(1000).into_bytes());
        }
        // The firmware that it loaded.
        load_system(server, "bcm2711-rpi-4-b.dtb", " console=ttyS1,115200n8 ", BLOCK)
    });
    let [kernel, initramfs] = loaded.await;
    assert!(kernel == image("sunshineos-aarch64.vmlinuz"));
    assert!(initramfs == image("sunshineos-aarch64.initrd"));
    assert_eq!(failures(&scene), [], "what nobody has is not told");
    let told = scene.told.lock().unwrap();
    assert!(told.iter().all(|(mac, _)| *mac == Some(MAC)), "{told:?}");
    let boots = |what: &What| matches!(what, What::Script { boots } if boots == "sunshine");
    assert!(told.iter().any(|(_, what)| boots(what)), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pi_5_loads_everything_with_the_firmware_that_it_has() {
    const BLOCK: usize = 1468;
    let named = "device_tree=bcm2712-d-rpi-5-b.dtb\n";
    for (identifier, tree, is_named) in
        [(PI5, "bcm2712-rpi-5-b.dtb", false), (PI5_D, "bcm2712-d-rpi-5-b.dtb", true)]
    {
        let scene = serve(Boot::System(System::Hercules), Some(identifier));
        let server = scene.address;
        let loaded = as_a_board(move || {
            let configuration = text(server, "b7f44626/config.txt", BLOCK);
            assert!(configuration.contains("kernel=herculesos-"));
            assert_eq!(configuration.contains(named), is_named, "{configuration}");
            for name in ["pieeprom.sig", "recovery.elf", "boot.img"] {
                assert_eq!(size(server, &format!("b7f44626/{name}"), BLOCK), None, "{name}");
            }
            load_system(server, tree, " console=ttyAMA10,115200n8 ", BLOCK)
        });
        let [kernel, initramfs] = loaded.await;
        assert!(kernel == image("herculesos-aarch64.vmlinuz"));
        assert!(initramfs == image("herculesos-aarch64.initrd"));
        assert_eq!(failures(&scene), []);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_build_does_not_get_between_kernel_and_initramfs() {
    let scene = serve(Boot::System(System::Sunshine), Some(PI4));
    let server = scene.address;
    let configuration = as_a_board(move || text(server, "b7f44626/config.txt", 1024)).await;
    assert_eq!(value(&configuration, "os_prefix="), format!("{BUILD}/"));
    let root = scene.directory.path();
    test_builds::add(root, test_builds::NEW, b"another");
    fill(&root.join("builds").join(test_builds::NEW));
    let newer = root.join("builds").join(test_builds::NEW).join("sunshineos-aarch64.initrd");
    fs::write(newer, b"another").unwrap();
    test_builds::flip(root, test_builds::NEW);
    let path = format!("b7f44626/{BUILD}/sunshineos-aarch64.initrd");
    let initramfs = as_a_board(move || load(server, &path, 1024)).await;
    assert!(initramfs == image("sunshineos-aarch64.initrd"));
    let anew = as_a_board(move || text(server, "b7f44626/config.txt", 1024)).await;
    assert_eq!(value(&anew, "os_prefix="), format!("{}/", test_builds::NEW));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_with_a_disk_of_its_own_finds_nothing_anywhere() {
    let scene = serve(Boot::OwnDisk, Some(PI4));
    let server = scene.address;
    as_a_board(move || {
        let names = ["start4.elf", "start.elf", "config.txt", "recover4.elf", "fixup4.dat"];
        let images = ["cmdline.txt", "sunshineos-aarch64.vmlinuz", "bcm2711-rpi-4-b.dtb"];
        for name in names.into_iter().chain(images) {
            assert_eq!(size(server, &format!("b7f44626/{name}"), 1024), None, "{name}");
        }
        // Then without its directory.
        assert_eq!(size(server, "dc-a6-32-01-02-03/config.txt", 1024), None);
    })
    .await;
    let own_disk = |what: &What| matches!(what, What::FileFailed { reason, .. } if reason.ends_with("boots its own disk"));
    let failures = failures(&scene);
    assert!(!failures.is_empty() && failures.iter().all(own_disk), "{failures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_known_or_asks_for_what_is_not_on_the_list_gets_nothing() {
    // Who asks is not asked what to boot: nobody knows who it is.
    let scene = serve(Boot::System(System::Sunshine), None);
    let server = scene.address;
    as_a_board(move || {
        for path in ["b7f44626/start4.elf", "b7f44626/config.txt", "config.txt", "start4.elf"] {
            assert_eq!(size(server, path, 1024), None, "{path}");
        }
    })
    .await;
    assert!(failures(&scene).iter().all(|what| {
        matches!(what, What::FileFailed { reason, .. } if reason.contains("no machine that asked"))
    }));
    let scene = serve(Boot::System(System::Sunshine), Some(PI4));
    let server = scene.address;
    let root = scene.directory.path().to_owned();
    fs::write(root.join("builds").join(BUILD).join("raspberry-pi/secret"), b"x").unwrap();
    let initrd = root.join("builds").join(BUILD).join("sunshineos-aarch64.initrd");
    fs::File::options().write(true).open(initrd).unwrap().set_len((64 << 20) + 1).unwrap();
    as_a_board(move || {
        for path in [
            "b7f44626/secret".to_owned(),
            "b7f44626/raspberry-pi/start4.elf".to_owned(),
            "b7f44626/f5e4d3c2b1a0/start4.elf".to_owned(),
            "b7f44626/herculesos-aarch64.vmlinuz".to_owned(),
            "b7f44626/sunshineos-x86_64.vmlinuz".to_owned(),
            "raspberry-pi/start4.elf".to_owned(),
            // It would arrive without its end.
            format!("b7f44626/{BUILD}/sunshineos-aarch64.initrd"),
        ] {
            assert_eq!(size(server, &path, 1024), None, "{path}");
        }
        for path in ["b7f44626/../config.txt", &format!("b7f44626/{}", "x".repeat(400))] {
            let packet = answer(&ask(server, path, 1024));
            assert!(packet.starts_with(b"\0\x05\0\x02"), "refused: {packet:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_serial_number_that_somebody_else_says_too_names_nobody_but_an_address_does() {
    const OTHER: MacAddress = MacAddress([0xdc, 0xa6, 0x32, 9, 9, 9]);
    let system = || Boot::System(System::Sunshine);
    let configuration = |asks| {
        let scene = serve_who(system(), &[(MAC, PI4), (OTHER, PI4)], asks);
        let server = scene.address;
        as_a_board(move || {
            let found = size(server, "b7f44626/config.txt", 1024);
            drop(scene);
            found
        })
    };
    assert_eq!(configuration(None).await, None);
    assert!(configuration(Some(MAC)).await.is_some());
    // Whose address it is, but who has said of no port that it is a board's, is no board.
    let scene = serve_who(system(), &[], Some(MAC));
    let server = scene.address;
    assert_eq!(as_a_board(move || size(server, "b7f44626/config.txt", 1024)).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_that_dhcp_would_not_answer_gets_no_file_either() {
    let scene = serve(Boot::System(System::Sunshine), Some(PI5));
    let build = scene.directory.path().join("builds").join(BUILD);
    fs::remove_file(build.join("raspberry-pi/bcm2712-rpi-5-b.dtb")).unwrap();
    let server = scene.address;
    as_a_board(move || {
        for name in ["config.txt", "cmdline.txt", "sunshineos-aarch64.vmlinuz"] {
            assert_eq!(size(server, &format!("b7f44626/{name}"), 1468), None, "{name}");
        }
    })
    .await;
    let failures = failures(&scene);
    let is_told = |what: &What| matches!(what, What::FileFailed { reason, .. } if reason.contains("cannot be served"));
    assert!(!failures.is_empty() && failures.iter().all(is_told), "{failures:?}");
}
