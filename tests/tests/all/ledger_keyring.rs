//! Keys of sealed values: stored durably, destroyed for good.

use lotline_ledger::{KeyId, KeyState, Keyring, KeyringError, LedgerId, Micros, Options, Secret, Writer};
use lotline_testkit::disk::{Crash, Fault, FaultyDisk};

const ID: LedgerId = LedgerId::new([6; 16]);
const DIR: &str = "/ledger";

fn id(number: u8) -> KeyId {
    KeyId::new([number; 16])
}

fn secret(number: u8) -> Secret {
    Secret::new([number ^ 0xa5; 32])
}

fn open(disk: &FaultyDisk) -> Keyring {
    Keyring::open(disk.shared(), DIR, ID).expect("sound")
}

fn ledger() -> FaultyDisk {
    let disk = FaultyDisk::new();
    drop(Writer::create(disk.shared(), DIR, ID, Options::default()).expect("created"));
    disk
}

#[test]
fn stored_keys_are_there_after_reopening_and_erased_ones_stay_erased() {
    let disk = ledger();
    let mut keyring = open(&disk);
    keyring.insert((1..=5).map(|n| (id(n), secret(n))), Micros::new(10)).expect("stored");
    keyring.erase([id(2), id(9)], Micros::new(20)).expect("erased");
    for keyring in [keyring, open(&disk)] {
        assert_eq!(keyring.secret(&id(1)), Some(&secret(1)));
        assert_eq!(keyring.state(&id(3)), Some(&KeyState::Present(secret(3), Micros::new(10))));
        assert_eq!(keyring.state(&id(2)), Some(&KeyState::Erased(Micros::new(20))));
        assert_eq!(keyring.state(&id(9)), Some(&KeyState::Erased(Micros::new(20))));
        assert_eq!(keyring.state(&id(7)), None);
        assert_eq!(keyring.states().len(), 6);
    }
}

#[test]
fn an_id_never_gets_a_second_key_and_a_refusal_stores_none() {
    let disk = ledger();
    let mut keyring = open(&disk);
    keyring.insert([(id(1), secret(1))], Micros::new(1)).expect("stored");
    keyring.erase([id(2)], Micros::new(2)).expect("erased");
    for taken in [1, 2] {
        let error = keyring.insert([(id(3), secret(3)), (id(taken), secret(9))], Micros::new(3)).expect_err("taken");
        assert!(matches!(error, KeyringError::Taken { id: found } if found == id(taken)), "{error}");
    }
    assert_eq!(open(&disk).states().len(), 2);
}

#[test]
fn the_bytes_of_an_erased_key_are_nowhere_on_the_disk() {
    let disk = ledger();
    let mut keyring = open(&disk);
    keyring.insert([(id(1), secret(1)), (id(2), secret(2))], Micros::new(1)).expect("stored");
    assert!(disk.holds(secret(1).reveal()));
    keyring.erase([id(1)], Micros::new(2)).expect("erased");
    assert!(!disk.holds(secret(1).reveal()), "the key's bytes are still there");
    assert!(disk.holds(secret(2).reveal()));
}

#[test]
fn a_crash_leaves_the_old_keyring_or_the_new_one() {
    let base = ledger();
    open(&base).insert([(id(1), secret(1)), (id(2), secret(2))], Micros::new(1)).expect("stored");
    let change = |disk: &FaultyDisk| -> usize {
        let mut keyring = open(disk);
        let stored = keyring.insert([(id(3), secret(3))], Micros::new(2)).is_ok();
        let erased = stored && keyring.erase([id(1)], Micros::new(3)).is_ok();
        usize::from(stored) + usize::from(erased)
    };
    let whole = base.after(Crash::Kept);
    assert_eq!(change(&whole), 2);
    let mut seen = [0; 3];
    for operation in 0..whole.operations() {
        for crash in [Crash::Process, Crash::Lost, Crash::Kept, Crash::Mixed(operation), Crash::Mixed(99)] {
            let disk = base.after(Crash::Kept);
            disk.plan(operation, Fault::Stop);
            let done = change(&disk);
            let after = disk.after(crash);
            let keyring = open(&after);
            let found = match (keyring.secret(&id(1)).is_some(), keyring.secret(&id(3)).is_some()) {
                (true, false) => 0,
                (true, true) => 1,
                (false, true) => 2,
                (false, false) => panic!("neither the old keyring nor the new one"),
            };
            assert!(found >= done, "a stored or erased key came back");
            assert_eq!(keyring.secret(&id(2)), Some(&secret(2)));
            seen[found] += 1;
            // What a crash left of a file in the making is removed with the secrets in it.
            drop(Writer::open(after.shared(), DIR, Options::default()).expect("opened"));
            assert!(after.paths().iter().all(|path| path.extension().is_none_or(|end| end != "tmp")));
        }
    }
    assert!(seen.iter().all(|count| *count > 0), "not every state was reached: {seen:?}");
}

#[test]
fn a_keyring_of_another_ledger_is_refused() {
    let disk = ledger();
    open(&disk).insert([(id(1), secret(1))], Micros::new(1)).expect("stored");
    let error = Keyring::open(disk.shared(), DIR, LedgerId::new([7; 16])).expect_err("another ledger's");
    assert!(matches!(error, KeyringError::Damaged(_)), "{error}");
}
