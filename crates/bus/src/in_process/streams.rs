//! Streams in memory: what each holds, what it takes, and who takes jobs out of it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::time::Instant;

use super::subjects::{fits, overlap};
use crate::error::BoxError;
use crate::seam::{
    Ack, Failed, Headers, Message, Place, Retention, Said, State, Stored, StreamConfig, StreamInfo, Taken, Work, header,
};

/// For so long ids are known where a stream says nothing else.
const WINDOW: Duration = Duration::from_secs(120);

#[derive(Debug, Default)]
pub(super) struct Streams {
    all: BTreeMap<String, Stream>,
    /// How much all of them hold.
    bytes: u64,
}

#[derive(Debug)]
struct Stream {
    config: StreamConfig,
    /// So many messages of one subject are kept; older ones give way.
    max_per_subject: Option<usize>,
    messages: BTreeMap<u64, Kept>,
    by_subject: BTreeMap<String, BTreeSet<u64>>,
    last: u64,
    bytes: u64,
    ids: Ids,
    consumers: BTreeMap<&'static str, Consumer>,
}

#[derive(Debug)]
struct Kept {
    subject: String,
    headers: Headers,
    body: Bytes,
    came: SystemTime,
}

/// The ids that a stream knows.
#[derive(Debug, Default)]
struct Ids {
    /// Of the last message.
    last: Option<String>,
    known: HashMap<String, u64>,
    /// The same in order of their ends.
    ends: VecDeque<(Instant, String)>,
}

#[derive(Debug)]
struct Consumer {
    ack_wait: Duration,
    max_pending: usize,
    /// What is behind was never delivered.
    next: u64,
    out: BTreeMap<u64, Out>,
}

/// A job that was delivered and is not settled.
#[derive(Debug)]
struct Out {
    /// Then it comes again.
    due: Instant,
    deliveries: i64,
}

/// What a consumer has.
pub(super) enum Next {
    Job(Message, Place),
    /// Nothing before this moment, or before something changes.
    Nothing(Option<Instant>),
}

pub(super) fn failed(said: Said, why: impl Into<BoxError>) -> Failed {
    Failed { said, source: why.into() }
}

fn size(headers: &Headers, body: &Bytes) -> u64 {
    (headers.size() + body.len()) as u64
}

impl Streams {
    pub(super) fn names(&self) -> Vec<String> {
        self.all.keys().cloned().collect()
    }

    fn find(&self, name: &str) -> Result<&Stream, Failed> {
        self.all.get(name).ok_or_else(|| failed(Said::NoStream, format!("stream {name} is not found")))
    }

    fn find_mut(&mut self, name: &str) -> Result<&mut Stream, Failed> {
        self.all.get_mut(name).ok_or_else(|| failed(Said::NoStream, format!("stream {name} is not found")))
    }

    /// Makes a stream; no error where it is there just so.
    pub(super) fn make(&mut self, config: StreamConfig, max_per_subject: Option<usize>) -> Result<(), Failed> {
        if config.replicas > 1 {
            return Err(failed(Said::No, "replicas > 1 not supported in non-clustered mode"));
        }
        if let Some(there) = self.all.get(&config.name) {
            let is_same = there.config == config && there.max_per_subject == max_per_subject;
            let why = "stream name already in use with a different configuration";
            return if is_same { Ok(()) } else { Err(failed(Said::No, why)) };
        }
        let taken = self.all.values().flat_map(|stream| &stream.config.subjects);
        if taken.into_iter().any(|taken| config.subjects.iter().any(|own| overlap(own, taken))) {
            return Err(failed(Said::No, "subjects overlap with an existing stream"));
        }
        let stream = Stream {
            max_per_subject,
            messages: BTreeMap::new(),
            by_subject: BTreeMap::new(),
            last: 0,
            bytes: 0,
            ids: Ids::default(),
            consumers: BTreeMap::new(),
            config,
        };
        self.all.insert(stream.config.name.clone(), stream);
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &str) -> bool {
        let removed = self.all.remove(name);
        self.bytes -= removed.as_ref().map_or(0, |stream| stream.bytes);
        removed.is_some()
    }

