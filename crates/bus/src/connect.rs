//! The connection: one thread, one client, and the events that only the client hears of.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::rustls::Error as TlsError;
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr, ServerError};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use crate::credentials::{self, FileError};
use crate::denied::{self, Act, Denials, Denied};
use crate::error::{BoxError, Trouble};
use crate::in_process::{InProcess, Link};
use crate::nats::Nats;
use crate::seam::Server;
use crate::tally::{Counts, Tally};

/// An answer that takes longer is unknown.
const ANSWER: Duration = Duration::from_secs(5);
/// What the names of inboxes begin with where nothing else is said.
const INBOX: &str = "_INBOX";

/// How to connect.
#[derive(Debug, Clone)]
pub struct BusOptions {
    /// The connection's name in the server's list of them.
    pub name: String,
    /// File with the user's JWT and key.
    pub credentials: Option<PathBuf>,
    /// File with the user's seed; not beside credentials.
    pub nkey: Option<PathBuf>,
    /// File with the certificates to trust, in place of the system's.
    pub roots: Option<PathBuf>,
    /// Files with a client certificate and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// What the names of inboxes begin with, if permissions ask for a role's own.
    pub inbox_prefix: Option<String>,
}

impl Default for BusOptions {
    fn default() -> Self {
        Self {
            name: "lotline".to_owned(),
            credentials: None,
            nkey: None,
            roots: None,
            certificate: None,
            inbox_prefix: None,
        }
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
    /// Correct it: no subject can begin like this.
    #[error("{prefix:?} cannot be what inboxes begin with: tokens with dots between them, without wildcards")]
    InboxPrefix {
        /// What was given.
        prefix: String,
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
    /// Give the right credentials: it does not let this user in.
    #[error("the NATS server at {url} refuses the connection: {}", if *.anonymous { "it asks for credentials, and none were given" } else { "it does not accept the credentials" })]
    Denied {
        /// The address.
        url: String,
        /// No credentials were given.
        anonymous: bool,
        /// What the server says.
        #[source]
        source: BoxError,
    },
    /// Name the right CA or certificate: one of the two sides does not trust the other.
    #[error("no safe connection to the NATS server at {url}: {why}")]
    Tls {
        /// The address.
        url: String,
        /// What to look at.
        why: &'static str,
        /// What TLS says.
        #[source]
        source: BoxError,
    },
    /// Name another file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The system has no thread left.
    #[error("no thread can be started for the connection")]
    Thread(#[source] std::io::Error),
}

/// A connection to a NATS server, or to one in this process. Cheap to clone; after a break it reconnects by itself, without end.
#[derive(Debug, Clone)]
pub struct Bus {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    server: Arc<dyn Server>,
    counts: Arc<Counts>,
    denials: Arc<Denials>,
    /// Last, so that the connection ends before its thread.
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
        let runtime = runtime()?;
        let (count, connected) = watch::channel(0);
        let (counts, denials) = (Arc::new(Counts::default()), Arc::new(Denials::new()));
        let ear = Ear {
            count,
            counts: counts.clone(),
            denials: denials.clone(),
            inbox: options.inbox_prefix.clone().unwrap_or_else(|| INBOX.to_owned()),
        };
        let client = runtime.block_on(dial(url, options, ear))?;
        // Building it starts a task.
        let inside = runtime.enter();
        let context =
            jetstream::context::ContextBuilder::new().timeout(ANSWER).ack_timeout(ANSWER).build(client.clone());
        drop(inside);
        let server = Arc::new(Nats::new(client, context, connected));
        Ok(Self { inner: Arc::new(Inner { server, counts, denials, runtime }) })
    }

    /// Connects to a server in this process.
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub fn in_process(server: &InProcess) -> Result<Self, ConnectError> {
        let runtime = runtime()?;
        let (counts, denials) = (Arc::new(Counts::default()), Arc::new(Denials::new()));
        let server = Arc::new(Link::new(server, counts.clone()));
        Ok(Self { inner: Arc::new(Inner { server, counts, denials, runtime }) })
    }

    pub(crate) fn block_on<F: Future>(&self, work: F) -> F::Output {
        self.inner.runtime.block_on(work)
    }

    /// Work that goes on beside the caller. It must end before the last of these connections does.
    pub(crate) fn spawn<F: Future<Output: Send + 'static> + Send + 'static>(
        &self,
        work: F,
    ) -> tokio::task::JoinHandle<F::Output> {
        self.inner.runtime.spawn(work)
    }

    pub(crate) fn server(&self) -> &Arc<dyn Server> {
        &self.inner.server
    }

    /// How often the connection was made, to be watched.
    pub(crate) fn connected(&self) -> watch::Receiver<u64> {
        self.inner.server.connected()
    }

    /// Whether the server that it is connected to says that it keeps streams.
    pub(crate) fn has_streams(&self) -> bool {
        self.inner.server.has_streams()
    }

    /// The largest message that the server takes, in bytes.
    pub(crate) fn max_payload(&self) -> usize {
        self.inner.server.max_payload()
    }

    /// What it has done so far.
    pub fn tally(&self) -> Tally {
        self.inner.counts.tally(self.inner.denials.count())
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.inner.counts
    }

    /// The last permissions that the server denied to this connection, the latest first.
    pub fn denied(&self) -> Vec<Denied> {
        self.inner.denials.list()
    }

    /// Whether there is a connection to the server now.
    pub fn is_connected(&self) -> bool {
        self.inner.server.is_connected()
    }

    /// Returns when from now on a permission is denied that concerns the caller, by its subject.
    pub(crate) fn denial<C: Fn(Act, &str) -> bool>(
        &self,
        doing: &'static str,
        concerns: C,
    ) -> impl Future<Output = Trouble> + use<C> {
        let denials = self.inner.denials.clone();
        let from = denials.count();
        async move {
            let (act, subject) = denials.next(from, concerns).await;
            Trouble::Denied { doing, act, subject }
        }
    }

    /// Does what the server may deny: then it does not answer, and there is nothing to wait for.
    pub(crate) async fn unless_denied<T, E: From<Trouble>>(
        &self,
        doing: &'static str,
        concerns: impl Fn(Act, &str) -> bool,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let denial = self.denial(doing, concerns);
        tokio::select! {
            biased;
            done = work => done,
            denied = denial => Err(denied.into()),
        }
    }

    /// The largest body of an answer that one message takes, in bytes: beside it there are headers.
    pub fn answer_max(&self) -> usize {
        self.max_payload().saturating_sub(ANSWER_HEADERS)
    }

    /// A token that nobody else has.
    pub(crate) fn unique(&self) -> String {
        let inbox = self.inner.server.inbox();
        inbox.rsplit('.').next().unwrap_or(&inbox).to_owned()
    }
}

fn runtime() -> Result<Runtime, ConnectError> {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).thread_name("lotline-bus").enable_all().build().map_err(ConnectError::Thread)
}

async fn dial(url: &str, options: &BusOptions, ear: Ear) -> Result<Client, ConnectError> {
    let mut connect = ConnectOptions::new().name(&options.name).event_callback(move |event| {
        ear.hear(&event);
        std::future::ready(())
    });
    if let Some(prefix) = &options.inbox_prefix {
        let is_token = |token: &str| {
            !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'*' | b'>'))
        };
        if !prefix.split('.').all(is_token) {
            return Err(ConnectError::InboxPrefix { prefix: prefix.clone() });
        }
        connect = connect.custom_inbox_prefix(prefix);
    }
    if let Some(path) = &options.credentials {
        let text = credentials::credentials(path)?;
        let unfit = |error: std::io::Error| FileError::Unfit {
            what: "credentials file",
            path: path.clone(),
            why: error.to_string(),
        };
        connect = connect.credentials(&text).map_err(unfit)?;
    }
    if let Some(path) = &options.nkey {
        connect = connect.nkey(credentials::seed(path)?);
    }
    if let Some(path) = &options.roots {
        credentials::roots(path)?;
        connect = connect.add_root_certificates(path.clone());
    }
    if let Some((certificate, key)) = &options.certificate {
        credentials::client(certificate, key)?;
        connect = connect.add_client_certificate(certificate.clone(), key.clone());
    }
    let shown = without_secret(url);
    let addresses: Result<Vec<ServerAddr>, _> = url.split(',').map(|address| address.trim().parse()).collect();
    let addresses = addresses.map_err(|source| ConnectError::Address { url: shown.clone(), source })?;
    // What is said of a safe connection must not be taken back on the way: a server could leave TLS out.
    let is_safe = options.roots.is_some() || options.certificate.is_some();
    let anonymous = options.credentials.is_none() && options.nkey.is_none() && shown == url;
    connect.require_tls(is_safe).connect(addresses).await.map_err(|error| sorted(shown, anonymous, error))
}

