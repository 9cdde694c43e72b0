//! A connection to a server in this process, behind the seam.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt, ready};
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;

use super::streams::{Next, bucket, failed};
use super::{Act, Fault, InProcess, Shared, Then, World};
use crate::error::BoxError;
use crate::seam::{
    Ack, Acknowledgement, Delivered, Doing, Endpoints, Failed, Headers, Job, Message, Publish, Read, Request, Respond,
    Said, Server, Service, Stored, StreamConfig, StreamInfo, Way, Work, header,
};
use crate::tally::Counts;

/// What a connection of its own has.
#[derive(Debug)]
pub(super) struct State {
    number: u64,
    dead: AtomicBool,
    connected: watch::Sender<u64>,
    counts: Arc<Counts>,
}

impl State {
    /// Notes that the connection is made, unless it was cut.
    pub(super) fn connect(&self) {
        if !self.dead.load(Ordering::Relaxed) {
            self.counts.connections.one_more();
            self.connected.send_modify(|count| *count += 1);
        }
    }
}

/// A connection.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    shared: Arc<Shared>,
    state: Arc<State>,
}

impl Link {
    pub(crate) fn new(server: &InProcess, counts: Arc<Counts>) -> Self {
        let shared = server.shared.clone();
        let mut world = shared.world();
        world.connections += 1;
        let (number, connected) = (world.connections, watch::Sender::new(0));
        let state = Arc::new(State { number, dead: AtomicBool::new(false), connected, counts });
        world.links.push(Arc::downgrade(&state));
        if !world.away {
            state.connect();
        }
        drop(world);
        Self { shared, state }
    }

    fn is_open(&self, world: &World) -> bool {
        !world.away && !self.state.dead.load(Ordering::Relaxed)
    }

    /// Does something on the server, or what the plan says instead of it.
    fn operate<T>(&self, act: Act, on: &str, work: impl FnOnce(&mut World) -> Result<T, Failed>) -> Result<T, Failed> {
        let mut world = self.shared.world();
        if !self.is_open(&world) {
            return Err(failed(Said::Nothing, "there is no connection"));
        }
        let fault = world.fault(self.state.number, act, on);
        let result = match fault {
            Fault::None => work(&mut world),
            Fault::Refused if act == Act::Publish => Err(failed(Said::No, "maximum messages exceeded")),
            Fault::Refused => Err(failed(Said::No, "refused")),
            Fault::Silent { done, then } => {
                if done {
                    let _ = work(&mut world);
                }
                self.happen(&mut world, then);
                Err(failed(Said::Nothing, "timed out"))
            }
        };
        drop(world);
        if act != Act::Read && act != Act::State && act != Act::List {
            self.shared.change();
        }
        result
    }

    fn happen(&self, world: &mut World, then: Then) {
        match then {
            Then::Nothing => {}
            Then::Cut => self.state.dead.store(true, Ordering::Relaxed),
            Then::Away => world.away = true,
            Then::Restart => world.restart(0),
            Then::RestartWithout(messages) => world.restart(messages),
        }
    }

    fn done<T: Send + 'static>(result: Result<T, Failed>) -> Doing<'static, T> {
        ready(result).boxed()
    }

    fn check_size(&self, headers: &Headers, body: &Bytes) -> Result<(), Failed> {
        let (size, most) = (headers.size() + body.len(), self.shared.options.max_payload);
        let why = || failed(Said::Nothing, format!("max payload size exceeded: {size} bytes, {most} are taken"));
        if size > most { Err(why()) } else { Ok(()) }
    }

    /// Puts a message to whoever listens; told back where nobody does.
    fn pass(world: &mut World, message: &Message) {
        let is_kept = world.streams.listening(&message.subject).is_some();
        if !world.listeners.pass(message)
            && !is_kept
            && let Some(reply) = &message.reply
        {
            let unheard = Message {
                subject: reply.clone(),
                reply: None,
                headers: Headers::new(),
                body: Bytes::new(),
                is_unheard: true,
            };
            world.listeners.pass(&unheard);
        }
    }