    pub(super) fn info(&self, name: &str) -> Result<StreamInfo, Failed> {
        let stream = self.find(name)?;
        let first_sequence = match stream.messages.first_key_value() {
            Some((first, _)) => *first,
            None if stream.last == 0 => 0,
            None => stream.last + 1,
        };
        let state = State { messages: stream.messages.len() as u64, first_sequence, last_sequence: stream.last };
        Ok(StreamInfo {
            retention: stream.config.retention,
            discards_new: true,
            subjects: stream.config.subjects.clone(),
            state,
        })
    }

    pub(super) fn message(&self, name: &str, sequence: u64) -> Result<Stored, Failed> {
        let stream = self.find(name)?;
        stream.stored(stream.messages.get_key_value(&sequence))
    }

    pub(super) fn messages(&self, name: &str) -> Vec<Stored> {
        let kept = |stream: &Stream| stream.messages.iter().map(|found| stream.stored(Some(found))).collect::<Vec<_>>();
        self.all.get(name).map(kept).into_iter().flatten().flatten().collect()
    }

    /// The first message at or behind a sequence whose subject fits.
    pub(super) fn next_message(&self, name: &str, from: u64, subject: &str) -> Result<Stored, Failed> {
        let stream = self.find(name)?;
        stream.stored(stream.messages.range(from..).find(|(_, kept)| fits(subject, &kept.subject)))
    }

    pub(super) fn last_message(&self, name: &str, subject: &str) -> Result<Stored, Failed> {
        let stream = self.find(name)?;
        let last = stream.last_of(subject);
        stream.stored(stream.messages.get_key_value(&last))
    }

    pub(super) fn count(&self, name: &str, subject: &str) -> Result<u64, Failed> {
        let fitting = self.find(name)?.by_subject.iter().filter(|(own, _)| fits(subject, own));
        Ok(fitting.map(|(_, sequences)| sequences.len() as u64).sum())
    }

    /// Deletes a message, as somebody asks for it.
    pub(super) fn delete(&mut self, name: &str, sequence: u64) -> Result<(), Failed> {
        if self.find(name)?.config.deny_delete {
            return Err(failed(Said::No, "message delete not permitted"));
        }
        if self.lose(name, sequence) { Ok(()) } else { Err(failed(Said::No, "no message found")) }
    }

    /// Takes a message away, whatever the stream allows; whether it was there.
    pub(super) fn lose(&mut self, name: &str, sequence: u64) -> bool {
        let Some(stream) = self.all.get_mut(name) else { return false };
        let freed = stream.take_away(sequence);
        self.bytes -= freed.unwrap_or(0);
        freed.is_some()
    }

    /// Forgets all behind a sequence, as if it had never come.
    pub(super) fn cut(&mut self, name: &str, keep: u64) {
        let Some(stream) = self.all.get_mut(name) else { return };
        let lost: Vec<u64> = stream.messages.range(keep + 1..).map(|(sequence, _)| *sequence).collect();
        for sequence in lost {
            self.bytes -= stream.take_away(sequence).unwrap_or(0);
        }
        stream.last = stream.last.min(keep);
        for consumer in stream.consumers.values_mut() {
            consumer.next = consumer.next.min(keep + 1);
        }
    }

    /// The same for the last messages of every stream.
    pub(super) fn cut_all(&mut self, messages: u64) {
        let ends: Vec<(String, u64)> = self.all.iter().map(|(name, stream)| (name.clone(), stream.last)).collect();
        for (name, last) in ends {
            self.cut(&name, last.saturating_sub(messages));
        }
    }

    /// Changes the bytes of a message; whether it was there.
    pub(super) fn damage(&mut self, name: &str, sequence: u64, damage: impl FnOnce(&mut Vec<u8>)) -> bool {
        let kept = self.all.get_mut(name).and_then(|stream| stream.messages.get_mut(&sequence));
        let Some(kept) = kept else { return false };
        let mut body = kept.body.to_vec();
        damage(&mut body);
        kept.body = body.into();
        true
    }

    /// What a server does not know any more when it was started anew.
    pub(super) fn restart(&mut self) {
        self.all.values_mut().for_each(|stream| stream.ids = Ids::default());
    }

    /// The stream that listens to a subject.
    pub(super) fn listening(&self, subject: &str) -> Option<&str> {
        let listens = |stream: &&Stream| stream.config.subjects.iter().any(|own| fits(own, subject));
        self.all.values().find(listens).map(|stream| stream.config.name.as_str())
    }