/// An address as it may be shown: without what stands before its @.
fn without_secret(url: &str) -> String {
    let plain = |address: &str| match address.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", rest.rsplit_once('@').map_or(rest, |(_, host)| host)),
        None => address.rsplit_once('@').map_or(address, |(_, host)| host).to_owned(),
    };
    url.split(',').map(plain).collect::<Vec<_>>().join(",")
}

fn sorted(url: String, anonymous: bool, error: async_nats::ConnectError) -> ConnectError {
    let kind = error.kind();
    if matches!(kind, ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication) {
        return ConnectError::Denied { url, anonymous, source: error.into() };
    }
    if let Some(why) = tls_trouble(&error) {
        return ConnectError::Tls { url, why, source: error.into() };
    }
    ConnectError::Server { url, source: error.into() }
}

/// What is wrong with a safe connection, if that is what is wrong.
fn tls_trouble(error: &async_nats::ConnectError) -> Option<&'static str> {
    let mut link: Option<&(dyn Error + 'static)> = Some(error);
    let mut found = None;
    while let Some(error) = link {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let told = inner.and_then(|inner| inner.downcast_ref()).or_else(|| error.downcast_ref::<TlsError>());
        found = found.or(told);
        link = inner.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source());
    }
    match found {
        Some(TlsError::InvalidCertificate(_)) => Some("its certificate is not trusted here, or is not for that name"),
        Some(TlsError::AlertReceived(_)) => Some("it does not accept this side's certificate, or asks for one"),
        Some(TlsError::InvalidMessage(_)) => Some("it does not speak TLS there"),
        Some(_) => Some("TLS failed"),
        None => (error.kind() == ConnectErrorKind::Tls).then_some("TLS failed"),
    }
}

