//! A NATS server asked in its own protocol, with nothing of the code that is tested in between.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

/// A connection.
pub struct Wire {
    from: BufReader<Box<dyn Line>>,
    inbox: String,
    asked: u64,
}

/// What a connection goes over.
trait Line: Read + Write {}

impl<T: Read + Write> Line for T {}

/// How many connections there were, so that each has an inbox of its own.
static CONNECTIONS: AtomicU64 = AtomicU64::new(0);

/// A message that came.
#[derive(Debug, Clone)]
pub struct Came {
    /// Where it was sent to.
    pub subject: String,
    /// Where an answer to it goes.
    pub reply: String,
    /// The line before its headers, and those.
    pub head: String,
    pub body: Vec<u8>,
}

impl Came {
    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.into_iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The code of an error.
    pub fn code(&self) -> Option<&str> {
        self.header("Nats-Service-Error-Code")
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The answer, which an error has in a header.
    #[track_caller]
    pub fn answer(&self) -> Value {
        match self.header("Lotline-Answer-Body") {
            Some(text) => serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {self:?}")),
            None => self.json(),
        }
    }
}

impl Wire {
    /// Connects to a server.
    pub fn connect(url: &str) -> Self {
        let address = url.strip_prefix("nats://").expect("an address");
        let to = TcpStream::connect(address).expect("the server listens");
        to.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");
        let mut wire = Self { from: BufReader::new(Box::new(to)), inbox: "_INBOX".to_owned(), asked: 0 };
        assert!(wire.line().starts_with("INFO "));
        wire.introduce(json!({}));
        wire
    }

    /// Connects with TLS to a server on this machine, as the user of a seed, with inboxes of its own.
    pub fn connect_as(port: u16, trusted: &str, seed: &str, inbox: &str) -> Self {
        let mut to = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
        to.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");
        // Byte by byte: what follows the first line is TLS.
        let mut info = Vec::new();
        while info.last() != Some(&b'\n') {
            let mut byte = [0];
            to.read_exact(&mut byte).expect("the server tells of itself");
            info.extend(byte);
        }
        let info: Value = serde_json::from_slice(&info[5..]).expect("INFO and JSON");
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(trusted.as_bytes()) {
            roots.add(certificate.expect("PEM")).expect("a certificate");
        }
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = "127.0.0.1".try_into().expect("a name");
        let tls = rustls::ClientConnection::new(Arc::new(config), name).expect("TLS");
        let line = Box::new(rustls::StreamOwned::new(tls, to));
        let mut wire = Self { from: BufReader::new(line), inbox: inbox.to_owned(), asked: 0 };
        let key = nkeys::KeyPair::from_seed(seed).expect("a seed");
        let nonce = info["nonce"].as_str().expect("a nonce");
        let signed = data_encoding::BASE64URL_NOPAD.encode(&key.sign(nonce.as_bytes()).expect("signed"));
        wire.introduce(json!({ "nkey": key.public_key(), "sig": signed, "tls_required": true }));
        wire
    }

    fn introduce(&mut self, who: Value) {
        let mut options = json!({ "verbose": false, "pedantic": false, "headers": true, "no_responders": true });
        options.as_object_mut().expect("an object").extend(who.as_object().cloned().expect("an object"));
        self.send(format!("CONNECT {options}\r\nPING\r\n").as_bytes());
        assert_eq!(self.line(), "PONG");
        self.inbox = format!("{}.test-{}", self.inbox, CONNECTIONS.fetch_add(1, Ordering::Relaxed));
        self.send(format!("SUB {}.* 1\r\n", self.inbox).as_bytes());
    }

