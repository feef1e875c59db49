//! What else a wipe would touch, and what is said back.

use protocol::{
    Bytes,
    install::Secret,
    inventory::{Content, Partition, Signature},
    wipe::Sid,
};

use super::*;
use crate::machine::{Approval, Evidence};

fn disk(serial: &str, transport: Transport) -> Disk {
    Disk {
        name: format!("x{serial}"),
        model: Some("M".to_owned()),
        serial: Some(format!("S3Z1NB0K{serial}")),
        size_bytes: Bytes(1 << 30),
        transport: Some(transport),
        content: Some(Content { blank: true, ..Content::default() }),
        ..Disk::default()
    }
}

fn holding(kind: &str, uuid: &str) -> Content {
    let found =
        Signature { kind: kind.to_owned(), uuid: Some(uuid.to_owned()), ..Signature::default() };
    let partition = Partition { number: 1, signatures: vec![found], ..Partition::default() };
    Content { blank: false, partitions: vec![partition], ..Content::default() }
}

fn request(level: PowerLevel, disks: &[&str]) -> WipeRequest {
    let request: WipeRequest = serde_json::from_value(serde_json::json!({
        "level": level, "disks": disks, "overwrite": true,
    }))
    .unwrap();
    request
}

fn planned(disks: Vec<Disk>, request: &WipeRequest) -> Result<WipePlan, WipeRefusal> {
    let mut inventory = Inventory { disks, ..Inventory::default() };
    inventory.system.serial = Some("4Q5HMP2".to_owned());
    let machine = Machine {
        name: "4q5hmp2".to_owned(),
        complete: true,
        evidence: Evidence::of(&inventory),
        approval: Approval::Approved { by: "uid 0".to_owned(), at: 0 },
        ..Machine::default()
    };
    let once = |_: &str| vec!["4q5hmp2".to_owned()];
    plan(&machine, &inventory, request, once, |_| None, |_, _| Vec::new(), 0)
}

