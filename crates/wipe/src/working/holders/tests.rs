use std::sync::Mutex;

use protocol::wipe::WipeStepKind;

use super::*;

/// Time that passes only where somebody waits.
#[derive(Debug, Default)]
struct Clock(Mutex<Duration>);

impl Watch for Clock {
    fn check(&self) -> Result<(), Stopped> {
        Ok(())
    }

    fn wait(&self, time: Duration) -> Result<(), Stopped> {
        *self.0.lock().unwrap() += time;
        Ok(())
    }

    fn elapsed(&self) -> Duration {
        *self.0.lock().unwrap()
    }

    fn journal(&self, _: WipeStepKind) -> Result<(), Stopped> {
        Ok(())
    }

    fn note(&self, _: WipeStepKind) {}

    fn progress(&self, _: u64, _: u64, _: u32) {}
}

fn volume(name: &str, called: &str, disks: &[&str]) -> Holder {
    let kind = HolderKind::Mapped { name: called.to_owned() };
    let disks = disks.iter().map(|&disk| disk.to_owned()).collect();
    Holder { name: name.to_owned(), kind, disks }
}

fn array(name: &str, disks: &[&str]) -> Holder {
    Holder { kind: HolderKind::Array, ..volume(name, "", disks) }
}

/// A volume on an array over two disks: what was checked.
fn checked() -> Vec<Holder> {
    vec![volume("dm-0", "vault", &["sda", "sdb"]), array("md0", &["sda", "sdb"])]
}

/// Takes down what was checked where `there` is built on the disks; whatever is told to go meets `meanwhile` with how
/// often anything was told. Returns what was told to go, and what came of it.
fn check(
    there: Vec<Holder>,
    meanwhile: impl Fn(usize, &Holder, &mut Vec<Holder>) -> io::Result<()>,
) -> (String, String) {
    let there = Mutex::new(there);
    let told = Mutex::new(Vec::new());
    let look = || Ok(there.lock().unwrap().clone());
    let down = |holder: &Holder| {
        let mut told = told.lock().unwrap();
        told.push(holder.name.clone());
        meanwhile(told.len(), holder, &mut there.lock().unwrap())
    };
    let names = |holders: &[Holder]| {
        holders.iter().map(|holder| holder.name.clone()).collect::<Vec<_>>().join(" ")
    };
    let came = match all_down(checked(), &look, &down, &Clock::default()) {
        Ok(released) => names(&released),
        Err(NotReleased { released, source }) => {
            let why = match source {
                HoldersError::Exchanged { .. } => "exchanged",
                HoldersError::Refused { .. } => "refused",
                HoldersError::Stays { .. } => "stays",
                HoldersError::Unread(_) | HoldersError::Stopped(_) => "stopped",
            };
            format!("{} / {why}", names(&released))
        }
    };
    (told.into_inner().unwrap().join(" "), came)
}

#[expect(clippy::unnecessary_wraps, reason = "others in its place fail")]
fn goes(_: usize, holder: &Holder, there: &mut Vec<Holder>) -> io::Result<()> {
    there.retain(|other| other.name != holder.name);
    Ok(())
}

fn outcome(told: &str, came: &str) -> (String, String) {
    (told.to_owned(), came.to_owned())
}

#[test]
fn what_was_checked_is_taken_down_from_the_top() {
    assert_eq!(check(checked(), goes), outcome("dm-0 md0", "dm-0 md0"));
}

#[test]
fn what_took_a_name_since_is_not_taken_down() {
    let of = |first: Holder| {
        let mut there = checked();
        there[0] = first;
        check(there, goes)
    };
    let exchanged = outcome("", " / exchanged");
    assert_eq!(of(volume("dm-0", "vault", &["sda", "sdc"])), exchanged, "other disks");
    assert_eq!(of(volume("dm-0", "vault", &["sda", "sdb", "sdc"])), exchanged, "one more");
    assert_eq!(of(volume("dm-0", "other", &["sda", "sdb"])), exchanged, "another volume");
    assert_eq!(of(array("dm-0", &["sda", "sdb"])), exchanged, "another kind");
    // What was below it may be exchanged when it has gone.
    let extended = check(checked(), |count, holder, there| {
        goes(count, holder, there)?;
        there[0].disks.push("sdc".to_owned());
        Ok(())
    });
    assert_eq!(extended, outcome("dm-0", "dm-0 / exchanged"));
}

#[test]
fn what_is_on_these_disks_no_more_is_not_told_to_go_and_not_said_to_be_taken_down() {
    // Its name may be that of something on another disk, which nobody looked at.
    assert_eq!(check(vec![array("md0", &["sda", "sdb"])], goes), outcome("md0", "md0"));
    assert_eq!(check(Vec::new(), goes), outcome("", ""));
    let takes_all = |_: usize, _: &Holder, there: &mut Vec<Holder>| {
        there.clear();
        Ok(())
    };
    assert_eq!(check(checked(), takes_all), outcome("dm-0", "dm-0"));
}

#[test]
fn what_is_busy_is_looked_at_again_before_it_is_told_again() {
    let busy = || io::Error::from_raw_os_error(16);
    let once = |count: usize, holder: &Holder, there: &mut Vec<Holder>| match count {
        1 => Err(busy()),
        _ => goes(count, holder, there),
    };
    assert_eq!(check(checked(), once), outcome("dm-0 dm-0 md0", "dm-0 md0"));
    let exchanged = |_: usize, _: &Holder, there: &mut Vec<Holder>| {
        there[0] = volume("dm-0", "vault", &["sdc", "sda"]);
        Err(busy())
    };
    assert_eq!(check(checked(), exchanged), outcome("dm-0", " / exchanged"));
    let (told, came) = check(checked(), |_, _, _| Err(busy()));
    assert!(told.starts_with("dm-0 dm-0 dm-0") && !told.contains("md0"), "{told}");
    assert_eq!(came, " / refused");
}

#[test]
fn what_does_not_go_although_it_was_told_is_said_to_stay() {
    assert_eq!(check(checked(), |_, _, _| Ok(())), outcome("dm-0", " / stays"));
}
