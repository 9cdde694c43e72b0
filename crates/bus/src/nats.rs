//! A NATS server, behind the seam.

use std::borrow::Cow;
use std::collections::HashMap;

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, ReplayPolicy};
use async_nats::jetstream::context::{Context, CreateStreamErrorKind, PublishError, PublishErrorKind};
use async_nats::jetstream::message::{PublishMessage, StreamMessage};
use async_nats::jetstream::stream::{
    Config, ConsumerError, ConsumerErrorKind, DeleteMessageErrorKind, DiscardPolicy, LastRawMessageErrorKind,
    RawMessageError, RawMessageErrorKind, RetentionPolicy, StorageType, Stream,
};
use async_nats::jetstream::{self, AckKind, Error as JetStreamError, ErrorCode, kv};
use async_nats::service::{self, ServiceExt};
use async_nats::{Client, HeaderMap, HeaderName, StatusCode};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, SelectAll, StreamExt, TryStreamExt};
use tokio::sync::watch;

use crate::error::BoxError;
use crate::seam::{
    Ack, Acknowledgement, Delivered, Doing, Endpoints, Failed, Headers, Job, Message, Place, Publish, Read, Request,
    Respond, Retention, Said, Server, Service, State, Stored, StreamConfig, StreamInfo, Taken, Way, Work,
};

/// A connection to a NATS server.
#[derive(Debug)]
pub(crate) struct Nats {
    context: Context,
    client: Client,
    connected: watch::Receiver<u64>,
}

impl Nats {
    /// The context keeps the client's time-outs. `connected` counts how often the connection was made.
    pub(crate) fn new(client: Client, context: Context, connected: watch::Receiver<u64>) -> Self {
        Self { context, client, connected }
    }

    /// Asks nobody: the name is the handle.
    async fn handle(&self, name: &str) -> Result<Stream<()>, Failed> {
        self.context.get_stream_no_info(name).await.map_err(|error| failed(None, error))
    }
}

impl Server for Nats {
    fn is_connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    fn connected(&self) -> watch::Receiver<u64> {
        self.connected.clone()
    }

    fn has_streams(&self) -> bool {
        self.client.server_info().jetstream
    }

    fn max_payload(&self) -> usize {
        self.client.server_info().max_payload
    }

    fn inbox(&self) -> String {
        self.client.new_inbox()
    }