    fn post(&self, message: &Message) -> Result<(), Failed> {
        self.check_size(&message.headers, &message.body)?;
        let most = self.shared.options.max_bytes;
        self.operate(Act::Send, &message.subject, |world| {
            if world.streams.listening(&message.subject).is_some() {
                let now = world.now();
                world.streams.put(&message.subject, &message.headers, &message.body, now, most)?;
            }
            Self::pass(world, message);
            Ok(())
        })
    }

    fn listen(&self, subject: &str, group: Option<String>) -> Result<(u64, mpsc::Receiver<Message>), Failed> {
        self.operate(Act::Listen, subject, |world| Ok(world.listeners.add(subject.to_owned(), group)))
    }
}

impl Server for Link {
    fn is_connected(&self) -> bool {
        self.is_open(&self.shared.world())
    }

    fn connected(&self) -> watch::Receiver<u64> {
        self.state.connected.subscribe()
    }

    fn has_streams(&self) -> bool {
        true
    }

    fn max_payload(&self) -> usize {
        self.shared.options.max_payload
    }

    fn inbox(&self) -> String {
        let mut world = self.shared.world();
        world.inboxes += 1;
        format!("_INBOX.{}", world.inboxes)
    }

    fn make_stream(&self, config: StreamConfig) -> Doing<'_, ()> {
        let name = config.name.clone();
        Self::done(self.operate(Act::Make, &name, |world| world.streams.make(config, None)))
    }

    fn need_bucket(&self, name: String, description: String) -> Doing<'_, ()> {
        Self::done(self.operate(Act::Make, &name, |world| {
            let config = bucket(&name, description);
            if world.streams.info(&config.name).is_ok() { Ok(()) } else { world.streams.make(config, Some(1)) }
        }))
    }

    fn stream_names(&self) -> Doing<'_, Vec<String>> {
        Self::done(self.operate(Act::List, "", |world| Ok(world.streams.names())))
    }

    fn stream<'a>(&'a self, name: &'a str) -> Doing<'a, StreamInfo> {
        Self::done(self.operate(Act::State, name, |world| world.streams.info(name)))
    }

    fn message<'a>(&'a self, stream: &'a str, sequence: u64) -> Doing<'a, Stored> {
        Self::done(self.operate(Act::Read, stream, |world| world.streams.message(stream, sequence)))
    }

    fn next_message<'a>(&'a self, stream: &'a str, from: u64, subject: &'a str) -> Doing<'a, Stored> {
        Self::done(self.operate(Act::Read, stream, |world| world.streams.next_message(stream, from, subject)))
    }

    fn last_message<'a>(&'a self, stream: &'a str, subject: &'a str) -> Doing<'a, Stored> {
        Self::done(self.operate(Act::Read, stream, |world| world.streams.last_message(stream, subject)))
    }

    fn count<'a>(&'a self, stream: &'a str, subject: &'a str) -> Doing<'a, u64> {
        Self::done(self.operate(Act::State, stream, |world| world.streams.count(stream, subject)))
    }

    fn delete<'a>(&'a self, stream: &'a str, sequence: u64) -> Doing<'a, ()> {
        Self::done(self.operate(Act::Delete, stream, |world| world.streams.delete(stream, sequence)))
    }

    /// It is in the stream when this returns; what is refused or lost is told where the answer is waited for.
    fn publish(&self, subject: String, message: Publish) -> Doing<'_, Acknowledgement> {
        let Publish { headers, body } = message;
        if let Err(error) = self.check_size(&headers, &body) {
            return ready(Err(error)).boxed();
        }
        let most = self.shared.options.max_bytes;
        let taken = self.operate(Act::Publish, &subject, |world| {
            let now = world.now();
            let taken = world.streams.put(&subject, &headers, &body, now, most)?;
            let message = Message { subject: subject.clone(), reply: None, headers, body, is_unheard: false };
            Self::pass(world, &message);
            Ok(taken)
        });
        let acknowledgement: Acknowledgement = ready(taken).boxed();
        ready(Ok(acknowledgement)).boxed()
    }

    fn read(&self, stream: String, read: Read) -> Doing<'_, BoxStream<'static, Result<Delivered, BoxError>>> {
        let opened = self.operate(Act::Consume, &stream, |world| {
            world.streams.info(&stream)?;
            Ok(world.runs)
        });
        let run = match opened {
            Ok(run) => run,
            Err(error) => return ready(Err(error)).boxed(),
        };
        let reader = Reader { link: self.clone(), stream, run, next: read.from };
        ready(Ok(stream::unfold(Some(reader), Reader::next).boxed())).boxed()
    }

    fn work(&self, stream: String, work: Work) -> Doing<'_, BoxStream<'static, Result<Job, BoxError>>> {
        let opened = self.operate(Act::Consume, &stream, |world| world.streams.need_consumer(&stream, &work));
        if let Err(error) = opened {
            return ready(Err(error)).boxed();
        }
        let worker = Worker { link: self.clone(), stream, consumer: work.name };
        ready(Ok(stream::unfold(Some(worker), Worker::next).boxed())).boxed()
    }

    fn send(&self, subject: String, reply: Option<String>, headers: Headers, body: Bytes) -> Doing<'_, ()> {
        Self::done(self.post(&Message { subject, reply, headers, body, is_unheard: false }))
    }

    fn subscribe(&self, subject: String, group: Option<String>) -> Doing<'_, BoxStream<'static, Message>> {
        let listening = self.listen(&subject, group);
        ready(listening.map(|(number, messages)| {
            let link = self.clone();
            let own = Listening { link, numbers: vec![number] };
            received(messages, own).boxed()
        }))
        .boxed()
    }

    fn offer(&self, service: Service) -> Doing<'_, Endpoints> {
        // All instances of a service share its requests.
        let mut own = Listening { link: self.clone(), numbers: Vec::new() };
        let mut all = stream::SelectAll::new();
        for (_, subject) in &service.endpoints {
            match self.listen(subject, Some("q".to_owned())) {
                Ok((number, messages)) => {
                    own.numbers.push(number);
                    all.push(received(messages, ()).boxed());
                }
                Err(error) => return ready(Err(error)).boxed(),
            }
        }
        let link = self.clone();
        let requests = all.map(move |message| {
            let answer = Answer { link: link.clone(), reply: message.reply.clone() };
            Request { message, answer: Box::new(answer) }
        });
        // Without them the requests on their way still come, and then their end.
        let stop = async move { drop(own) };
        ready(Ok(Endpoints { requests: requests.boxed(), stop: stop.boxed() })).boxed()
    }
}