#[test]
fn nothing_is_written_unless_said() {
    let request: WipeRequest = serde_json::from_str(r#"{"all":true}"#).unwrap();
    assert_eq!(request.level, PowerLevel::Idle);
    assert_eq!(request.finish, WipeFinish::Stay);
    let mut full = disk("1", Transport::Ata);
    full.content = Some(holding("ext4", "u"));
    let plan = planned(vec![full.clone()], &request).unwrap();
    assert!(plan.disks[0].has_data, "a look needs no word of destruction");
    let harbour = WipeRequest { level: PowerLevel::Harbour, ..request };
    assert!(matches!(
        planned(vec![full], &harbour),
        Err(WipeRefusal::Disk(ChoiceError::HasData { .. }))
    ));
}

#[test]
fn a_namespace_is_not_erased_beside_one_that_stays() {
    let namespace =
        |nguid: &str| Disk { nguid: Some(nguid.repeat(8)), ..disk("1", Transport::Nvme) };
    let both = vec![namespace("0a1b"), namespace("0a1c")];
    let one = "0a1b".repeat(8);
    for (level, is_refused) in [
        (PowerLevel::Idle, false),
        (PowerLevel::Working, false),
        (PowerLevel::Full, true),
        (PowerLevel::Redline, true),
    ] {
        let refused = planned(both.clone(), &request(level, &[&one]));
        let is = matches!(refused, Err(WipeRefusal::Namespaces { .. }));
        assert_eq!(is, is_refused, "{level:?}: {refused:?}");
        let other = "0a1c".repeat(8);
        assert!(planned(both.clone(), &request(level, &[&one, &other])).is_ok(), "{level:?}");
    }
}

#[test]
fn a_member_is_not_wiped_beside_one_that_stays() {
    let member =
        |serial| Disk { content: Some(holding("md", "u1")), ..disk(serial, Transport::Ata) };
    let both = vec![member("1"), member("2")];
    let refused = planned(both.clone(), &request(PowerLevel::Working, &["S3Z1NB0K1"]));
    assert!(matches!(refused, Err(WipeRefusal::Disk(ChoiceError::Shared { .. }))), "{refused:?}");
    let together = request(PowerLevel::Working, &["S3Z1NB0K1", "S3Z1NB0K2"]);
    assert_eq!(planned(both, &together).unwrap().disks.len(), 2);
}

#[test]
fn a_tpm_is_not_cleared_while_a_sealed_disk_stays() {
    for kind in SEALED {
        let sealed = Disk { content: Some(holding(kind, "u")), ..disk("2", Transport::Ata) };
        let disks = vec![disk("1", Transport::Ata), sealed];
        let tpm = WipeRequest {
            extras: vec![Extra::Tpm],
            ..request(PowerLevel::Working, &["S3Z1NB0K1"])
        };
        let refused = planned(disks.clone(), &tpm);
        assert!(matches!(refused, Err(WipeRefusal::Sealed { .. })), "{kind}: {refused:?}");
        let all = WipeRequest { all: true, disks: vec![], ..tpm };
        assert!(planned(disks.clone(), &all).is_ok(), "{kind}");
        let kept = planned(disks, &WipeRequest { level: PowerLevel::Harbour, ..all });
        assert!(matches!(kept, Err(WipeRefusal::Sealed { .. })), "{kind}: {kept:?}");
    }
}

#[test]
fn nothing_is_done_beside_the_disks_at_idle() {
    for extra in [Extra::StaleBootEntries, Extra::Pstore, Extra::Tpm] {
        let mut look = request(PowerLevel::Idle, &["S3Z1NB0K1"]);
        look.extras = vec![extra];
        let refused = planned(vec![disk("1", Transport::Ata)], &look);
        assert_eq!(refused.unwrap_err(), WipeRefusal::IdleExtras);
    }
}

#[test]
fn an_owners_password_goes_with_one_disk_of_the_order_and_is_not_shown() {
    let two = || vec![disk("1", Transport::Ata), disk("2", Transport::Ata)];
    let sid = |name: &str, text: &str| {
        let sids = vec![Sid { disk: name.to_owned(), sid: Secret(text.to_owned()) }];
        let options = WipeOptions { sids, ..WipeOptions::default() };
        let request = WipeRequest { options, ..request(PowerLevel::Redline, &["S3Z1NB0K1"]) };
        (planned(two(), &request), request)
    };
    let (plan, request) = sid("s3z1nb0k1", "of the owner");
    let lot = Lot { id: OrderId([1; 16]), seed: Seed([1; 32]) };
    let order = plan.unwrap().order(lot, "uid 0", 0, &request);
    let told = order.wipe().unwrap().told().unwrap();
    assert_eq!(told.options.sids[0].sid.0, "of the owner");
    for shown in [
        serde_json::to_string(&order.wipe().unwrap().options).unwrap(),
        serde_json::to_string(&order.without_secrets()).unwrap(),
    ] {
        assert!(!shown.contains("of the owner"), "{shown}");
    }
    let long = "x".repeat(256);
    for (name, text) in [("S3Z1NB0K2", "a"), ("x", "a"), ("S3Z1NB0K1", ""), ("S3Z1NB0K1", &long)] {
        assert!(matches!(sid(name, text).0, Err(WipeRefusal::Sid(_))), "{name} {text}");
    }
}

#[test]
fn a_psid_goes_with_one_disk_of_the_order_and_is_not_shown() {
    let two = || vec![disk("1", Transport::Ata), disk("2", Transport::Ata)];
    let psid = |name: &str, text: &str| {
        let psids = vec![Psid { disk: name.to_owned(), psid: Secret(text.to_owned()) }];
        let options = WipeOptions { psids, ..WipeOptions::default() };
        let request = WipeRequest { options, ..request(PowerLevel::Redline, &["S3Z1NB0K1"]) };
        (planned(two(), &request), request)
    };
    let good = "A".repeat(32);
    let (plan, request) = psid("s3z1nb0k1", &good);
    let lot = Lot { id: OrderId([1; 16]), seed: Seed([1; 32]) };
    let order = plan.unwrap().order(lot, "uid 0", 0, &request);
    let told = order.wipe().unwrap().told().unwrap();
    assert_eq!(told.options.psids[0].psid.0, good);
    let shown = serde_json::to_string(&order.without_secrets()).unwrap();
    assert!(!shown.contains(&good), "{shown}");
    for (name, text) in [("S3Z1NB0K2", good.as_str()), ("x", &good), ("S3Z1NB0K1", "short")] {
        assert!(matches!(psid(name, text).0, Err(WipeRefusal::Psid(_))), "{name} {text}");
    }
}

#[test]
fn what_destroys_is_confirmed_with_the_exact_name() {
    let full = request(PowerLevel::Full, &["x"]);
    for confirm in [None, Some(""), Some("4Q5HMP2"), Some("4q5hmp2 ")] {
        let request = WipeRequest { confirm: confirm.map(str::to_owned), ..full.clone() };
        assert!(request.check_confirmed("4q5hmp2").is_err(), "{confirm:?}");
    }
    let said = WipeRequest { confirm: Some("4q5hmp2".to_owned()), ..full.clone() };
    assert_eq!(said.check_confirmed("4q5hmp2"), Ok(()));
    let look = WipeRequest { dry_run: true, ..full };
    assert_eq!(look.check_confirmed("4q5hmp2"), Ok(()));
}
