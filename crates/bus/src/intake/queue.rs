//! The queue: the server keeps each message until its commit is durable, or it is a dead letter.
//!
//! A message is acknowledged last of all, and the acknowledgement is acknowledged. Whatever breaks before that, it is
//! delivered again, and the ledger answers that it has it. While nothing is wrong with a message but it cannot be
//! taken now, it is held here and tried again: each try counts for nothing. What is counted by the server are
//! deliveries, so that a message at which the process ends again and again is put aside at last. The server's own
//! `max_deliver` is not used: beyond it a message stays in the stream for ever, and nobody is told.

use std::time::Duration;

use futures_util::future::{FutureExt, LocalBoxFuture};
use futures_util::stream::{BoxStream, FuturesUnordered, StreamExt};
use lotline_wire::channel::{self, code};
use tokio::time::{sleep, timeout};

use super::{Answer, Incoming, Intake, IntakeError, Means, TakenIn, Taker, error_of, headers_of, incoming, refused};
use crate::error::{BoxError, Trouble};
use crate::letters::{Letter, of_letters};
use crate::seam::{Ack, Job, Message, Work, header};

/// So many messages may be on their way to their commit.
const WINDOW: usize = 1_024;
/// So many are asked for at once.
const BATCH: usize = 256;
const HEARTBEAT: Duration = Duration::from_secs(5);
const PULL: Duration = Duration::from_secs(20);
/// After so long without a message, stream and consumer are looked for.
const IDLE: Duration = Duration::from_secs(30);
/// A message that is not acknowledged for so long is delivered again. Told three times in this time that work goes on.
const ACK_WAIT: Duration = Duration::from_secs(10);
/// After so many deliveries without an answer a message is put aside: at each of them the process ended.
const DELIVERIES_MAX: i64 = 20;
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What became of a message.
enum Worked {
    Recorded,
    Dead,
    /// It is delivered again.
    Left,
    /// Nothing more can be taken.
    Stopped(String),
}

type Jobs = BoxStream<'static, Result<Job, BoxError>>;

type Working<'i> = FuturesUnordered<LocalBoxFuture<'i, Worked>>;

