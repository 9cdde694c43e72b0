//! Requests: each is answered on its own, many at once, so that they share commits.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::service::endpoint::Endpoint;
use async_nats::service::{Request, Service, ServiceExt, error::Error as ServiceError};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lotline_wire::channel::{self, code};
use tokio::time::{Instant, timeout_at};

use super::{Answer, Intake, IntakeError, Means, TakenIn, Taker, error_of, headers_of, incoming, refused};
use crate::denied::Act;
use crate::error::Trouble;

/// At the end, what is on its way from the server is waited for so long.
const LAST: Duration = Duration::from_secs(1);
/// A commit of many takes some tens of milliseconds.
const BUSY_FOR: Duration = Duration::from_millis(100);

impl<T: Taker> Intake<'_, T> {
    pub(super) async fn requests(&self) -> Result<TakenIn, IntakeError> {
        let own = channel::submit_subject(&self.ledger, "*");
        let is_listening =
            |act, subject: &str| act == Act::Subscribe && (subject == own || subject.starts_with("$SRV."));
        let mut denial = std::pin::pin!(self.bus.denial("take requests", is_listening));
        let (service, mut endpoint) = self.offer().await.map_err(|source| {
            // Then nothing else is taken either.
            self.stop.now();
            Trouble::Unreachable { doing: "offer a service", source }
        })?;
        let mut service = Some(service);
        let mut done = TakenIn::default();
        let mut stopped: Option<String> = None;
        let mut ends: Option<Instant> = None;
        let mut waiting = FuturesUnordered::new();
        let mut denied = None;
        loop {
            tokio::select! {
                biased;
                Some(answered) = waiting.next() => {
                    done.requests += 1;
                    self.bus.counts().requests.one_more();
                    if let Some(reason) = answered {
                        stopped.get_or_insert(reason);
                        self.stop.now();
                    }
                }
                // What was denied at a reconnection, too, is never heard of again.
                trouble = &mut denial, if denied.is_none() => {
                    denied = Some(trouble);
                    self.stop.now();
                }
                () = self.stop.told(), if service.is_some() => {
                    // Requests that the server has sent already are still answered.
                    ends = Some(Instant::now() + LAST);
                    if let Some(service) = service.take() {
                        let _ = service.stop().await;
                    }
                }
                request = next(&mut endpoint, ends) => match request {
                    Some(request) if waiting.len() < self.options.waiting => waiting.push(self.answer(request)),
                    Some(request) => {
                        done.busy += 1;
                        self.bus.counts().busy.one_more();
                        respond(&request, &busy(waiting.len())).await;
                    }
                    None => break,
                }
            }
        }
        while let Some(answered) = waiting.next().await {
            done.requests += 1;
            self.bus.counts().requests.one_more();
            stopped = stopped.or(answered);
        }
        match (stopped, denied) {
            (Some(reason), _) => Err(IntakeError::Stopped { reason }),
            (None, Some(trouble)) => Err(trouble.into()),
            (None, None) => Ok(done),
        }
    }

    async fn offer(&self) -> Result<(Service, Endpoint), async_nats::Error> {
        let about = HashMap::from([("ledger".to_owned(), self.ledger.clone())]);
        let service = self
            .bus
            .client()
            .service_builder()
            .description("records commands in a Lotline ledger; the last token of the subject is the source")
            .metadata(about.clone())
            .start(channel::SERVICE, &self.options.version)
            .await?;
        let endpoint = service.endpoint_builder().name("submit").metadata(about);
        let endpoint = endpoint.add(channel::submit_subject(&self.ledger, "*")).await?;
        Ok((service, endpoint))
    }

    /// Answers a request. Returns why nothing more can be taken, if so.
    async fn answer(&self, request: Request) -> Option<String> {
        let message = &request.message;
        let answer = match incoming(&message.subject, message.headers.as_ref(), &message.payload) {
            None => {
                let reason = format!("the last token of the subject {} names no source", message.subject);
                refused(code::UNREADABLE, reason)
            }
            Some(incoming) => match self.unfit(&incoming, message.payload.len()) {
                Some((code, reason)) => refused(code, reason),
                None => self.ask(incoming).await,
            },
        };
        respond(&request, &answer).await;
        match answer.means {
            Means::Stopped { reason } => Some(reason),
            _ => None,
        }
    }
}

/// The next request, until the service was stopped and nothing comes any more.
async fn next(endpoint: &mut Endpoint, ends: Option<Instant>) -> Option<Request> {
    match ends {
        None => endpoint.next().await,
        Some(ends) => timeout_at(ends, endpoint.next()).await.ok().flatten(),
    }
}

async fn respond(request: &Request, answer: &Answer) {
    let result = match error_of(answer) {
        None => Ok(answer.body.clone().into()),
        Some((code, status)) => Err(ServiceError { status, code: code.into() }),
    };
    if let Err(error) = request.respond_with_headers(result, headers_of(answer)).await {
        // Published without a reply subject: it is recorded all the same.
        tracing::warn!(%error, subject = %request.message.subject, "an answer could not be sent");
    }
}

fn busy(waiting: usize) -> Answer {
    let reason = format!("{waiting} requests are waiting for their answers; nothing was recorded of this one");
    let means = Means::NotNow { code: code::BUSY, reason, retry_after: BUSY_FOR };
    Answer { word: "busy".to_owned(), body: Vec::new(), means }
}