/// What hears of the events.
struct Ear {
    count: watch::Sender<u64>,
    counts: Arc<Counts>,
    denials: Arc<Denials>,
    /// What inboxes begin with.
    inbox: String,
}

impl Ear {
    fn hear(&self, event: &Event) {
        match event {
            Event::Connected => {
                self.denials.connected_anew();
                self.counts.connections.one_more();
                self.count.send_modify(|count| *count += 1);
                tracing::info!("connected to the NATS server");
            }
            Event::Disconnected => tracing::warn!("the connection to the NATS server broke; connecting again"),
            // A denied permission is told here and nowhere else.
            Event::ServerError(ServerError::Other(text)) if let Some((act, subject)) = denied::parse(text) => {
                tracing::error!(%act, subject, "the NATS server denies a permission");
                self.denials.note(act, subject, &self.inbox);
            }
            Event::ServerError(error) => tracing::error!(%error, "the NATS server reports an error"),
            Event::SlowConsumer(subscription) => {
                tracing::error!(
                    subscription,
                    "messages came faster than they were read, and some were dropped unanswered"
                );
            }
            Event::ClientError(error) => tracing::error!(%error, "the NATS client reports an error"),
            other => tracing::info!(event = %other, "NATS"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        for (url, shown) in [
            ("nats://localhost:4222", "nats://localhost:4222"),
            ("nats://me:p@ss@host:1,tls://token@other", "nats://host:1,tls://other"),
            ("me:word@host", "host"),
        ] {
            assert_eq!(without_secret(url), shown);
        }
    }
}