    fn make_stream(&self, config: StreamConfig) -> Doing<'_, ()> {
        Box::pin(async move {
            self.context.create_stream(config_of(config)).await.map(drop).map_err(|error| {
                let kind = error.kind();
                let told = if let CreateStreamErrorKind::JetStream(told) = &kind { Some(told) } else { None };
                failed(told, error)
            })
        })
    }

    fn need_bucket(&self, bucket: String, description: String) -> Doing<'_, ()> {
        Box::pin(async move {
            if self.context.get_key_value(&bucket).await.is_ok() {
                return Ok(());
            }
            let config = kv::Config { bucket, description, history: 1, ..kv::Config::default() };
            let made = self.context.create_key_value(config).await;
            made.map(drop).map_err(|error| failed(told(&error).as_ref(), error))
        })
    }

    fn stream_names(&self) -> Doing<'_, Vec<String>> {
        Box::pin(async {
            let names = self.context.stream_names().try_collect().await;
            names.map_err(|error| failed(told(&error).as_ref(), error))
        })
    }

    fn stream<'a>(&'a self, name: &'a str) -> Doing<'a, StreamInfo> {
        Box::pin(async move {
            let info = self.handle(name).await?.get_info().await;
            let info = info.map_err(|error| failed(told(&error).as_ref(), error))?;
            let state = State {
                messages: info.state.messages,
                first_sequence: info.state.first_sequence,
                last_sequence: info.state.last_sequence,
            };
            let retention = match info.config.retention {
                RetentionPolicy::Limits => Retention::Limits,
                RetentionPolicy::WorkQueue => Retention::WorkQueue,
                RetentionPolicy::Interest => Retention::Other,
            };
            let discards_new = info.config.discard == DiscardPolicy::New;
            Ok(StreamInfo { retention, discards_new, subjects: info.config.subjects, state })
        })
    }

    fn message<'a>(&'a self, stream: &'a str, sequence: u64) -> Doing<'a, Stored> {
        Box::pin(async move {
            let found = self.handle(stream).await?.get_raw_message(sequence).await;
            found.map(stored).map_err(raw)
        })
    }

    fn next_message<'a>(&'a self, stream: &'a str, from: u64, subject: &'a str) -> Doing<'a, Stored> {
        Box::pin(async move {
            let stream = self.handle(stream).await?;
            let found = stream.raw_message_builder().sequence(from).next_by_subject(subject).send().await;
            found.map(stored).map_err(raw)
        })
    }

    fn last_message<'a>(&'a self, stream: &'a str, subject: &'a str) -> Doing<'a, Stored> {
        Box::pin(async move {
            let found = self.handle(stream).await?.get_last_raw_message_by_subject(subject).await;
            found.map(stored).map_err(|error| match error.kind() {
                LastRawMessageErrorKind::NoMessageFound => said(Said::NoMessage, error),
                LastRawMessageErrorKind::JetStream(told) => failed(Some(&told), error),
                _ => failed(None, error),
            })
        })
    }

    fn count<'a>(&'a self, stream: &'a str, subject: &'a str) -> Doing<'a, u64> {
        Box::pin(async move {
            let found = self.handle(stream).await?.info_with_subjects(subject).await;
            let found = found.map_err(|error| failed(told(&error).as_ref(), error))?;
            let counts: Vec<(String, usize)> = found.try_collect().await.map_err(|error| failed(None, error))?;
            Ok(counts.iter().map(|(_, count)| *count as u64).sum())
        })
    }

    fn delete<'a>(&'a self, stream: &'a str, sequence: u64) -> Doing<'a, ()> {
        Box::pin(async move {
            let deleted = self.handle(stream).await?.delete_message(sequence).await;
            deleted.map(drop).map_err(|error| {
                let kind = error.kind();
                let told = if let DeleteMessageErrorKind::JetStream(told) = &kind { Some(told) } else { None };
                failed(told, error)
            })
        })
    }

    fn publish(&self, subject: String, message: Publish) -> Doing<'_, Acknowledgement> {
        Box::pin(async move {
            let message = PublishMessage::build().headers(map_of(message.headers)).payload(message.body);
            let ack = self.context.send_publish(subject, message).await.map_err(unpublished)?;
            let ack = ack.into_future();
            let taken: Acknowledgement = Box::pin(async move {
                let ack = ack.await.map_err(unpublished)?;
                Ok(Taken { stream: ack.stream, sequence: ack.sequence, duplicate: ack.duplicate })
            });
            Ok(taken)
        })
    }

    fn read(&self, stream: String, read: Read) -> Doing<'_, BoxStream<'static, Result<Delivered, BoxError>>> {
        Box::pin(async move {
            let config = pull::Config {
                name: Some(read.name),
                description: Some(read.description.to_owned()),
                deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: read.from },
                ack_policy: AckPolicy::None,
                replay_policy: ReplayPolicy::Instant,
                max_deliver: 1,
                inactive_threshold: read.forgotten,
                num_replicas: 1,
                memory_storage: true,
                ..pull::Config::default()
            };
            let consumer = self.handle(&stream).await?.create_consumer(config).await.map_err(unmade)?;
            let messages = consumer
                .stream()
                .max_messages_per_batch(read.messages)
                .max_bytes_per_batch(read.bytes)
                .heartbeat(read.heartbeat)
                .expires(read.pull)
                .messages()
                .await
                .map_err(|error| failed(None, error))?;
            let messages = messages.map(|message| {
                let message = message?;
                let sequence = message.info().map(|info| info.stream_sequence).unwrap_or(0);
                Ok(Delivered { sequence, body: message.message.payload })
            });
            Ok(messages.boxed())
        })
    }

    fn work(&self, stream: String, work: Work) -> Doing<'_, BoxStream<'static, Result<Job, BoxError>>> {
        Box::pin(async move {
            let config = pull::Config {
                durable_name: Some(work.name.to_owned()),
                description: Some(work.description.to_owned()),
                deliver_policy: DeliverPolicy::All,
                ack_policy: AckPolicy::Explicit,
                ack_wait: work.ack_wait,
                max_deliver: -1,
                max_ack_pending: work.max_pending as i64,
                ..pull::Config::default()
            };
            let consumer = self.handle(&stream).await?.get_or_create_consumer(work.name, config).await;
            let consumer = consumer.map_err(unmade)?;
            let messages =
                consumer.stream().max_messages_per_batch(work.batch).heartbeat(work.heartbeat).expires(work.pull);
            let messages = messages.messages().await.map_err(|error| failed(None, error))?;
            Ok(messages.map(|message| Ok(job(message?))).boxed())
        })
    }

    fn send(&self, subject: String, reply: Option<String>, headers: Headers, body: Bytes) -> Doing<'_, ()> {
        Box::pin(async move {
            let headers = map_of(headers);
            let sent = match reply {
                Some(reply) => self.client.publish_with_reply_and_headers(subject, reply, headers, body).await,
                None => self.client.publish_with_headers(subject, headers, body).await,
            };
            sent.map_err(|error| failed(None, error))
        })
    }

    fn subscribe(&self, subject: String, group: Option<String>) -> Doing<'_, BoxStream<'static, Message>> {
        Box::pin(async move {
            let messages = match group {
                Some(group) => self.client.queue_subscribe(subject, group).await,
                None => self.client.subscribe(subject).await,
            };
            let messages = messages.map_err(|error| failed(None, error))?;
            // Messages that are sent from now on must not be missed.
            self.client.flush().await.map_err(|error| failed(None, error))?;
            Ok(messages.map(message).boxed())
        })
    }

    fn offer(&self, offered: Service) -> Doing<'_, Endpoints> {
        Box::pin(async move {
            let about: HashMap<String, String> = offered.about.into_iter().collect();
            let unoffered = |source: BoxError| Failed { said: Said::Nothing, source };
            let builder = self.client.service_builder().description(offered.description).metadata(about.clone());
            let service = builder.start(offered.name, offered.version).await.map_err(unoffered)?;
            let mut endpoints = SelectAll::new();
            for (name, subject) in offered.endpoints {
                let endpoint = service.endpoint_builder().name(name).metadata(about.clone());
                endpoints.push(endpoint.add(subject).await.map_err(unoffered)?);
            }
            let stop = Box::pin(async move {
                let _ = service.stop().await;
            });
            Ok(Endpoints { requests: endpoints.map(request).boxed(), stop })
        })
    }
}

