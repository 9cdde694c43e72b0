//! A NATS server asked in its own protocol, with nothing of the code that is tested in between.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

/// A connection.
#[derive(Debug)]
pub struct Wire {
    from: BufReader<TcpStream>,
    asked: u64,
}

impl Wire {
    /// Connects to a server.
    pub fn connect(url: &str) -> Self {
        let address = url.strip_prefix("nats://").expect("an address");
        let to = TcpStream::connect(address).expect("the server listens");
        to.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
        let mut wire = Self { from: BufReader::new(to), asked: 0 };
        assert!(wire.line().starts_with("INFO "));
        wire.send(b"CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":false}\r\nPING\r\n");
        assert_eq!(wire.line(), "PONG");
        wire.send(b"SUB _INBOX.test.* 1\r\n");
        wire
    }

    fn send(&mut self, bytes: &[u8]) {
        self.from.get_mut().write_all(bytes).expect("the server reads");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).expect("the server answers");
        line.trim_end().to_owned()
    }

    /// Sends something to a subject, and waits for the answer.
    #[track_caller]
    pub fn ask(&mut self, subject: &str, body: &[u8]) -> Value {
        self.asked += 1;
        let inbox = format!("_INBOX.test.{}", self.asked);
        self.send(format!("PUB {subject} {inbox} {}\r\n", body.len()).as_bytes());
        self.send(body);
        self.send(b"\r\n");
        loop {
            let line = self.line();
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["PING"] => self.send(b"PONG\r\n"),
                ["MSG", to, _, length] => {
                    let length: usize = length.parse().expect("a length");
                    let mut body = vec![0; length + 2];
                    self.from.read_exact(&mut body).expect("the whole answer");
                    if to == inbox {
                        return serde_json::from_slice(&body[..length]).expect("JSON");
                    }
                }
                _ => panic!("{line} is no answer to {subject}"),
            }
        }
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

    /// Makes a stream, as somebody else might.
    #[track_caller]
    pub fn make(&mut self, stream: &str, subject: &str) {
        let config = json!({ "name": stream, "subjects": [subject], "storage": "file", "retention": "limits",
            "discard": "new", "max_msgs": -1, "max_bytes": -1, "max_age": 0, "num_replicas": 1 });
        let told = self.api(&format!("STREAM.CREATE.{stream}"), &config);
        assert_eq!(told["config"]["name"], stream, "{told}");
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