    /// Puts a message behind the others, if it may be; `most` is how many bytes all streams may hold.
    pub(super) fn put(
        &mut self,
        subject: &str,
        headers: &Headers,
        body: &Bytes,
        now: Instant,
        most: u64,
    ) -> Result<Taken, Failed> {
        // As a client tells of it whom nobody answers.
        let name = self.listening(subject).map(str::to_owned);
        let name = name.ok_or_else(|| failed(Said::Nothing, "no stream found for given subject"))?;
        let all = self.bytes;
        let stream = self.find_mut(&name)?;
        let before = stream.bytes;
        let taken = stream.put(subject, headers, body, now, most.saturating_sub(all));
        let after = stream.bytes;
        self.bytes = all - before + after;
        taken
    }

    /// Where a reader goes on: the first message at or behind a sequence.
    pub(super) fn behind(&self, name: &str, from: u64) -> Result<Option<(u64, Bytes)>, Failed> {
        let found = self.find(name)?.messages.range(from..).next();
        Ok(found.map(|(sequence, kept)| (*sequence, kept.body.clone())))
    }

    /// Makes a consumer of a work queue, where there is none of this name.
    pub(super) fn need_consumer(&mut self, name: &str, work: &Work) -> Result<(), Failed> {
        let stream = self.find_mut(name)?;
        let first = stream.messages.first_key_value().map_or(stream.last + 1, |(first, _)| *first);
        let Work { ack_wait, max_pending, .. } = *work;
        stream.consumers.entry(work.name).or_insert(Consumer {
            ack_wait,
            max_pending,
            next: first,
            out: BTreeMap::new(),
        });
        Ok(())
    }

    /// The next job of a consumer.
    pub(super) fn job(&mut self, name: &str, consumer: &str, now: Instant) -> Result<Next, Failed> {
        let stream = self.find_mut(name)?;
        let gone = || failed(Said::No, format!("consumer {consumer} is not found"));
        let own = stream.consumers.get_mut(consumer).ok_or_else(gone)?;
        own.out.retain(|sequence, _| stream.messages.contains_key(sequence));
        let again = own.out.iter_mut().find(|(_, out)| out.due <= now);
        let (sequence, deliveries) = if let Some((sequence, out)) = again {
            (out.due, out.deliveries) = (now + own.ack_wait, out.deliveries + 1);
            (*sequence, out.deliveries)
        } else {
            let fresh = stream.messages.range(own.next..).next().filter(|_| own.out.len() < own.max_pending);
            let Some((sequence, _)) = fresh else {
                return Ok(Next::Nothing(own.out.values().map(|out| out.due).min()));
            };
            own.next = sequence + 1;
            own.out.insert(*sequence, Out { due: now + own.ack_wait, deliveries: 1 });
            (*sequence, 1)
        };
        let kept = &stream.messages[&sequence];
        let message = Message {
            subject: kept.subject.clone(),
            reply: None,
            headers: kept.headers.clone(),
            body: kept.body.clone(),
            is_unheard: false,
        };
        let since = kept.came.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let came = (i64::try_from(since.as_secs()).unwrap_or(i64::MAX), since.subsec_nanos());
        Ok(Next::Job(message, Place { sequence, deliveries, came }))
    }

    /// What comes of a job. One that is settled already stays so.
    pub(super) fn settle(&mut self, name: &str, consumer: &str, sequence: u64, ack: Ack, now: Instant) {
        let Some(own) = self.all.get_mut(name).and_then(|stream| stream.consumers.get_mut(consumer)) else { return };
        let wait = match ack {
            Ack::Done | Ack::Never => {
                own.out.remove(&sequence);
                self.lose(name, sequence);
                return;
            }
            Ack::Again(after) => after.unwrap_or_default(),
            Ack::Progress => own.ack_wait,
        };
        if let Some(out) = own.out.get_mut(&sequence) {
            out.due = now + wait;
        }
    }
}

impl Stream {
    fn stored(&self, found: Option<(&u64, &Kept)>) -> Result<Stored, Failed> {
        let (sequence, kept) = found.ok_or_else(|| failed(Said::NoMessage, "no message found"))?;
        let Kept { subject, headers, body, .. } = kept;
        Ok(Stored { sequence: *sequence, subject: subject.clone(), headers: headers.clone(), body: body.clone() })
    }

