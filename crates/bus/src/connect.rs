//! The connection: one thread, one client, and the events that only the client hears of.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectOptions, Event, ServerAddr};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use crate::error::BoxError;

/// An answer that takes longer is unknown.
const ANSWER: Duration = Duration::from_secs(5);

/// How to connect.
#[derive(Debug, Clone)]
pub struct BusOptions {
    /// The connection's name in the server's list of them.
    pub name: String,
    /// File with the user's JWT and key.
    pub credentials: Option<PathBuf>,
    /// What the names of inboxes begin with, if permissions ask for a role's own.
    pub inbox_prefix: Option<String>,
}

impl Default for BusOptions {
    fn default() -> Self {
        Self { name: "lotline".to_owned(), credentials: None, inbox_prefix: None }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Correct it: it is no address of a NATS server.
    #[error("{url} is no address of a NATS server, which is written such as nats://localhost:4222")]
    Address {
        /// What was given.
        url: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Correct the address or start the server.
    #[error("no NATS server can be reached at {url}")]
    Server {
        /// The address.
        url: String,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// Name another file.
    #[error("the credentials in {} cannot be read", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The system has no thread left.
    #[error("no thread can be started for the connection")]
    Thread(#[source] std::io::Error),
}

/// A connection to a NATS server. Cheap to clone; after a break it reconnects by itself, without end.
#[derive(Debug, Clone)]
pub struct Bus {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    context: Context,
    client: Client,
    /// Counts how often the connection was made.
    connected: watch::Receiver<u64>,
    /// Last, so that the client ends before its thread.
    runtime: Runtime,
}

/// More bytes than the headers of an answer take.
const ANSWER_HEADERS: usize = 1_024;

impl Bus {
    /// Connects to `url`, such as `nats://localhost:4222`; several may be given, with commas between them. Events of
    /// the connection go to the log (`tracing`), denied permissions among them.
    ///
    /// # Errors
    /// Where that is no address, nothing answers there, or the server denies the connection.
    pub fn connect(url: &str, options: &BusOptions) -> Result<Self, ConnectError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("lotline-bus")
            .enable_all()
            .build()
            .map_err(ConnectError::Thread)?;
        let (count, connected) = watch::channel(0);
        let client = runtime.block_on(dial(url, options, count))?;
        // Building it starts a task.
        let inside = runtime.enter();
        let context =
            jetstream::context::ContextBuilder::new().timeout(ANSWER).ack_timeout(ANSWER).build(client.clone());
        drop(inside);
        Ok(Self { inner: Arc::new(Inner { context, client, connected, runtime }) })
    }

    pub(crate) fn block_on<F: Future>(&self, work: F) -> F::Output {
        self.inner.runtime.block_on(work)
    }

    pub(crate) fn context(&self) -> &Context {
        &self.inner.context
    }

    pub(crate) fn client(&self) -> &Client {
        &self.inner.client
    }

    /// How often the connection was made, to be watched.
    pub(crate) fn connected(&self) -> watch::Receiver<u64> {
        self.inner.connected.clone()
    }

    /// Whether the server that it is connected to says that it keeps streams.
    pub(crate) fn has_streams(&self) -> bool {
        self.inner.client.server_info().jetstream
    }

    /// The largest message that the server takes, in bytes.
    pub(crate) fn max_payload(&self) -> usize {
        self.inner.client.server_info().max_payload
    }

    /// The largest body of an answer that one message takes, in bytes: beside it there are headers.
    pub fn answer_max(&self) -> usize {
        self.max_payload().saturating_sub(ANSWER_HEADERS)
    }

    /// A token that nobody else has.
    pub(crate) fn unique(&self) -> String {
        let inbox = self.inner.client.new_inbox();
        inbox.rsplit('.').next().unwrap_or(&inbox).to_owned()
    }
}

async fn dial(url: &str, options: &BusOptions, count: watch::Sender<u64>) -> Result<Client, ConnectError> {
    let mut connect = ConnectOptions::new().name(&options.name).event_callback(move |event| {
        note(&event, &count);
        std::future::ready(())
    });
    if let Some(prefix) = &options.inbox_prefix {
        connect = connect.custom_inbox_prefix(prefix);
    }
    if let Some(path) = &options.credentials {
        let failed = |source| ConnectError::Credentials { path: path.clone(), source };
        connect = connect.credentials_file(path).await.map_err(failed)?;
    }
    let addresses: Result<Vec<ServerAddr>, _> = url.split(',').map(|address| address.trim().parse()).collect();
    let addresses = addresses.map_err(|source| ConnectError::Address { url: url.to_owned(), source })?;
    connect.connect(addresses).await.map_err(|error| ConnectError::Server { url: url.to_owned(), source: error.into() })
}

fn note(event: &Event, count: &watch::Sender<u64>) {
    match event {
        Event::Connected => {
            count.send_modify(|count| *count += 1);
            tracing::info!("connected to the NATS server");
        }
        Event::Disconnected => tracing::warn!("the connection to the NATS server broke; connecting again"),
        // A denied permission is told here and nowhere else.
        Event::ServerError(error) => tracing::error!(%error, "the NATS server reports an error"),
        Event::SlowConsumer(subscription) => {
            tracing::error!(subscription, "messages came faster than they were read, and some were dropped unanswered");
        }
        Event::ClientError(error) => tracing::error!(%error, "the NATS client reports an error"),
        other => tracing::info!(event = %other, "NATS"),
    }
}
