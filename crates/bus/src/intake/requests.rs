//! Requests: each is answered on its own, many at once, so that they share commits. Questions are requests, too.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{BoxStream, FuturesUnordered};
use lotline_wire::channel::{self, code};
use tokio::time::{Instant, timeout_at};

use super::{Answer, Intake, IntakeError, Means, TakenIn, Taker, error_of, headers_of, incoming, refused};
use crate::denied::Act;
use crate::error::Trouble;
use crate::seam::{Endpoints, Request, Service};

/// At the end, what is on its way from the server is waited for so long.
const LAST: Duration = Duration::from_secs(1);
/// A commit of many takes some tens of milliseconds.
const BUSY_FOR: Duration = Duration::from_millis(100);

/// A service as tools find it.
pub(crate) struct Offered {
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    /// Name and subject of each endpoint. The last token of a request's subject says of what or from whom it is.
    pub(crate) endpoints: Vec<(&'static str, String)>,
    /// Who waits for no answer is not heard: there is nothing else to do.
    pub(crate) only_answers: bool,
}

impl<T: Taker> Intake<'_, T> {
    pub(crate) async fn requests(&self, offered: &Offered) -> Result<TakenIn, IntakeError> {
        let own: Vec<String> = offered.endpoints.iter().map(|(_, subject)| subject.clone()).collect();
        let is_listening = move |act, subject: &str| {
            act == Act::Subscribe && (own.iter().any(|own| subject == own) || subject.starts_with("$SRV."))
        };
        let doing = if offered.only_answers { "take questions" } else { "take requests" };
        let mut denial = std::pin::pin!(self.bus.denial(doing, is_listening));
        let service = Service {
            name: offered.name,
            description: offered.description,
            version: self.options.version.clone(),
            about: vec![("ledger".to_owned(), self.ledger.clone())],
            endpoints: offered.endpoints.clone(),
        };
        let Endpoints { mut requests, stop } = self.bus.server().offer(service).await.map_err(|error| {
            // Then nothing else is taken either.
            self.stop.now();
            Trouble::Unreachable { doing: "offer a service", source: error.source }
        })?;
        let mut service = Some(stop);
        let mut done = TakenIn::default();
        let mut stopped: Option<String> = None;
        let mut ends: Option<Instant> = None;
        let mut waiting = FuturesUnordered::new();
        let mut denied = None;
        let counts = self.bus.counts();
        let (count, count_busy) = match offered.only_answers {
            true => (&counts.questions, &counts.questions_busy),
            false => (&counts.requests, &counts.busy),
        };
        loop {
            tokio::select! {
                biased;
                Some(answered) = waiting.next() => {
                    done.requests += 1;
                    count.one_more();
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
                    if let Some(stop) = service.take() {
                        stop.await;
                    }
                }
                request = next(&mut requests, ends) => match request {
                    Some(request) if offered.only_answers && request.message.reply.is_none() => {}
                    Some(request) if waiting.len() < self.options.waiting => waiting.push(self.answer(request)),
                    Some(request) => {
                        done.busy += 1;
                        count_busy.one_more();
                        respond(&request, &busy(waiting.len())).await;
                    }
                    None => break,
                }
            }
        }
        while let Some(answered) = waiting.next().await {
            done.requests += 1;
            count.one_more();
            stopped = stopped.or(answered);
        }
        match (stopped, denied) {
            (Some(reason), _) => Err(IntakeError::Stopped { reason }),
            (None, Some(trouble)) => Err(trouble.into()),
            (None, None) => Ok(done),
        }
    }

    /// Answers a request. Returns why nothing more can be taken, if so.
    async fn answer(&self, request: Request) -> Option<String> {
        let message = &request.message;
        let answer = match incoming(message) {
            None => {
                let reason = format!("the last token of the subject {} names no source", message.subject);
                refused(code::UNREADABLE, reason)
            }
            Some(incoming) => match self.unfit(&incoming, message.body.len()) {
                Some((code, reason)) => refused(code, reason),
                None => self.ask(incoming).await,
            },
        };
        match answer.means {
            Means::DoneInParts => self.respond_in_parts(&request, &answer).await,
            _ => respond(&request, &answer).await,
        }
        match answer.means {
            Means::Stopped { reason } => Some(reason),
            _ => None,
        }
    }

    /// Sends an answer in as few messages as it needs. Tools count the last of them.
    async fn respond_in_parts(&self, request: &Request, answer: &Answer) {
        let (Some(to), parts) = (&request.message.reply, parts(&answer.body, self.bus.answer_max())) else { return };
        let of = parts.len();
        for (at, part) in parts.iter().enumerate() {
            let mut headers = headers_of(answer);
            headers.insert(channel::PART, format!("{}/{of}", at + 1));
            let body = bytes::Bytes::from(part.to_vec());
            let sent = if at + 1 < of {
                self.bus.server().send(to.clone(), None, headers, body).await.map_err(|error| error.source)
            } else {
                request.answer.respond(Ok(body), headers).await
            };
            if let Err(error) = sent {
                tracing::warn!(%error, subject = %request.message.subject, "an answer could not be sent");
                return;
            }
        }
    }
}

/// A body in pieces of at most so many bytes; at least one.
fn parts(body: &[u8], most: usize) -> Vec<&[u8]> {
    if body.is_empty() { vec![body] } else { body.chunks(most.max(1)).collect() }
}

/// The next request, until the service was stopped and nothing comes any more.
async fn next(requests: &mut BoxStream<'static, Request>, ends: Option<Instant>) -> Option<Request> {
    match ends {
        None => requests.next().await,
        Some(ends) => timeout_at(ends, requests.next()).await.ok().flatten(),
    }
}

async fn respond(request: &Request, answer: &Answer) {
    let result = match error_of(answer) {
        None => Ok(answer.body.clone().into()),
        Some(error) => Err(error),
    };
    if let Err(error) = request.answer.respond(result, headers_of(answer)).await {
        // Published without a reply subject: it is recorded all the same.
        tracing::warn!(%error, subject = %request.message.subject, "an answer could not be sent");
    }
}

fn busy(waiting: usize) -> Answer {
    let reason = format!("{waiting} requests are waiting for their answers; nothing was recorded of this one");
    let means = Means::NotNow { code: code::BUSY, reason, retry_after: BUSY_FOR };
    Answer { word: "busy".to_owned(), body: Vec::new(), means }
}