/// Messages as they come; `with` lasts as long as somebody wants them.
fn received<W: Send + 'static>(
    messages: mpsc::Receiver<Message>,
    with: W,
) -> impl stream::Stream<Item = Message> + Send + 'static {
    stream::unfold((messages, with), |(mut messages, with)| async move {
        let message = messages.recv().await?;
        Some((message, (messages, with)))
    })
}

/// Listens until it is dropped.
struct Listening {
    link: Link,
    numbers: Vec<u64>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut world = self.link.shared.world();
        self.numbers.iter().for_each(|number| world.listeners.remove(*number));
    }
}

struct Answer {
    link: Link,
    reply: Option<String>,
}

impl Respond for Answer {
    fn respond(
        &self,
        answer: Result<Bytes, (u16, String)>,
        mut headers: Headers,
    ) -> BoxFuture<'_, Result<(), BoxError>> {
        let Some(reply) = self.reply.clone() else {
            return ready(Err("Request is missing reply subject to respond to".into())).boxed();
        };
        let body = answer.unwrap_or_else(|(code, status)| {
            headers.insert(header::ERROR, status);
            headers.insert(header::ERROR_CODE, code.to_string());
            Bytes::new()
        });
        let message = Message { subject: reply, reply: None, headers, body, is_unheard: false };
        ready(self.link.post(&message).map_err(|error| error.source)).boxed()
    }
}