fn config_of(config: StreamConfig) -> Config {
    let limit = |most: Option<u64>| most.and_then(|most| i64::try_from(most).ok()).unwrap_or(-1);
    Config {
        name: config.name,
        description: Some(config.description),
        subjects: config.subjects,
        storage: StorageType::File,
        retention: match config.retention {
            Retention::Limits => RetentionPolicy::Limits,
            Retention::WorkQueue => RetentionPolicy::WorkQueue,
            Retention::Other => RetentionPolicy::Interest,
        },
        discard: DiscardPolicy::New,
        max_messages: limit(config.max_messages),
        max_bytes: limit(config.max_bytes),
        max_messages_per_subject: -1,
        max_message_size: config.max_message_size.and_then(|most| i32::try_from(most).ok()).unwrap_or(-1),
        num_replicas: config.replicas,
        // Zero is what the server is used to.
        duplicate_window: config.duplicate_window.unwrap_or_default(),
        deny_delete: config.deny_delete,
        deny_purge: config.deny_purge,
        ..Config::default()
    }
}

fn map_of(headers: Headers) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        match name {
            Cow::Borrowed(name) => map.append(HeaderName::from_static(name), value),
            Cow::Owned(name) => map.append(name, value),
        }
    }
    map
}

fn headers_of(map: &HeaderMap) -> Headers {
    let mut headers = Headers::new();
    for (name, values) in map.iter() {
        values.iter().for_each(|value| headers.append(name.to_string(), value.to_string()));
    }
    headers
}

