//! Stored payloads: one form for each value, strict, readable without keys, and open to erasure.

use lotline_domain::command::{Body, Command};
use lotline_domain::fact::Fact;
use lotline_testkit::property::cases;
use lotline_wire::command::{parse_command, print_command};
use lotline_wire::content::{ContentHash, content_hash};
use lotline_wire::key::{self, keys_of};
use lotline_wire::payload::{DecodeError, Field, Origin, StoredOrigin, decode, encode};
use lotline_wire::seal::{KeyId, NoKeys, OpenError, Opened, SealedValue, Sealer};
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use crate::wire_any::{self, MemoryKeys};

const CONTENT: ContentHash = ContentHash([7; 32]);

fn stored(body: &Body, keys: &mut MemoryKeys, origin: Origin<'_>) -> Vec<u8> {
    let mut sealer = Sealer::new(keys).expect("a sealer");
    encode(body, CONTENT, origin, &mut sealer).expect("a body that fits")
}

fn command(line: &str) -> Command {
    parse_command(line).expect("a command")
}

fn body(line: &str) -> Body {
    let Command { mode, event } = command(line);
    Body::Fact { mode, event, decided_on: None }
}

const HELD: &str = r#"{"type":"held","id":"E9","hold":"H1","batch":{"item":"milk","code":"M1"},"reason":"Ms Jane Roe found glass","source":"qa","occurred_at":"2026-03-01T08:00:00+01:00"}"#;

proptest! {
    #![proptest_config(cases(512, 20_000))]

    #[test]
    fn what_is_stored_reads_back_whole(body in wire_any::body(), original in proptest::option::of(any::<Vec<u8>>())) {
        let mut keys = MemoryKeys::default();
        let origin = match &original {
            Some(original) => Origin::Epcis { mapping_version: 3, original },
            None => Origin::Native,
        };
        let bytes = stored(&body, &mut keys, origin);
        let read = decode(&bytes).expect("decodes");
        prop_assert_eq!(read.content, CONTENT);
        prop_assert_eq!(&read.open_body(&keys).expect("opens"), &body);
        match (read.origin, original) {
            (StoredOrigin::Epcis { mapping_version: 3, original: sealed }, Some(original)) => {
                prop_assert_eq!(sealed.open(&keys).expect("opens"), Opened::Plain(original));
            }
            (StoredOrigin::Native, None) => {}
            other => prop_assert!(false, "{other:?}"),
        }
        prop_assert_eq!(stored(&body, &mut keys, Origin::Native), stored(&body, &mut MemoryKeys::default(), Origin::Native));
    }

    #[test]
    fn keys_do_not_depend_on_what_is_sealed(body in wire_any::body()) {
        let keys = keys_of(&body);
        prop_assert!(!keys.is_empty());
        prop_assert!(keys.windows(2).all(|pair| pair[0] < pair[1]), "ascending, none twice");
        let bytes = stored(&body, &mut MemoryKeys::default(), Origin::Native);
        prop_assert_eq!(keys_of(&decode(&bytes).expect("decodes").body), keys);
    }

    #[test]
    fn changed_bytes_are_an_error_or_another_value_in_its_one_form(
        body in wire_any::body(), at in any::<proptest::sample::Index>(), flip in 1u8..,
    ) {
        let mut keys = MemoryKeys::default();
        let mut bytes = stored(&body, &mut keys, Origin::Native);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(read) = decode(&bytes) && let Ok(opened) = read.open_body(&keys) {
            // Where every sealed value still opens, the bytes are what writing it gives.
            let mut sealer = Sealer::new(&mut keys).expect("a sealer");
            let again = encode(&opened, read.content, Origin::Native, &mut sealer).expect("fits");
            if read.sealed.is_empty() {
                prop_assert_eq!(again, bytes);
            }
        }
    }

    #[test]
    fn cut_and_longer_payloads_are_refused(body in wire_any::body(), at in any::<proptest::sample::Index>()) {
        let bytes = stored(&body, &mut MemoryKeys::default(), Origin::Native);
        prop_assert!(decode(&bytes[..at.index(bytes.len())]).is_err());
        let mut longer = bytes;
        longer.push(0);
        let refused = matches!(decode(&longer), Err(DecodeError::Trailing { extra: 1 }));
        prop_assert!(refused);
    }

    #[test]
    fn hostile_bytes_never_panic(mut bytes in proptest::collection::vec(prop_byte(), 0..300), versioned in any::<bool>()) {
        if versioned && bytes.len() >= 2 {
            bytes[..2].copy_from_slice(&[0, 1]);
        }
        let _ = decode(&bytes).map_err(|error| error.to_string());
        let _ = SealedValue::parse(&bytes).map(|value| value.open(&NoKeys));
    }

    #[test]
    fn equal_content_and_only_that_has_the_same_hash(left in wire_any::readable_command(), right in wire_any::readable_command()) {
        let mut keys = MemoryKeys::default();
        let sealer = Sealer::new(&mut keys).expect("a sealer");
        let again = parse_command(&print_command(&left)).expect("reads back");
        prop_assert_eq!(content_hash(&left, b"", sealer.secret()), content_hash(&again, b"", sealer.secret()));
        prop_assert_eq!(left == right, content_hash(&left, b"", sealer.secret()) == content_hash(&right, b"", sealer.secret()));
        prop_assert!(content_hash(&left, b"", sealer.secret()) != content_hash(&left, b"more", sealer.secret()));
    }
}

/// Small bytes are likelier to be tags and lengths.
fn prop_byte() -> impl proptest::strategy::Strategy<Value = u8> {
    proptest::prop_oneof![3 => proptest::strategy::Just(0u8), 2 => 0u8..4, 1 => any::<u8>()]
}