    /// Publishes to a subject or subscribes to it (`PUB`, `SUB`); what the server says against it. Messages that come
    /// meanwhile are dropped.
    #[track_caller]
    pub fn objection(&mut self, verb: &str, subject: &str) -> Option<String> {
        self.asked += 1;
        let operation = match verb {
            "PUB" => format!("PUB {subject} 0\r\n\r\n"),
            "SUB" => format!("SUB {subject} {}\r\n", 1_000 + self.asked),
            other => panic!("{other} is no verb"),
        };
        self.send(format!("{operation}PING\r\n").as_bytes());
        let mut said = None;
        loop {
            let line = self.line();
            if line == "PONG" {
                return said;
            }
            match line.split_once(' ') {
                Some(("-ERR", text)) => said = Some(text.to_owned()),
                Some(("MSG" | "HMSG", words)) => {
                    let length: usize = words.rsplit(' ').next().and_then(|text| text.parse().ok()).expect("a length");
                    self.from.read_exact(&mut vec![0; length + 2]).expect("the whole message");
                }
                _ => panic!("{line:?} is unexpected"),
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        let line = self.from.get_mut();
        line.write_all(bytes).and_then(|()| line.flush()).expect("the server reads");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).expect("the server answers");
        line.trim_end().to_owned()
    }

    /// Listens to a subject.
    pub fn listen(&mut self, subject: &str) {
        self.asked += 1;
        self.send(format!("SUB {subject} {}\r\nPING\r\n", 1_000 + self.asked).as_bytes());
        assert_eq!(self.line(), "PONG", "nothing else is on its way yet");
    }

    /// Waits for the next message to anything that it listens to.
    #[track_caller]
    pub fn next(&mut self) -> Came {
        loop {
            let line = self.line();
            let words: Vec<&str> = line.split(' ').collect();
            let (subject, reply, head, whole) = match words[..] {
                ["PING"] => {
                    self.send(b"PONG\r\n");
                    continue;
                }
                ["MSG", subject, _, length] => (subject, "", "0", length),
                ["MSG", subject, _, reply, length] => (subject, reply, "0", length),
                ["HMSG", subject, _, head, length] => (subject, "", head, length),
                ["HMSG", subject, _, reply, head, length] => (subject, reply, head, length),
                _ => panic!("{line:?} is no message"),
            };
            let [head, whole] = [head, whole].map(|text| text.parse::<usize>().expect("a length"));
            let mut bytes = vec![0; whole + 2];
            self.from.read_exact(&mut bytes).expect("the whole message");
            let (subject, reply) = (subject.to_owned(), reply.to_owned());
            let text = String::from_utf8(bytes[..head].to_vec()).expect("headers are text");
            return Came { subject, reply, head: text, body: bytes[head..whole].to_vec() };
        }
    }

    /// Sends something with headers, and with a reply subject where one is given.
    pub fn put(&mut self, subject: &str, reply: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut message = Vec::new();
        if headers.is_empty() {
            message.extend(format!("PUB {subject} {reply} {}\r\n", body.len()).bytes());
        } else {
            let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let head = format!("NATS/1.0\r\n{lines}\r\n");
            let whole = head.len() + body.len();
            message.extend(format!("HPUB {subject} {reply} {} {whole}\r\n{head}", head.len()).bytes());
        }
        message.extend(body);
        message.extend(b"\r\n");
        self.send(&message);
    }

    /// Sends a request; its answer comes to the subject that is returned.
    pub fn start(&mut self, subject: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
        self.asked += 1;
        let inbox = format!("{}.{}", self.inbox, self.asked);
        self.put(subject, &inbox, headers, body);
        inbox
    }

    /// Sends a request, and waits for its answer.
    #[track_caller]
    pub fn request(&mut self, subject: &str, headers: &[(&str, &str)], body: &[u8]) -> Came {
        let inbox = self.start(subject, headers, body);
        loop {
            let came = self.next();
            if came.subject == inbox {
                return came;
            }
        }
    }

    /// Sends something to a subject, and waits for the answer.
    #[track_caller]
    pub fn ask(&mut self, subject: &str, body: &[u8]) -> Value {
        self.request(subject, &[], body).json()
    }

    fn api(&mut self, what: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.ask(&format!("$JS.API.{what}"), body.as_bytes())
    }

    /// The names of all streams, in order.
    pub fn streams(&mut self) -> Vec<String> {
        let told = self.api("STREAM.NAMES", &Value::Null);
        let names = told["streams"].as_array().map(|names| names.iter().filter_map(Value::as_str).map(str::to_owned));
        let mut names: Vec<String> = names.into_iter().flatten().collect();
        names.sort();
        names
    }

    /// How many messages a stream has, and the sequence of its last one.
    pub fn count(&mut self, stream: &str) -> (u64, u64) {
        let state = self.api(&format!("STREAM.INFO.{stream}"), &Value::Null)["state"].take();
        (state["messages"].as_u64().expect("a count"), state["last_seq"].as_u64().expect("a sequence"))
    }

    /// Everything in a stream, by its sequence from 1 on.
    #[track_caller]
    pub fn messages(&mut self, stream: &str) -> Vec<Vec<u8>> {
        let (count, last) = self.count(stream);
        assert_eq!(count, last, "{stream} has gaps");
        let mut messages = Vec::new();
        for seq in 1..=last {
            let told = self.api(&format!("STREAM.MSG.GET.{stream}"), &json!({ "seq": seq }));
            assert_eq!(told["message"]["seq"], json!(seq), "{told}");
            messages.push(base64(told["message"]["data"].as_str().expect("data")));
        }
        messages
    }

    /// A message of a stream, by its sequence (`seq`) or the last of a subject (`last_by_subj`).
    #[track_caller]
    pub fn stored(&mut self, stream: &str, which: &Value) -> Came {
        let told = self.api(&format!("STREAM.MSG.GET.{stream}"), which)["message"].take();
        let text = |name: &str| told[name].as_str().map(base64).unwrap_or_default();
        let head = String::from_utf8(text("hdrs")).expect("headers are text");
        let subject = told["subject"].as_str().unwrap_or_else(|| panic!("{which}: {told}")).to_owned();
        Came { subject, reply: String::new(), head, body: text("data") }
    }

    /// The subjects of all messages in a stream.
    pub fn subjects(&mut self, stream: &str) -> Vec<String> {
        let told = self.api(&format!("STREAM.INFO.{stream}"), &json!({ "subjects_filter": ">" }))["state"].take();
        let subjects = told["subjects"].as_object().map(|all| all.keys().cloned().collect());
        subjects.unwrap_or_default()
    }

    /// Waits for the next message of a durable consumer, and does not acknowledge it.
    #[track_caller]
    pub fn deliver(&mut self, stream: &str, consumer: &str) -> Came {
        let order = json!({ "batch": 1, "expires": 30_000_000_000_u64 });
        let inbox =
            self.start(&format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"), &[], order.to_string().as_bytes());
        let came = self.next();
        assert!(came.reply.starts_with("$JS.ACK."), "{inbox}: {came:?}");
        came
    }

    /// Makes a stream, as somebody else might.
    #[track_caller]
    pub fn make(&mut self, stream: &str, subject: &str) {
        let config = json!({ "name": stream, "subjects": [subject], "storage": "file", "retention": "limits",
            "discard": "new", "max_msgs": -1, "max_bytes": -1, "max_age": 0, "num_replicas": 1 });
        let told = self.api(&format!("STREAM.CREATE.{stream}"), &config);
        assert_eq!(told["config"]["name"], stream, "{told}");
    }

    /// Deletes a stream.
    #[track_caller]
    pub fn delete(&mut self, stream: &str) {
        let told = self.api(&format!("STREAM.DELETE.{stream}"), &Value::Null);
        assert_eq!(told["success"], json!(true), "{told}");
    }

    /// Puts another stream in a stream's place, with its first messages alone: as if the others had never come.
    #[track_caller]
    pub fn cut(&mut self, stream: &str, keep: u64) {
        let kept: Vec<Came> = (1..=keep).map(|seq| self.stored(stream, &json!({ "seq": seq }))).collect();
        let config = self.api(&format!("STREAM.INFO.{stream}"), &Value::Null)["config"].take();
        self.delete(stream);
        let told = self.api(&format!("STREAM.CREATE.{stream}"), &config);
        assert_eq!(told["config"]["name"], stream, "{told}");
        for came in kept {
            // Without what fenced them at their first time.
            let lines = came.head.lines().skip(1).filter_map(|line| line.split_once(':'));
            let headers: Vec<(&str, &str)> = lines
                .map(|(name, value)| (name, value.trim()))
                .filter(|(name, _)| !name.starts_with("Nats-"))
                .collect();
            let told = self.request(&came.subject, &headers, &came.body).json();
            assert!(told["seq"].is_u64(), "{told}");
        }
    }

    /// Publishes into a stream, as somebody else might; its sequence.
    #[track_caller]
    pub fn publish(&mut self, subject: &str, bytes: &[u8]) -> u64 {
        let told = self.ask(subject, bytes);
        told["seq"].as_u64().unwrap_or_else(|| panic!("{told}"))
    }
}

fn base64(text: &str) -> Vec<u8> {
    let (mut bits, mut held, mut bytes) = (0u32, 0, Vec::with_capacity(text.len() / 4 * 3));
    for digit in text.bytes().filter(|digit| *digit != b'=') {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => panic!("{digit} is no digit of base 64"),
        };
        (bits, held) = (bits << 6 | u32::from(value), held + 6);
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    bytes
}

#[test]
fn base_64_is_decoded_as_its_specification_has_it() {
    for (text, bytes) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmFy", "foobar")] {
        assert_eq!(base64(text), bytes.as_bytes());
    }
    assert_eq!(base64("+/8A"), [0xfb, 0xff, 0]);
}
