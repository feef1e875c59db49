//! A build of the images that is replaced while a machine loads one.

use super::*;
use crate::boot::test_builds::{NEW, OLD, add, flip};

/// The URLs of a script, without the server's address: kernel, initramfs, pack.
fn urls(script: &str) -> Vec<String> {
    let words =
        script.lines().filter(|line| line.starts_with("kernel ") || line.contains("initrd --"));
    let urls = words
        .flat_map(str::split_whitespace)
        .filter_map(|word| word.strip_prefix("http://10.0.0.1:7480"));
    urls.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_loads_one_build_also_when_it_is_replaced_meanwhile_and_the_next_one_the_new() {
    let scene = scene(sunshine(), Limits::default()).await;
    let root = scene.directory.path();
    for (build, cards) in [(OLD, "8086:10fb ixgbe\n"), (NEW, "8086:10fb core\n")] {
        add(root, build, format!("kernel {build}").as_bytes());
        let directory = root.join("builds").join(build);
        fs::create_dir(directory.join("pack-x86_64")).unwrap();
        fs::write(directory.join("pack-x86_64/cards"), cards).unwrap();
        for pack in ["ixgbe", "network"] {
            fs::write(directory.join(format!("pack-x86_64/{pack}.cpio")), build).unwrap();
        }
        fs::write(directory.join("sunshineos-x86_64.initrd"), format!("initrd {build}")).unwrap();
    }
    let boot = async || {
        let target =
            format!("/script.ipxe?mac={MAC}&arch=x86_64&platform=efi&busid=01:80:86:10:fb");
        urls(&String::from_utf8(scene.get(&target, "").await.body).unwrap())
    };
    let text = async |url: &str| String::from_utf8(scene.get(url, "").await.body).unwrap();
    flip(root, OLD);
    let [kernel, initrd, pack] = boot().await.try_into().unwrap();
    assert_eq!(text(&kernel).await, format!("kernel {OLD}"));
    flip(root, NEW);
    assert_eq!(text(&initrd).await, format!("initrd {OLD}"));
    assert_eq!(text(&pack).await, OLD);
    // Its card needs no pack of the new build.
    let [kernel, initrd] = boot().await.try_into().unwrap();
    assert_eq!(text(&kernel).await, format!("kernel {NEW}"));
    assert_eq!(text(&initrd).await, format!("initrd {NEW}"));
    // Who asks by a name that stays gets the build of the moment.
    assert_eq!(text("/image/sunshineos-x86_64.vmlinuz").await, format!("kernel {NEW}"));
    flip(root, OLD);
    assert_eq!(text("/image/sunshineos-x86_64.vmlinuz").await, format!("kernel {OLD}"));
    fs::remove_dir_all(root.join("builds").join(NEW)).unwrap();
    assert_eq!(scene.get(&kernel, "").await.status(), "404");
    scene.stop().await;
}