#[test]
fn a_newer_version_is_named_and_not_guessed() {
    let mut bytes = stored(&body(HELD), &mut MemoryKeys::default(), Origin::Native);
    bytes[1] = 3;
    let error = decode(&bytes).expect_err("a newer version");
    assert!(matches!(error, DecodeError::UnknownVersion { found: 3 }));
    assert_eq!(
        error.to_string(),
        "payload version 3 is unknown; this program knows versions 1 to 2: use a newer program"
    );
}

#[test]
fn a_hostile_length_takes_no_memory() {
    let mut bytes = stored(&body(HELD), &mut MemoryKeys::default(), Origin::Native);
    // The event id's length follows version, content, tags and the empty option.
    let length = 2 + 32 + 4 + 4 + 1;
    assert_eq!(bytes[length..length + 10], *b"\0\0\0\0\0\0\0\x02E9");
    bytes[length..length + 8].copy_from_slice(&u64::MAX.to_be_bytes());
    assert!(matches!(decode(&bytes), Err(DecodeError::Form(_))));
}

#[test]
fn nothing_that_may_name_a_person_is_stored_in_the_clear() {
    let line = r#"{"type":"corrected","target":"E1","actor":"jane.roe","reason":"Jane mistyped","correction":{"supersede":{"occurred_at":"2026-03-01T08:00:00Z","fact":{"type":"noted","what":"John called"}}},"source":"s","occurred_at":"2026-03-01T08:00:00Z","id":"X"}"#;
    let bytes =
        stored(&body(line), &mut MemoryKeys::default(), Origin::Epcis { mapping_version: 1, original: b"John Doe" });
    for text in ["jane", "Jane", "John"] {
        assert!(!bytes.windows(text.len()).any(|part| part == text.as_bytes()), "{text} is readable");
    }
}

#[test]
fn an_erased_key_takes_the_text_and_nothing_else() {
    let mut keys = MemoryKeys::default();
    let body = body(HELD);
    let bytes = stored(&body, &mut keys, Origin::Native);
    let read = decode(&bytes).expect("decodes without keys");
    assert_eq!(
        read.texts(&keys).expect("opens"),
        [(Field::Reason, Opened::Plain("Ms Jane Roe found glass".to_owned()))]
    );
    assert_eq!(read.texts(&NoKeys).expect("opens"), [(Field::Reason, Opened::Unavailable)]);
    keys.erase_all();
    assert_eq!(read.texts(&keys).expect("opens"), [(Field::Reason, Opened::Erased)]);
    let Body::Fact { event, .. } = read.open_body(&keys).expect("opens") else { panic!("a fact") };
    assert!(matches!(event.fact, Fact::Held { reason: None, .. }));
    assert_eq!(keys_of(&body), keys_of(&read.body));

    let after = stored(&body, &mut keys, Origin::Native);
    let after = decode(&after).expect("decodes");
    assert_ne!(after.sealed[0].value.key_id(), read.sealed[0].value.key_id(), "an erased key is not used again");
    assert!(after.texts(&keys).expect("opens")[0].1.clone().plain().is_some());
}

#[test]
fn a_changed_sealed_value_and_a_wrong_key_are_told_apart() {
    let mut keys = MemoryKeys::default();
    let bytes = stored(&body(HELD), &mut keys, Origin::Native);
    let value = decode(&bytes).expect("decodes").sealed[0].value;
    let mut changed = value.as_bytes().to_vec();
    *changed.last_mut().expect("not empty") ^= 1;
    let changed = SealedValue::parse(&changed).expect("well formed").open(&keys);
    assert_eq!(changed, Err(OpenError::Changed(value.key_id())));
    for (id, state) in &mut keys.0 {
        if *id != KeyId::LEDGER_SECRET {
            *state = lotline_wire::seal::KeyState::Present(lotline_wire::seal::Secret([1; 32]));
        }
    }
    assert_eq!(value.open(&keys), Err(OpenError::OtherKey(value.key_id())));
}

#[test]
fn keys_find_what_an_event_names() {
    let Command { event, .. } = command(
        r#"{"type":"produced","id":"E2","command":"K2","source":"mes","occurred_at":"2026-03-01T08:00:00Z","run":"R1","inputs":[{"batch":"M1"},{"from":"vessel:S1"}],"outputs":[{"batch":{"item":"cheese","code":"C1"},"to":"container:SSCC1"}]}"#,
    );
    let Fact::Produced(report) = &event.fact else { panic!("a run") };
    let BatchRefs { known, code } = refs(report);
    let vessel = lotline_domain::id::VesselId::parse("S1").expect("a name");
    let container = lotline_domain::id::ContainerId::parse("SSCC1").expect("a name");
    let mut expected = vec![
        key::event(&event.id),
        key::command(&event.command),
        key::run(&report.run),
        key::batch_code(&code),
        key::batch(&known),
        key::batch_code(&known.code),
        key::vessel(&vessel),
        key::container(&container),
    ];
    let blend = lotline_domain::fact::anonymous_blend(&vessel, &event.id, 1);
    expected.extend([key::batch(&blend), key::batch_code(&blend.code)]);
    expected.sort_unstable();
    let body = Body::Fact { mode: lotline_domain::command::Mode::Observation, event, decided_on: None };
    assert_eq!(keys_of(&body), expected);
}

struct BatchRefs {
    known: lotline_domain::id::BatchId,
    code: lotline_domain::id::BatchCode,
}

fn refs(report: &lotline_domain::fact::RunReport) -> BatchRefs {
    use lotline_domain::id::BatchRef;
    match (&report.outputs[0].batch, &report.inputs[0].batch) {
        (BatchRef::Known(known), Some(BatchRef::Code(code))) => BatchRefs { known: known.clone(), code: code.clone() },
        other => panic!("{other:?}"),
    }
}