fn stored(message: StreamMessage) -> Stored {
    Stored {
        sequence: message.sequence,
        subject: message.subject.to_string(),
        headers: headers_of(&message.headers),
        body: message.payload,
    }
}

fn message(message: async_nats::Message) -> Message {
    Message {
        headers: message.headers.as_ref().map(headers_of).unwrap_or_default(),
        subject: message.subject.into_string(),
        reply: message.reply.map(|reply| reply.into_string()),
        is_unheard: message.status == Some(StatusCode::NO_RESPONDERS),
        body: message.payload,
    }
}

fn job(came: jetstream::Message) -> Job {
    let place = came.info().ok().map(|info| Place {
        sequence: info.stream_sequence,
        deliveries: info.delivered,
        came: (info.published.unix_timestamp(), info.published.nanosecond()),
    });
    Job { message: message(came.message.clone()), place, way: Box::new(JobWay(came)) }
}

#[derive(Debug)]
struct JobWay(jetstream::Message);

impl Way for JobWay {
    fn tell(&self, ack: Ack) -> Doing<'_, ()> {
        Box::pin(async move { self.0.ack_with(kind(ack)).await.map_err(silent) })
    }

    fn settle(&self, ack: Ack) -> Doing<'_, ()> {
        Box::pin(async move { self.0.double_ack_with(kind(ack)).await.map_err(silent) })
    }
}

fn kind(ack: Ack) -> AckKind {
    match ack {
        Ack::Done => AckKind::Ack,
        Ack::Again(after) => AckKind::Nak(after),
        Ack::Progress => AckKind::Progress,
        Ack::Never => AckKind::Term,
    }
}

fn request(mut request: service::Request) -> Request {
    let empty = async_nats::Message { payload: Bytes::new(), headers: None, ..request.message.clone() };
    let message = message(std::mem::replace(&mut request.message, empty));
    Request { message, answer: Box::new(RequestWay(request)) }
}

struct RequestWay(service::Request);

impl Respond for RequestWay {
    fn respond(&self, answer: Result<Bytes, (u16, String)>, headers: Headers) -> BoxFuture<'_, Result<(), BoxError>> {
        let answer = answer.map_err(|(code, status)| service::error::Error { status, code: code.into() });
        Box::pin(async move { Ok(self.0.respond_with_headers(answer, map_of(headers)).await?) })
    }
}

/// The server's own word, where there is one.
fn told(error: &dyn std::error::Error) -> Option<JetStreamError> {
    error.source().and_then(|source| source.downcast_ref::<JetStreamError>()).cloned()
}

fn said(said: Said, source: impl Into<BoxError>) -> Failed {
    Failed { said, source: source.into() }
}

fn silent(source: BoxError) -> Failed {
    Failed { said: Said::Nothing, source }
}

/// Sorts an answer: `told` is the server's own word, if there is one.
fn failed(told: Option<&JetStreamError>, source: impl Into<BoxError>) -> Failed {
    let word = match told {
        None => Said::Nothing,
        // 503: there is no leader yet, or it is just starting.
        Some(told) if told.code() == 503 => Said::NotNow,
        Some(told) if told.error_code() == ErrorCode::STREAM_NOT_FOUND => Said::NoStream,
        Some(_) => Said::No,
    };
    said(word, source)
}

fn raw(error: RawMessageError) -> Failed {
    match error.kind() {
        RawMessageErrorKind::NoMessageFound => said(Said::NoMessage, error),
        RawMessageErrorKind::JetStream(told) => failed(Some(&told), error),
        _ => failed(None, error),
    }
}

fn unmade(error: ConsumerError) -> Failed {
    let kind = error.kind();
    let told = if let ConsumerErrorKind::JetStream(told) = &kind { Some(told) } else { None };
    failed(told, error)
}

fn unpublished(error: PublishError) -> Failed {
    let word = match error.kind() {
        PublishErrorKind::WrongLastSequence | PublishErrorKind::WrongLastMessageId => Said::Moved,
        PublishErrorKind::Other => Said::No,
        _ => Said::Nothing,
    };
    said(word, error)
}
