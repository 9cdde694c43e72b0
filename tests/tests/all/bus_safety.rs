//! Who may do what, and how a refusal is told: TLS, keys, credentials and permissions, by a server of the delivered
//! configuration.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use nkeys::KeyPair;
use serde_json::{Value, json};
use tempfile::tempdir;

use super::bus_intake::ledger;
use super::bus_relay::copy;
use super::bus_secured::{Secured, delivered, issue, write_secret};
use super::bus_server::{Running, Server, program, until};
use super::bus_wire::Wire;
use super::cli_binary::{Said, batch, feed, lotline, received, run};

/// The command line, in a role.
fn arguments(secured: &Secured, role: &str, words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).chain(secured.access(role)).collect()
}

fn start(secured: &Secured, role: &str, words: &[&str]) -> Running {
    let all = arguments(secured, role, words);
    Running::start_as_service(secured.path(), &all.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Runs it to its end: exit code, and what it said on its standard error.
fn ended(secured: &Secured, role: &str, words: &[&str]) -> (i32, String) {
    let all = arguments(secured, role, words);
    let said = run(secured.path(), &all.iter().map(String::as_str).collect::<Vec<_>>());
    (said.code, said.err)
}

const KINDS: [&str; 5] = ["on-hand", "status", "edges", "exceptions", "expiring"];

#[test]
fn each_role_does_its_work_under_the_delivered_permissions() {
    let Some(secured) = Secured::start() else { return };
    let ledger = &secured.ledger;
    for name in ["yesterday", "other"] {
        copy(&secured.path().join("plant"), &secured.path().join(name));
    }
    let mut serve = start(&secured, "handler", &["serve", "--dir", "plant"]);
    serve.note("commands are taken from the NATS server");

    // A source: requests, and the queue with an answer to a subject of its own.
    let mut erp = secured.wire("source_erp");
    let submit = format!("lotline.{ledger}.submit.erp");
    let milk = batch("milk", "M2");
    until("requests are taken", || {
        let came = erp.request(&submit, &[], received("r2", &milk, "100").as_bytes());
        (came.header("Lotline-Answer")).map(str::to_owned)
    });
    erp.listen("answers.erp");
    let queue = format!("lotline.{ledger}.queue.erp");
    let stored = erp.request(&queue, &[("Lotline-Reply-To", "answers.erp")], received("q1", &milk, "7").as_bytes());
    assert_eq!(stored.json()["stream"], format!("lotline-{ledger}-queue"), "{stored:?}");
    let answer = erp.next();
    assert_eq!((&*answer.subject, answer.header("Lotline-Answer")), ("answers.erp", Some("recorded")));
    erp.request(&queue, &[("Lotline-Reply-To", "answers.erp")], b"{");
    assert_eq!(erp.next().code(), Some("400"), "a dead letter");
    erp.request(&queue, &[("Lotline-Reply-To", "answers.erp")], b"[");
    assert_eq!(erp.next().code(), Some("400"), "another one");

    // Projectors, two of them without a feed.
    for kind in ["genealogy", "recall"] {
        let said = ended(&secured, "projector", &["projector", kind, "--dir", "far", "--until", "3"]);
        assert_eq!(said.0, 0, "{said:?}");
    }
    let said = ended(
        &secured,
        "projector",
        &["projector", "inventory", "--feed", "--dir", "far", "--until", "3", "--snapshot-every", "1"],
    );
    assert_eq!(said.0, 0, "{said:?}");
    let begins = ["projector", "inventory", "--dir", "farther", "--until", "3", "--from-snapshot"];
    let said = ended(&secured, "projector", &begins);
    assert_eq!(said.0, 0, "{said:?}");
    assert!(format!("{said:?}").contains("begun with the snapshot as of commit 3"), "{said:?}");

    // An analyst: the bucket, and the stream by a consumer.
    let mut analyst = secured.wire("analyst");
    let as_of = until("the bucket is there", || {
        let which = json!({ "last_by_subj": format!("$KV.lotline-{ledger}-on-hand.as-of") });
        let api = format!("$JS.API.STREAM.MSG.GET.KV_lotline-{ledger}-on-hand");
        let told = analyst.ask(&api, which.to_string().as_bytes());
        told["message"]["seq"].as_u64()
    });
    assert!(as_of > 0);
    let stream = format!("lotline-{ledger}-on-hand-changes");
    let consumer = json!({ "stream_name": stream, "config": { "name": "mine", "deliver_policy": "all",
        "ack_policy": "none", "inactive_threshold": 30_000_000_000_u64 } });
    let made = analyst.ask(&format!("$JS.API.CONSUMER.CREATE.{stream}.mine"), consumer.to_string().as_bytes());
    assert_eq!(made["name"], "mine", "{made}");
    let change = analyst.deliver(&stream, "mine");
    assert!(change.subject.starts_with(&format!("lotline.{ledger}.on-hand.")), "{change:?}");
    let direct = analyst.request(
        &format!("$JS.API.DIRECT.GET.KV_lotline-{ledger}-on-hand.$KV.lotline-{ledger}-on-hand.as-of"),
        &[],
        b"",
    );
    assert_eq!(serde_json::from_slice::<Value>(&direct.body).expect("JSON")["ledger"], **ledger);

    // The administrator: dead letters are looked at, sent again, dropped; streams are made and deleted.
    for words in [&["dead-letters", "list"][..], &["dead-letters", "show", "2"][..]] {
        let (code, err) = ended(&secured, "administrator", words);
        assert_eq!(code, 0, "{err}");
    }
    fs::write(secured.path().join("mended.json"), received("q2", &milk, "8")).expect("written");
    let (code, err) = ended(&secured, "administrator", &["dead-letters", "send", "2", "--file", "mended.json"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(erp.next().header("Lotline-Answer"), Some("recorded"), "it asks for its answer still");
    let (code, err) = ended(&secured, "administrator", &["dead-letters", "drop", "1", "--reason", "a test"]);
    assert_eq!(code, 0, "{err}");
    let mut administrator = secured.wire("administrator");
    administrator.make("scratch", "scratch.>");
    assert_eq!(administrator.ask("$JS.API.STREAM.DELETE.scratch", b"")["success"], true);

    let said = serve.interrupt("TERM");
    assert_eq!(said.code, 0, "{said:?}");
    assert!(!said.err.contains("denies"), "nothing was denied to the handler: {said:?}");

    // The relay: a whole stream read back, an older folder caught up, another history beside.
    for words in [
        &["relay", "--once", "--read-back", "--dir", "plant"][..],
        &["relay", "--once", "--catch-up", "--dir", "yesterday"][..],
    ] {
        let (code, err) = ended(&secured, "handler", words);
        assert_eq!(code, 0, "{words:?}: {err}");
    }
    let said = feed(secured.path(), &["submit", "--dir", "other"], &received("r9", &milk, "1"));
    assert_eq!(said.code, 0, "{said:?}");
    let (code, err) = ended(&secured, "handler", &["relay", "--once", "--dir", "other"]);
    assert_eq!(code, 0, "{err}");
    let streams = administrator.streams();
    assert!(streams.contains(&format!("lotline-{ledger}-2")), "{streams:?}");
}

#[test]
fn no_role_may_do_what_is_not_its_own() {
    let Some(secured) = Secured::start() else { return };
    let ledger = &secured.ledger;
    let commits = format!("lotline-{ledger}-1");
    let queue = format!("lotline-{ledger}-queue");
    let command = format!("lotline.{ledger}.submit.erp");
    let queued = format!("lotline.{ledger}.queue.erp");
    let published = format!("lotline.{ledger}.commits.1");
    let delete = |stream: &str| format!("$JS.API.STREAM.DELETE.{stream}");
    let purge = |stream: &str| format!("$JS.API.STREAM.PURGE.{stream}");
    let update = |stream: &str| format!("$JS.API.STREAM.UPDATE.{stream}");
    let feeds: Vec<String> = KINDS
        .iter()
        .flat_map(|kind| [format!("lotline.{ledger}.{kind}.a.b"), format!("$KV.lotline-{ledger}-{kind}.as-of")])
        .collect();
    let told = feeds.clone();
    let structure: Vec<String> =
        [&commits, &queue].into_iter().flat_map(|name| [delete(name), purge(name), update(name)]).collect();
    let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();

    let refused_publishes: [(&str, Vec<Vec<String>>); 5] = [
        (
            "source_erp",
            vec![
                own(&[
                    &format!("lotline.{ledger}.submit.scanner"),
                    &format!("lotline.{ledger}.queue.scanner"),
                    &format!("lotline.{ledger}.submit.erp.more"),
                    &format!("lotline.{ledger}.ask.trace"),
                    &format!("lotline.{ledger}.dead-letters.erp"),
                    &published,
                    "answers.scanner",
                    "_INBOX.scanner.x",
                    "$JS.API.STREAM.NAMES",
                    "$JS.API.INFO",
                    &format!("$JS.API.STREAM.MSG.GET.{queue}"),
                    &format!("$JS.API.CONSUMER.CREATE.{queue}.mine"),
                ]),
                structure.clone(),
                feeds.clone(),
            ],
        ),
        (
            "handler",
            vec![
                own(&[
                    &command,
                    &queued,
                    "$JS.API.STREAM.CREATE.orders",
                    "$JS.API.STREAM.CREATE.lotline-other",
                    &format!("$JS.API.STREAM.MSG.DELETE.{queue}"),
                    &format!("$JS.API.CONSUMER.DELETE.{queue}.handler"),
                    &format!("$JS.API.CONSUMER.CREATE.{queue}.other"),
                    &format!("lotline.{ledger}.settled-letters.erp"),
                    "$JS.API.STREAM.LIST",
                ]),
                structure.clone(),
            ],
        ),
        (
            "projector",
            vec![
                own(&[
                    &command,
                    &queued,
                    &published,
                    "answers.erp",
                    &format!("$JS.API.STREAM.CREATE.{commits}"),
                    &format!("$JS.API.STREAM.INFO.{queue}"),
                    &format!("$JS.API.CONSUMER.CREATE.{queue}.handler"),
                    &format!("$JS.API.CONSUMER.MSG.NEXT.{queue}.handler"),
                    &format!("$JS.ACK.{queue}.handler.1.1.1.1.0"),
                    &format!("lotline.{ledger}.dead-letters.erp"),
                ]),
                structure.clone(),
            ],
        ),
        (
            "analyst",
            vec![
                own(&[
                    &command,
                    &queued,
                    &published,
                    "answers.erp",
                    "anything",
                    &format!("$JS.API.STREAM.MSG.GET.{commits}"),
                    &format!("$JS.API.CONSUMER.CREATE.{commits}.mine"),
                    &format!("$JS.API.STREAM.MSG.GET.{queue}"),
                    &format!("$JS.API.STREAM.MSG.GET.lotline-{ledger}-dead-letters"),
                    &format!("$JS.API.STREAM.CREATE.lotline-{ledger}-on-hand-changes"),
                    &format!("$JS.API.STREAM.DELETE.KV_lotline-{ledger}-on-hand"),
                    &format!("$JS.API.STREAM.MSG.DELETE.KV_lotline-{ledger}-on-hand"),
                ]),
                structure,
                feeds.clone(),
            ],
        ),
        (
            "administrator",
            vec![
                own(&[&command, &published, "answers.erp", &format!("lotline.{ledger}.dead-letters.erp"), "anything"]),
                feeds,
            ],
        ),
    ];
    for (role, subjects) in refused_publishes {
        let mut wire = secured.wire(role);
        for subject in subjects.concat() {
            let said = wire.objection("PUB", &subject).unwrap_or_else(|| panic!("{role} may publish to {subject}"));
            assert!(said.contains(&format!("Permissions Violation for Publish to \"{subject}\"")), "{role}: {said}");
        }
    }
    let everything = ["source_erp", "handler", "projector", "analyst", "administrator"];
    for role in everything {
        let mut wire = secured.wire(role);
        let others = everything.iter().filter(|other| **other != role);
        let inboxes = others.map(|other| format!("_INBOX.{}.>", other.trim_start_matches("source_")));
        let mut refused: Vec<String> = inboxes.collect();
        refused.extend(
            [">", "_INBOX.>", "answers.>", "lotline.>", "$JS.API.>", "$KV.>", &queued, &published].map(str::to_owned),
        );
        if role != "handler" {
            refused.push(command.clone());
        }
        for subject in refused {
            let said = wire.objection("SUB", &subject).unwrap_or_else(|| panic!("{role} may subscribe to {subject}"));
            assert!(said.contains("Permissions Violation for Subscription to"), "{role}: {subject}: {said}");
        }
    }
    // What is refused to others is allowed to whom it belongs: the subjects are the right ones.
    for role in ["handler", "projector"] {
        let mut wire = secured.wire(role);
        for subject in &told {
            assert_eq!(wire.objection("PUB", subject), None, "{role} tells {subject}");
        }
    }
    let mut analyst = secured.wire("analyst");
    for word in ["trace", "on-hand", "recall", "history", "exceptions"] {
        assert_eq!(analyst.objection("PUB", &format!("lotline.{ledger}.ask.{word}")), None, "{word}");
    }
    for kind in KINDS {
        for stream in [format!("lotline-{ledger}-{kind}-changes"), format!("KV_lotline-{ledger}-{kind}")] {
            for api in ["STREAM.INFO", "STREAM.MSG.GET", "DIRECT.GET", "CONSUMER.CREATE"] {
                assert_eq!(analyst.objection("PUB", &format!("$JS.API.{api}.{stream}")), None, "{api} {stream}");
            }
        }
    }
    let ask = format!("lotline.{ledger}.ask.*");
    for (role, verb, subject) in [
        ("handler", "SUB", &ask),
        ("projector", "SUB", &ask),
        ("source_erp", "PUB", &command),
        ("source_erp", "PUB", &queued),
        ("handler", "PUB", &published),
        ("handler", "SUB", &command),
        ("administrator", "PUB", &queued),
    ] {
        assert_eq!(secured.wire(role).objection(verb, subject), None, "{role} {verb} {subject}");
    }
}

#[test]
fn a_denied_permission_is_told_as_that_with_its_subject_and_code() {
    let Some(secured) = Secured::start() else { return };
    let ledger = &secured.ledger;
    let publish = |subject: &str| format!("denies this user to publish to {subject}");
    for (role, words, told) in [
        ("source_erp", &["relay", "--once", "--dir", "plant"][..], publish("$JS.API.STREAM.NAMES")),
        (
            "analyst",
            &["relay", "--once", "--dir", "plant"][..],
            publish(&format!("$JS.API.STREAM.CREATE.lotline-{ledger}-1")),
        ),
        ("projector", &["serve", "--dir", "plant"][..], publish(&format!("$JS.API.STREAM.CREATE.lotline-{ledger}-1"))),
        ("source_erp", &["dead-letters", "list"][..], publish("$JS.API.STREAM.NAMES")),
        ("source_erp", &["projector", "recall", "--dir", "far"][..], publish("$JS.API.STREAM.NAMES")),
    ] {
        let (code, err) = ended(&secured, role, words);
        assert_eq!(code, 8, "{role} {words:?}: {err}");
        assert!(err.contains(&told), "{role} {words:?}: {err}");
        assert!(err.contains("deploy/nats/secured.conf"), "what to do: {err}");
    }
    let (code, err) = ended(&secured, "handler", &["relay", "--once", "--dir", "plant"]);
    assert_eq!(code, 0, "{err}");
    for (role, words, told) in [
        (
            "analyst",
            &["projector", "recall", "--dir", "far"][..],
            format!("publish to $JS.API.CONSUMER.CREATE.lotline-{ledger}-1"),
        ),
        (
            "projector",
            &["dead-letters", "list"][..],
            format!("publish to $JS.API.STREAM.MSG.GET.lotline-{ledger}-dead-letters"),
        ),
    ] {
        let (code, err) = ended(&secured, role, words);
        assert_eq!(code, 8, "{role} {words:?}: {err}");
        assert!(err.contains(&told), "{role} {words:?}: {err}");
    }
    // Answers that cannot come.
    let mut other = secured.access("handler");
    *other.last_mut().expect("the prefix") = "_INBOX.other".to_owned();
    let all = [&["relay", "--once", "--dir", "plant"].map(str::to_owned)[..], &other].concat();
    let said = run(secured.path(), &all.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(said.code, 8, "{said:?}");
    assert!(said.err.contains("subscribe to _INBOX.other."), "{said:?}");
    assert!(said.err.contains("--nats-inbox-prefix"), "{said:?}");
}

#[test]
fn what_is_denied_to_a_service_beside_its_streams_ends_it_at_the_start() {
    for (line, told) in [
        (".submit.*\"", "subscribe to lotline."),
        ("CONSUMER.MSG.NEXT.lotline-LEDGER-queue", "publish to $JS.API.CONSUMER.MSG.NEXT.lotline-"),
        ("STREAM.CREATE.KV_lotline-LEDGER-on-hand", "publish to $JS.API.STREAM.CREATE.KV_lotline-"),
    ] {
        let Some(secured) = Secured::start_changed(|config, _| remove(&config, line)) else { return };
        let (code, err) = ended(&secured, "handler", &["serve", "--dir", "plant"]);
        assert_eq!(code, 8, "{line}: {err}");
        assert!(err.contains(told), "{line}: {err}");
    }
}

/// The configuration without one grant of the handler's; LEDGER in it stands for any ledger.
pub fn remove(config: &str, grant: &str) -> String {
    let (before, handler) = config.split_once("# The handler").expect("the handler's part");
    let parts: Vec<&str> = grant.split("LEDGER").collect();
    let is_it = |line: &str| {
        let mut rest = line;
        parts.iter().all(|part| rest.split_once(part).map(|(_, after)| rest = after).is_some())
    };
    let at = handler.lines().position(is_it).unwrap_or_else(|| panic!("{grant} is granted"));
    let left: Vec<&str> =
        handler.lines().enumerate().filter(|(number, _)| *number != at).map(|(_, line)| line).collect();
    format!("{before}# The handler{}", left.join("\n"))
}

#[test]
fn a_connection_that_cannot_be_made_says_which_side_and_file_is_wrong() {
    let Some(secured) = Secured::start() else { return };
    let path = secured.path();
    let (url, ca, key) = (secured.url(), secured.file("ca.crt"), secured.file("handler.nk"));
    fs::write(path.join("other-ca.crt"), issue().ca).expect("written");
    fs::write(path.join("no-certificate.crt"), "nothing\n").expect("written");
    write_secret(&path.join("stranger.nk"), &KeyPair::new_user().seed().expect("a seed"));
    write_secret(&path.join("account.nk"), &KeyPair::new_account().seed().expect("a seed"));
    write_secret(&path.join("garbage.nk"), "SU not a seed\n");
    write_secret(&path.join("half.creds"), "-----BEGIN NATS USER JWT-----\neyJ0\n------END NATS USER JWT------\n");
    fs::copy(path.join("handler.nk"), path.join("open.nk")).expect("copied");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path.join("open.nk"), fs::Permissions::from_mode(0o644)).expect("open");
    }
    let file = |name: &str| secured.file(name);
    let plain = Server::start().expect("one was started before");
    let not_tls = plain.url().replace("nats://", "tls://");
    let cases: [(&[&str], i32, &str); 17] = [
        (&["--nats", &url, "--nats-ca", &ca], 8, "it asks for credentials, and none were given"),
        (
            &["--nats", &url, "--nats-ca", &ca, "--nats-nkey", &file("stranger.nk")],
            8,
            "does not accept the credentials",
        ),
        (&["--nats", &url, "--nats-nkey", &key], 8, "its certificate is not trusted here"),
        (&["--nats", &url.replace("tls://", "nats://"), "--nats-nkey", &key], 8, "its certificate is not trusted here"),
        (
            &["--nats", &url, "--nats-ca", &file("other-ca.crt"), "--nats-nkey", &key],
            8,
            "its certificate is not trusted",
        ),
        (&["--nats", &not_tls, "--nats-ca", &ca], 8, "it does not speak TLS there"),
        (&["--nats", &plain.url(), "--nats-ca", &ca], 8, "it does not speak TLS there"),
        (&["--nats", &url, "--nats-ca", &file("none.crt")], 2, "none.crt cannot be read"),
        (&["--nats", &url, "--nats-ca", &file("no-certificate.crt")], 2, "it has no certificate in PEM form"),
        (&["--nats", &url, "--nats-ca", &ca, "--nats-nkey", &file("none.nk")], 2, "none.nk cannot be read"),
        (&["--nats", &url, "--nats-ca", &ca, "--nats-nkey", &file("garbage.nk")], 2, "its seed is none"),
        (&["--nats", &url, "--nats-ca", &ca, "--nats-nkey", &file("account.nk")], 2, "not that of a user"),
        (&["--nats", &url, "--nats-ca", &ca, "--nats-creds", &file("half.creds")], 2, "USER NKEY SEED"),
        (&["--nats", &url, "--nats-cert", &ca], 2, "--nats-key"),
        (&["--nats", &url, "--nats-cert", &ca, "--nats-key", &key], 2, "no private key in PEM form"),
        (&["--nats", "tls://me:secret@127.0.0.1"], 2, "has a password in it"),
        (
            &["--nats", &url, "--nats-ca", &ca, "--nats-nkey", &key, "--nats-inbox-prefix", "a.>"],
            2,
            "inboxes begin with",
        ),
    ];
    for (more, code, words) in cases {
        let said = run(path, &[&["relay", "--once", "--dir", "plant"], more].concat());
        assert_eq!(said.code, code, "{more:?}: {said:?}");
        assert!(said.err.contains(words), "{more:?}: {said:?}");
        assert!(!said.err.contains("secret@"), "no secret is repeated: {said:?}");
    }
    #[cfg(unix)]
    {
        let more =
            ["relay", "--once", "--dir", "plant", "--nats", &url, "--nats-ca", &ca, "--nats-nkey", &file("open.nk")];
        let said = run(path, &more);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.err.contains("mode 0644") && said.err.contains("chmod"), "{said:?}");
    }
}

#[test]
fn a_client_certificate_is_shown_where_the_server_asks_for_one() {
    let ask = |config: String, folder: &Path| {
        let more = format!("ca_file: \"{}\"\n  verify: true", folder.join("ca.crt").display());
        config.replace("key_file: $tls_key", &format!("key_file: $tls_key\n  {more}"))
    };
    let Some(secured) = Secured::start_changed(ask) else { return };
    let words = ["relay", "--once", "--dir", "plant"];
    let (code, err) = ended(&secured, "handler", &words);
    assert_eq!(code, 8, "{err}");
    assert!(err.contains("does not accept this side's certificate, or asks for one"), "{err}");
    let [certificate, key] = ["client.crt", "client.key"].map(|name| secured.file(name));
    let shown = [&words[..], &["--nats-cert", &certificate, "--nats-key", &key]].concat();
    let (code, err) = ended(&secured, "handler", &shown);
    assert_eq!(code, 0, "{err}");
}

#[test]
fn the_environment_says_who_one_is_where_the_command_line_does_not() {
    let Some(secured) = Secured::start() else { return };
    let mut relay = lotline(secured.path(), &["relay", "--once", "--dir", "plant"]);
    relay.env("NATS_URL", secured.url()).env("NATS_CA", secured.file("ca.crt"));
    relay.env("NATS_NKEY", secured.file("handler.nk")).env("NATS_INBOX_PREFIX", "_INBOX.handler");
    let said: Said = relay.output().expect("it runs").into();
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("1 commits published"), "{said:?}");
}

#[test]
fn the_script_makes_keys_certificates_and_a_configuration_that_server_and_clients_take() {
    let has = |tool: &str| Command::new(tool).arg("version").output().is_ok();
    if !["openssl", "python3"].into_iter().all(has) {
        eprintln!("skipped: deploy/nats/make-keys.py needs python3 and openssl");
        return;
    }
    let folder = tempdir().expect("a folder");
    let path = folder.path();
    let said = feed(path, &["submit", "--dir", "plant"], &received("r1", &batch("milk", "M1"), "100"));
    assert_eq!(said.code, 0, "{said:?}");
    let id = ledger(path);
    let make = |more: &[&str]| {
        let mut script = Command::new("python3");
        script.arg(delivered().with_file_name("make-keys.py")).current_dir(path);
        script.args(["--ledger", &id, "--host", "127.0.0.1", "--dir", "keys"]).args(more);
        Said::from(script.output().expect("it runs"))
    };
    let no = make(&["--source", "a.b"]);
    assert!(no.code == 2 && no.err.contains("is no token"), "{no:?}");
    let said = make(&["--source", "erp", "--source", "scanner-2"]);
    assert_eq!(said.code, 0, "{said:?}");
    let Some(nats) = program() else { return };
    let checked = Command::new(nats).current_dir(path).args(["-t", "--config", "keys/secured.conf"]).output();
    let checked = Said::from(checked.expect("it runs"));
    assert_eq!(checked.code, 0, "{checked:?}");
    let Some(server) = Server::start_with(&path.join("keys/secured.conf")) else { return };
    let relay = |server: &Server| {
        let url = format!("tls://127.0.0.1:{}", server.port());
        let access = ["--nats-ca", "keys/tls/ca.crt", "--nats-nkey", "keys/seeds/handler.nk"];
        let words = ["relay", "--once", "--dir", "plant", "--nats", &url, "--nats-inbox-prefix", "_INBOX.handler"];
        run(path, &[&words[..], &access].concat())
    };
    assert_eq!(relay(&server).code, 0);
    let seed = |name: &str| {
        let text = fs::read_to_string(path.join(format!("keys/seeds/{name}.nk"))).expect("a seed");
        text.lines().last().expect("a line").to_owned()
    };
    let trusted = fs::read_to_string(path.join("keys/tls/ca.crt")).expect("the CA");
    for (source, own) in [("scanner-2", true), ("erp", false)] {
        let mut wire = Wire::connect_as(server.port(), &trusted, &seed(source), &format!("_INBOX.{source}"));
        assert_eq!(wire.objection("PUB", &format!("lotline.{id}.submit.scanner-2")).is_none(), own);
    }

    // A new key for one; the others stay as they were.
    let (before, others) = (seed("handler"), seed("erp"));
    let said = make(&["--renew", "handler"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(seed("handler") != before && seed("erp") == others, "{said:?}");
    assert_eq!(relay(&server).code, 8, "the server has the old one still");
    server.reload();
    until("the new key is taken", || (relay(&server).code == 0).then_some(()));
}

/// A JWT as NATS has them, signed by whoever issues it.
fn jwt(issuer: &KeyPair, subject: &KeyPair, name: &str, more: &Value, expires: i64) -> String {
    let encode = |value: &Value| data_encoding::BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let mut claims = json!({ "jti": name, "iat": 1_700_000_000, "iss": issuer.public_key(), "name": name,
        "sub": subject.public_key(), "nats": more });
    if expires > 0 {
        claims["exp"] = json!(expires);
    }
    let text = format!("{}.{}", encode(&json!({ "typ": "JWT", "alg": "ed25519-nkey" })), encode(&claims));
    let signed = issuer.sign(text.as_bytes()).expect("signed");
    format!("{text}.{}", data_encoding::BASE64URL_NOPAD.encode(&signed))
}

#[test]
fn credentials_of_an_account_by_jwt_are_taken_and_expired_ones_refused() {
    let folder = tempdir().expect("a folder");
    let path = folder.path();
    let [operator, account, system] = [KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account()];
    let limits = json!({ "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
        "conn": -1, "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1 });
    let of_account = json!({ "type": "account", "version": 2, "limits": limits });
    let plain = json!({ "type": "account", "version": 2, "limits": { "subs": -1, "data": -1, "payload": -1,
        "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1 } });
    let own = jwt(&operator, &operator, "operator", &json!({ "type": "operator", "version": 2 }), 0);
    let preload = [("plant", &account, of_account), ("system", &system, plain)]
        .map(|(name, key, claims)| format!("  {}: {}\n", key.public_key(), jwt(&operator, key, name, &claims, 0)));
    let config = format!(
        "operator: {own}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{\n{}}}\nmax_payload: 1MB\njetstream \
         {{ store_dir: nats-data }}\n",
        system.public_key(),
        preload.concat()
    );
    fs::write(path.join("jwt.conf"), config).expect("written");
    let Some(server) = Server::start_with(&path.join("jwt.conf")) else { return };
    let said = feed(path, &["submit", "--dir", "plant"], &received("r1", &batch("milk", "M1"), "100"));
    assert_eq!(said.code, 0, "{said:?}");
    for (name, expires, code) in [("valid", 0, 0), ("expired", 1_700_000_100, 8)] {
        let user = KeyPair::new_user();
        let claims =
            json!({ "type": "user", "version": 2, "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1 });
        let token = jwt(&account, &user, name, &claims, expires);
        let seed = user.seed().expect("a seed");
        let file = path.join(format!("{name}.creds"));
        write_secret(
            &file,
            &format!(
                "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
                 -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
            ),
        );
        let file = file.display().to_string();
        let words = ["relay", "--once", "--dir", "plant", "--nats", &server.url(), "--nats-creds", &file];
        let said = run(path, &words);
        assert_eq!(said.code, code, "{name}: {said:?}");
        assert_eq!(said.err.contains("does not accept the credentials"), code == 8, "{said:?}");
    }
}

#[test]
fn what_a_reader_has_delivered_elsewhere_changes_nothing_there() {
    let Some(secured) = Secured::start() else { return };
    let ledger = &secured.ledger;
    let mut serve = start(&secured, "handler", &["serve", "--dir", "plant"]);
    serve.note("commands are taken from the NATS server");
    let (changes, bucket) = (format!("lotline-{ledger}-on-hand-changes"), format!("KV_lotline-{ledger}-on-hand"));
    let mut administrator = secured.wire("administrator");
    until("a change is told and kept", || {
        let streams = administrator.streams();
        let has_all = [&changes, &bucket].into_iter().all(|name| streams.contains(name));
        (has_all && administrator.count(&changes).0 > 0 && administrator.count(&bucket).0 > 1).then_some(())
    });
    let streams = administrator.streams();
    let before: Vec<_> = streams.iter().map(|name| administrator.count(name)).collect();

    // The server asks no permissions of the one to whom a consumer sends.
    let mut analyst = secured.wire("analyst");
    let mut made_for = Vec::new();
    for (from, target) in [&changes, &bucket].into_iter().flat_map(|from| {
        let targets = [
            format!("lotline.{ledger}.submit.erp"),
            format!("lotline.{ledger}.queue.erp"),
            format!("lotline.{ledger}.commits.1"),
            format!("lotline.{ledger}.dead-letters.erp"),
            format!("$KV.lotline-{ledger}-on-hand.other"),
            format!("$JS.API.STREAM.DELETE.lotline-{ledger}-1"),
        ];
        targets.map(|target| (from, target))
    }) {
        let name = format!("to-{}", target.replace(['.', '$'], "_"));
        let consumer = json!({ "stream_name": from, "config": { "name": name, "deliver_subject": target,
            "deliver_policy": "all", "ack_policy": "none", "inactive_threshold": 60_000_000_000_u64 } });
        let made = analyst.ask(&format!("$JS.API.CONSUMER.CREATE.{from}.{name}"), consumer.to_string().as_bytes());
        if made["config"].is_object() {
            made_for.push((format!("{from}.{name}"), target));
        }
    }
    // The server sends only where it thinks that somebody listens; it does for the commits.
    let target = format!("lotline.{ledger}.commits.1");
    let mut bound = BTreeSet::new();
    until("all that is listened to was delivered", || {
        let told: Vec<Value> =
            made_for.iter().map(|(name, _)| analyst.ask(&format!("$JS.API.CONSUMER.INFO.{name}"), b"")).collect();
        let all = made_for.iter().zip(&told).filter(|(_, told)| told["push_bound"] == true);
        bound.extend(all.clone().map(|((_, target), _)| target.clone()));
        let is_done = all.clone().all(|(_, told)| told["num_pending"] == 0);
        (is_done && bound.contains(&target)).then_some(())
    });
    assert_eq!(administrator.streams(), streams);
    let after: Vec<_> = streams.iter().map(|name| administrator.count(name)).collect();
    assert_eq!(after, before, "{streams:?}");
    let said = serve.interrupt("TERM");
    assert_eq!(said.code, 0, "{said:?}");
    let said = run(secured.path(), &["verify", "--json", "--dir", "plant"]);
    assert_eq!(said.json()["events"], 1, "{said:?}");
}