/// Reads a stream in order.
struct Reader {
    link: Link,
    stream: String,
    /// The run of the server that knows it.
    run: u64,
    next: u64,
}

impl Reader {
    async fn next(own: Option<Self>) -> Option<(Result<Delivered, BoxError>, Option<Self>)> {
        let mut own = own?;
        let mut changed = own.link.shared.changed.subscribe();
        loop {
            changed.mark_unchanged();
            match own.look() {
                Ok(Some(delivered)) => return Some((Ok(delivered), Some(own))),
                Ok(None) => {}
                Err(error) => return Some((Err(error), None)),
            }
            changed.changed().await.ok()?;
        }
    }

    fn look(&mut self) -> Result<Option<Delivered>, BoxError> {
        loop {
            let world = self.link.shared.world();
            if self.link.state.dead.load(Ordering::Relaxed) {
                return Err("the connection is closed".into());
            }
            if world.runs != self.run {
                return Err(format!("the server does not know this reader of {} any more", self.stream).into());
            }
            if world.away {
                return Ok(None);
            }
            let found = world.streams.behind(&self.stream, self.next).map_err(|error| error.source)?;
            drop(world);
            let Some((sequence, body)) = found else { return Ok(None) };
            self.next = sequence + 1;
            // What is lost on its way does not come again.
            if self.link.operate(Act::Deliver, &self.stream, |_| Ok(())).is_ok() {
                return Ok(Some(Delivered { sequence, body }));
            }
        }
    }
}

/// Takes jobs out of a queue.
struct Worker {
    link: Link,
    stream: String,
    consumer: &'static str,
}

impl Worker {
    async fn next(own: Option<Self>) -> Option<(Result<Job, BoxError>, Option<Self>)> {
        let own = own?;
        let mut changed = own.link.shared.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let (found, ahead) = {
                let mut world = own.link.shared.world();
                let found = if own.link.state.dead.load(Ordering::Relaxed) {
                    Err("the connection is closed".into())
                } else if world.away {
                    Ok(Next::Nothing(None))
                } else {
                    let now = world.now();
                    world.streams.job(&own.stream, own.consumer, now).map_err(|error| error.source)
                };
                (found, world.ahead)
            };
            match found {
                Ok(Next::Job(message, place)) => {
                    // What is lost on its way comes again when it is due.
                    if own.link.operate(Act::Deliver, &own.stream, |_| Ok(())).is_err() {
                        continue;
                    }
                    let way = JobWay {
                        link: own.link.clone(),
                        stream: own.stream.clone(),
                        consumer: own.consumer,
                        sequence: place.sequence,
                    };
                    return Some((Ok(Job { message, place: Some(place), way: Box::new(way) }), Some(own)));
                }
                Ok(Next::Nothing(None)) => changed.changed().await.ok()?,
                Ok(Next::Nothing(Some(due))) => tokio::select! {
                    changed = changed.changed() => changed.ok()?,
                    () = sleep_until(due.checked_sub(ahead).unwrap_or(due)) => {}
                },
                Err(error) => return Some((Err(error), None)),
            }
        }
    }
}

#[derive(Debug)]
struct JobWay {
    link: Link,
    stream: String,
    consumer: &'static str,
    sequence: u64,
}

impl Way for JobWay {
    fn tell(&self, ack: Ack) -> Doing<'_, ()> {
        // Nobody waits for it, so nobody hears that it was lost.
        let _ = self.acknowledge(ack);
        ready(Ok(())).boxed()
    }

    fn settle(&self, ack: Ack) -> Doing<'_, ()> {
        ready(self.acknowledge(ack)).boxed()
    }
}

impl JobWay {
    fn acknowledge(&self, ack: Ack) -> Result<(), Failed> {
        self.link.operate(Act::Acknowledge, &self.stream, |world| {
            let now = world.now();
            world.streams.settle(&self.stream, self.consumer, self.sequence, ack, now);
            Ok(())
        })
    }
}
