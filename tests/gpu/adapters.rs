//! Which tests ran on which adapter: what each of them has noted when it asked for a device.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gradus::Gpu;

/// What the tests of this process have noted so far.
static NOTED: Mutex<Noted> = Mutex::new(Noted::new());

/// Names of tests by what happened in them.
#[derive(Clone, Debug)]
pub(crate) struct Noted {
    /// That got a device, by its adapter.
    pub(crate) ran: BTreeMap<String, BTreeSet<String>>,
    /// That found none where that is allowed.
    pub(crate) skipped: BTreeSet<String>,
    /// That compare kinds of kernels, of which the adapter runs one.
    pub(crate) one_kind: BTreeSet<String>,
    /// That have asked for a device and have not ended.
    at_work: usize,
    /// Whether the summary was printed.
    told: bool,
}

thread_local! {
    /// libtest gives each test a thread of its own, so that this is dropped when a test ends.
    static AT_WORK: RefCell<Option<AtWork>> = const { RefCell::new(None) };
}

struct AtWork;

impl Drop for AtWork {
    fn drop(&mut self) {
        noted().at_work -= 1;
    }
}

impl Noted {
    const fn new() -> Self {
        Self {
            ran: BTreeMap::new(),
            skipped: BTreeSet::new(),
            one_kind: BTreeSet::new(),
            at_work: 0,
            told: false,
        }
    }

    /// What is noted, once all tests but this one have ended. No test may ask for a device from then on.
    pub(crate) fn at_the_end() -> Self {
        loop {
            let mut noted = noted();
            if noted.at_work == 0 {
                noted.told = true;
                return noted.clone();
            }
            drop(noted);
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

impl fmt::Display for Noted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |(adapter, tests): (&String, &BTreeSet<String>)| format!("{} on {adapter}", tests.len());
        let ran: Vec<String> = self.ran.iter().map(line).collect();
        let ran = if ran.is_empty() { "0".into() } else { ran.join(", ") };
        write!(f, "gpu tests that ran: {ran}; skipped without an adapter: {}", self.skipped.len())?;
        write!(f, "; that could compare no two kinds of kernels: {}", self.one_kind.len())
    }
}

/// Notes that this test got a device.
pub(crate) fn note_ran(gpu: &Gpu) {
    let adapter = gpu.info();
    let adapter = format!("{} ({:?}, {})", adapter.name, adapter.backend, adapter.driver_info);
    begin().ran.entry(adapter).or_default().insert(test());
}

/// Notes that this test found no adapter.
pub(crate) fn note_skipped() {
    begin().skipped.insert(test());
}

/// Notes that this test would compare kernels with themselves.
pub(crate) fn note_one_kind() {
    begin().one_kind.insert(test());
}

fn begin() -> MutexGuard<'static, Noted> {
    let mut noted = noted();
    assert!(!noted.told, "{} began after the summary: a module must sort before zz_summary", test());
    let known = AT_WORK.with(|at_work| at_work.borrow().is_some());
    if !known {
        noted.at_work += 1;
        AT_WORK.with(|at_work| *at_work.borrow_mut() = Some(AtWork));
    }
    noted
}

fn test() -> String {
    std::thread::current().name().unwrap_or("a thread of a test").to_owned()
}

fn noted() -> MutexGuard<'static, Noted> {
    NOTED.lock().unwrap_or_else(PoisonError::into_inner)
}