impl<T: Taker> Intake<'_, T> {
    pub(super) async fn queue(&self) -> Result<TakenIn, IntakeError> {
        let mut done = TakenIn::default();
        let mut working = Working::new();
        let mut stopped = None;
        let mut wait = FIRST_WAIT;
        let mut was_open = false;
        while !self.stop.is_told() {
            let opened = tokio::select! {
                () = self.stop.told() => break,
                opened = self.bus.unless_denied("read the queue", of_letters(&self.ledger), self.open()) => opened,
            };
            let followed = match opened {
                Ok(jobs) => self.follow(jobs, &mut working, &mut done, &mut stopped).await,
                Err(error) => Err(error),
            };
            match followed {
                Ok(()) => (wait, was_open) = (FIRST_WAIT, true),
                // Once it was open, a refusal may be an operator's slip, which must not end what goes on without it.
                Err(error @ (Trouble::Refused { .. } | Trouble::Denied { .. } | Trouble::Unsuitable { .. }))
                    if !was_open =>
                {
                    self.stop.now();
                    return Err(error.into());
                }
                Err(error) => {
                    tracing::warn!(%error, source = ?std::error::Error::source(&error), "the queue cannot be read; trying again");
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
            // What was taken goes on meanwhile.
            let mut pause = std::pin::pin!(sleep(wait));
            loop {
                tokio::select! {
                    () = self.stop.told() => break,
                    () = &mut pause => break,
                    Some(worked) = working.next() => self.note(worked, &mut done, &mut stopped),
                }
            }
        }
        while let Some(worked) = working.next().await {
            self.note(worked, &mut done, &mut stopped);
        }
        match stopped {
            Some(reason) => Err(IntakeError::Stopped { reason }),
            None => Ok(done),
        }
    }

    fn note(&self, worked: Worked, done: &mut TakenIn, stopped: &mut Option<String>) {
        match worked {
            Worked::Recorded => {
                done.queued += 1;
                self.bus.counts().queued.one_more();
            }
            Worked::Dead => {
                done.dead += 1;
                self.bus.counts().dead.one_more();
            }
            Worked::Left => {}
            Worked::Stopped(reason) => {
                stopped.get_or_insert(reason);
                self.stop.now();
            }
        }
    }

    async fn open(&self) -> Result<Jobs, Trouble> {
        self.streams().await?;
        let work = Work {
            name: channel::CONSUMER,
            description: "the process that records in the ledger",
            ack_wait: ACK_WAIT,
            max_pending: 2 * (WINDOW + BATCH),
            batch: BATCH,
            heartbeat: HEARTBEAT,
            pull: PULL,
        };
        let jobs = self.bus.server().work(channel::queue_stream(&self.ledger), work).await;
        jobs.map_err(|error| error.trouble("make a consumer of the queue"))
    }

    /// Takes messages until something has to be opened anew, or the stop.
    async fn follow<'i>(
        &'i self,
        mut jobs: Jobs,
        working: &mut Working<'i>,
        done: &mut TakenIn,
        stopped: &mut Option<String>,
    ) -> Result<(), Trouble> {
        let api = format!("$JS.API.CONSUMER.MSG.NEXT.{}.", channel::queue_stream(&self.ledger));
        let mut denial = std::pin::pin!(self.bus.denial("read the queue", |_, subject| subject.starts_with(&api)));
        let mut connected = self.bus.connected();
        connected.mark_unchanged();
        loop {
            tokio::select! {
                biased;
                () = self.stop.told() => return Ok(()),
                Ok(()) = connected.changed() => return Ok(()),
                denied = &mut denial => return Err(denied),
                Some(worked) = working.next() => self.note(worked, done, stopped),
                next = timeout(IDLE, jobs.next()), if working.len() < WINDOW => match next {
                    Ok(Some(Ok(job))) => working.push(self.work(job).boxed_local()),
                    Ok(Some(Err(error))) => {
                        tracing::warn!(%error, "the queue's consumer failed; opening it anew");
                        return Ok(());
                    }
                    Ok(None) | Err(_) => return Ok(()),
                },
            }
        }
    }

    async fn work(&self, job: Job) -> Worked {
        let message = &job.message;
        let Some(mut letter) = Letter::of(&job) else {
            tracing::error!(subject = %message.subject, "a message without its place in the stream; it is left");
            return Worked::Left;
        };
        if letter.deliveries > 1 {
            self.bus.counts().redelivered.one_more();
        }
        let answer = match incoming(message) {
            None => refused(code::UNREADABLE, format!("the last token of {} names no source", message.subject)),
            Some(_) if letter.deliveries > DELIVERIES_MAX => {
                let reason = format!("it was delivered {} times and never answered", letter.deliveries);
                refused(code::STOPPED, reason)
            }
            Some(incoming) => match self.unfit(&incoming, message.body.len()) {
                Some((code, reason)) => refused(code, reason),
                None => match self.asked(&job, incoming).await {
                    Some(answer) => answer,
                    None => return Worked::Left,
                },
            },
        };
        let (worked, ack) = match &answer.means {
            Means::Done | Means::DoneInParts => (Worked::Recorded, Ack::Done),
            Means::Stopped { reason } => return Worked::Stopped(reason.clone()),
            Means::Refused { code, reason } | Means::NotNow { code, reason, .. } => {
                (letter.code, letter.reason) = (*code, reason.clone());
                if !self.put_aside(&job, &letter).await {
                    return Worked::Left;
                }
                (Worked::Dead, Ack::Never)
            }
        };
        self.reply(message, &answer).await;
        if let Err(error) = job.way.settle(ack).await {
            // Delivered again, the ledger and the dead letters know it.
            tracing::warn!(error = %error.source, sequence = letter.sequence, "an acknowledgement was not acknowledged");
        }
        worked
    }

    /// The answer to a message, tried again for as long as it cannot be taken for a reason that is not in it; `None`
    /// when stopped before.
    async fn asked(&self, job: &Job, incoming: Incoming) -> Option<Answer> {
        let mut wait = FIRST_WAIT;
        loop {
            let answer = self.while_telling(job, self.ask(incoming.clone())).await;
            let Means::NotNow { reason, retry_after, .. } = &answer.means else { return Some(answer) };
            tracing::warn!(reason, "a queued message cannot be taken now; trying again");
            wait = (wait * 2).clamp(*retry_after, LONGEST_WAIT.max(*retry_after));
            let is_stopped = self.while_telling(job, async {
                tokio::select! {
                    () = self.stop.told() => true,
                    () = sleep(wait) => false,
                }
            });
            if is_stopped.await {
                let _ = job.way.tell(Ack::Again(None)).await;
                return None;
            }
        }
    }

    /// Does something, and tells the server that work on a message goes on.
    async fn while_telling<R>(&self, job: &Job, work: impl Future<Output = R>) -> R {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = sleep(ACK_WAIT / 3) => {
                    // If it does not get there, the message is delivered again.
                    let _ = job.way.tell(Ack::Progress).await;
                }
            }
        }
    }

    /// Puts a message among the dead letters, however long that takes; false when stopped before.
    async fn put_aside(&self, job: &Job, letter: &Letter) -> bool {
        let mut wait = FIRST_WAIT;
        loop {
            let put = self.bus.put_letter(&self.ledger, letter);
            let put = self.bus.unless_denied("store a dead letter", of_letters(&self.ledger), put);
            let put = self.while_telling(job, put).await;
            let Err(error) = put else { return true };
            tracing::error!(%error, source = ?std::error::Error::source(&error), "a dead letter cannot be stored; it stays in the queue");
            tokio::select! {
                () = self.stop.told() => return false,
                () = sleep(wait) => wait = (wait * 2).min(LONGEST_WAIT),
            }
            let _ = job.way.tell(Ack::Progress).await;
        }
    }

    /// Sends the answer to where the sender wants it.
    async fn reply(&self, message: &Message, answer: &Answer) {
        let Some(to) = message.headers.value(channel::REPLY_TO) else { return };
        if !is_reply(to) {
            tracing::warn!(to, "a message asks for its answer at a subject that is none for answers");
            return;
        }
        let mut headers = headers_of(answer);
        let body = match error_of(answer) {
            None => answer.body.clone(),
            Some((code, status)) => {
                headers.insert(header::ERROR, status);
                headers.insert(header::ERROR_CODE, code.to_string());
                Vec::new()
            }
        };
        if let Err(error) = self.bus.server().send(to.to_owned(), None, headers, body.into()).await {
            tracing::warn!(error = %error.source, "an answer could not be sent");
        }
    }
}

/// Whether an answer may be sent there: to no subject of the server or of this system, where it would be an order.
fn is_reply(subject: &str) -> bool {
    let plain = |token: &str| {
        !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'*' | b'>'))
    };
    subject.len() <= 512
        && subject.split('.').all(plain)
        && !subject.starts_with('$')
        && !subject.starts_with("lotline.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_go_to_plain_subjects_that_are_nobodys_orders() {
        for subject in ["_INBOX.a.b", "plant.answers", "x"] {
            assert!(is_reply(subject), "{subject}");
        }
        for subject in ["", "a..b", "a.", "a.*", ">", "a b", "$JS.API.STREAM.DELETE.x", "lotline.x.queue.erp", "a\r\nb"]
        {
            assert!(!is_reply(subject), "{subject}");
        }
    }
}
