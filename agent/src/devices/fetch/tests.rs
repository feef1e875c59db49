use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

const PLACE: &str = "kernel/drivers/scsi/megaraid/megaraid_sas.ko.xz";
const BYTES: &[u8] = b"a driver";

fn parcel(bytes: &[u8]) -> Parcel {
    let sha256 = digest(&SHA256, bytes).as_ref().try_into().unwrap();
    let length = bytes.len().try_into().unwrap();
    Parcel { place: PLACE.parse().unwrap(), digest: Digest(sha256), length }
}

/// Fetches from a store that answers each attempt in turn, the last answer for ever; says what came of it, and
/// what stands in the machine afterwards.
fn fetches(
    parcel: &Parcel,
    answers: &[fn() -> Result<Coming, BulkError>],
    deadline: Instant,
) -> (Result<(), Failure>, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let stock = Stock::whole(directory.path());
    let asked = AtomicU32::new(0);
    let source = |wanted: &Digest| {
        assert_eq!(*wanted, parcel.digest);
        let turn = asked.fetch_add(1, Ordering::Relaxed).try_into().unwrap_or(0);
        answers[answers.len().saturating_sub(1).min(turn)]()
    };
    let came = fetch(parcel, &stock, &source, deadline);
    let mut files = Vec::new();
    let mut directories = vec![directory.path().to_owned()];
    while let Some(place) = directories.pop() {
        for entry in fs::read_dir(&place).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let name = path.strip_prefix(directory.path()).unwrap().display().to_string();
                files.push(format!("{name}: {}", fs::read_to_string(&path).unwrap()));
            }
        }
    }
    (came, files)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn coming(bytes: &'static [u8]) -> Coming {
    (bytes.len().try_into().unwrap(), Box::new(bytes))
}

/// Promises everything, and sends half of it.
fn half() -> Coming {
    (BYTES.len().try_into().unwrap(), Box::new(&BYTES[..4]))
}

/// One byte at a time, for ever.
struct Drip;

impl Read for Drip {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        thread::park_timeout(Duration::from_millis(100));
        buffer[0] = b'a';
        Ok(1)
    }
}

#[test]
fn a_file_is_put_where_it_belongs_and_nothing_beside_it() {
    let whole = vec![format!("{PLACE}: a driver")];
    assert_eq!(fetches(&parcel(BYTES), &[|| Ok(coming(BYTES))], soon()), (Ok(()), whole.clone()));
    let busy = || Err(BulkError::Again("503".to_owned()));
    assert_eq!(
        fetches(&parcel(BYTES), &[busy, || Ok(half()), || Ok(coming(BYTES))], soon()),
        (Ok(()), whole)
    );
}

#[test]
fn what_is_wrong_with_a_file_is_said_and_nothing_of_it_is_kept() {
    type Answer = fn() -> Result<Coming, BulkError>;
    let faults: [(Answer, &str); 5] = [
        (|| Ok(coming(b"a drivel")), "the store's file is altered: SHA-256 "),
        (|| Ok(coming(b"a drive")), "the store's file is altered: 7 bytes instead of 8"),
        (
            || Ok(coming(b"a driver, and more")),
            "the store's file is altered: 18 bytes instead of 8",
        ),
        (|| Err(BulkError::Absent("404".to_owned())), "not in the store"),
        (|| Err(BulkError::Never("403 Forbidden".to_owned())), "403 Forbidden"),
    ];
    for (answer, expected) in faults {
        let (came, files) = fetches(&parcel(BYTES), &[answer], soon());
        let reason = came.unwrap_err().to_string();
        assert!(reason.starts_with(expected), "{reason}");
        assert!(files.is_empty(), "{files:?}");
    }
}

#[test]
fn a_store_that_never_sends_the_rest_is_asked_until_there_is_no_time() {
    let (came, files) = fetches(&parcel(BYTES), &[|| Ok(half())], soon());
    assert_eq!(came, Err(Failure::Late("4 of 8 bytes came".to_owned())));
    assert!(files.is_empty(), "{files:?}");
}

#[test]
fn a_store_that_stalls_costs_no_more_than_the_time_that_was_given() {
    let begun = Instant::now();
    let (came, files) =
        fetches(&parcel(BYTES), &[|| Ok(half())], begun + Duration::from_millis(500));
    assert_eq!(came, Err(Failure::Late("4 of 8 bytes came".to_owned())));
    assert!(begun.elapsed() < Duration::from_secs(1) && files.is_empty(), "{files:?}");
    let drip = || Ok((BYTES.len().try_into().unwrap(), Box::new(Drip) as Box<dyn Read>));
    let (came, _) = fetches(&parcel(BYTES), &[drip], Instant::now() + Duration::from_millis(250));
    assert!(matches!(came, Err(Failure::Late(_))), "{came:?}");
}

#[test]
fn a_full_memory_is_said_and_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("x.ko.xz");
    // A device that is always full stands where the file begins to be written.
    let unfinished = directory.path().join(".x.ko.xz.part");
    std::os::unix::fs::symlink("/dev/full", &unfinished).unwrap();
    let failure = put_through(&unfinished, &target, BYTES).unwrap_err();
    assert!(matches!(failure, Failure::NoSpace(_)), "{failure}");
    assert!(failure.to_string().starts_with("no space: writing "), "{failure}");
    assert!(!target.exists() && fs::symlink_metadata(&unfinished).is_err());
    put(&target, BYTES).unwrap();
    assert_eq!(fs::read(&target).unwrap(), BYTES);
}