    fn last_of(&self, subject: &str) -> u64 {
        self.by_subject.get(subject).and_then(BTreeSet::last).copied().unwrap_or(0)
    }

    /// Removes a message; how many bytes it had.
    fn take_away(&mut self, sequence: u64) -> Option<u64> {
        let kept = self.messages.remove(&sequence)?;
        if let Some(sequences) = self.by_subject.get_mut(&kept.subject) {
            sequences.remove(&sequence);
            if sequences.is_empty() {
                self.by_subject.remove(&kept.subject);
            }
        }
        let freed = size(&kept.headers, &kept.body);
        self.bytes -= freed;
        Some(freed)
    }

    fn put(
        &mut self,
        subject: &str,
        headers: &Headers,
        body: &Bytes,
        now: Instant,
        room: u64,
    ) -> Result<Taken, Failed> {
        self.check(subject, headers)?;
        let id = headers.value(header::ID);
        self.ids.forget(now);
        if let Some(sequence) = id.and_then(|id| self.ids.known.get(id)) {
            return Ok(Taken { stream: self.config.name.clone(), sequence: *sequence, duplicate: true });
        }
        let size = size(headers, body);
        let no = |why: &'static str| Err(failed(Said::No, why));
        if self.config.max_message_size.is_some_and(|most| size > u64::from(most)) {
            return no("message size exceeds maximum allowed");
        }
        if self.config.max_messages.is_some_and(|most| self.messages.len() as u64 >= most) {
            return no("maximum messages exceeded");
        }
        if self.config.max_bytes.is_some_and(|most| self.bytes + size > most) {
            return no("maximum bytes exceeded");
        }
        if size > room {
            return no("insufficient storage resources available");
        }
        let sequence = self.last + 1;
        let kept =
            Kept { subject: subject.to_owned(), headers: headers.clone(), body: body.clone(), came: SystemTime::now() };
        self.messages.insert(sequence, kept);
        self.by_subject.entry(subject.to_owned()).or_default().insert(sequence);
        (self.last, self.bytes) = (sequence, self.bytes + size);
        let window = self.config.duplicate_window.unwrap_or(WINDOW);
        self.ids.note(id, sequence, now + window);
        while let Some(most) = self.max_per_subject
            && self.by_subject[subject].len() > most
        {
            let oldest = *self.by_subject[subject].first().expect("there are some");
            self.take_away(oldest);
        }
        Ok(Taken { stream: self.config.name.clone(), sequence, duplicate: false })
    }

    /// Whether the stream is as a message expects it to be.
    fn check(&self, subject: &str, headers: &Headers) -> Result<(), Failed> {
        if headers.value(header::STREAM).is_some_and(|name| name != self.config.name) {
            return Err(failed(Said::No, "expected stream does not match"));
        }
        for (name, last) in [(header::LAST_SUBJECT_SEQUENCE, self.last_of(subject)), (header::LAST_SEQUENCE, self.last)]
        {
            if headers.value(name).is_some_and(|expected| expected != last.to_string()) {
                return Err(failed(Said::Moved, format!("wrong last sequence: {last}")));
            }
        }
        let last = self.ids.last.as_deref().unwrap_or_default();
        match headers.value(header::LAST_ID) {
            Some(expected) if expected != last => Err(failed(Said::Moved, format!("wrong last msg ID: {last}"))),
            _ => Ok(()),
        }
    }
}

impl Ids {
    fn forget(&mut self, now: Instant) {
        while self.ends.front().is_some_and(|(end, _)| *end <= now) {
            let (_, id) = self.ends.pop_front().expect("it is there");
            self.known.remove(&id);
        }
    }

    fn note(&mut self, id: Option<&str>, sequence: u64, end: Instant) {
        self.last = id.map(str::to_owned);
        if let Some(id) = id {
            self.known.insert(id.to_owned(), sequence);
            self.ends.push_back((end, id.to_owned()));
        }
    }
}

/// The stream behind a bucket.
pub(super) fn bucket(name: &str, description: String) -> StreamConfig {
    StreamConfig {
        name: format!("KV_{name}"),
        description,
        subjects: vec![format!("$KV.{name}.>")],
        retention: Retention::Limits,
        deny_delete: true,
        ..StreamConfig::default()
    }
}
