//! Questions that come over NATS: read, kept until a read model knows enough, answered.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lotline_bus::{Answer, Bus, Incoming, IntakeError, Means, QuestionOptions, Reply, Stop, TakenIn, Taker};
use lotline_ledger::{LedgerId, Reader};
use lotline_projections::{Direction as Way, ReadModel, ReadModelKind};
use lotline_wire::answer::{Batch, Direction, Reason, Unanswered};
use lotline_wire::channel::code;
use lotline_wire::question::{self, AskExceptions, AskHistory, AskOnHand, AskRecall, AskTrace, Question};
use serde::Serialize;

use super::live::{Live, Moved};
use super::lock;
use crate::answer::exceptions;
use crate::ask;
use crate::bounds::{Within, within_named};
use crate::failure::{Exit, Failure};
use crate::folder::Folder;
use crate::print;

/// A model that is behind may have come further by then.
const BEHIND_FOR: Duration = Duration::from_millis(500);
/// What is wrong with a disk takes a while to be mended.
const LATER: Duration = Duration::from_secs(5);
/// More candidates are not listed: an error's answer stands in a header.
const CANDIDATES_MAX: usize = 100;
/// How often those that wait are looked at, whatever has moved.
const LOOK: Duration = Duration::from_millis(100);

/// The ledger itself, where it stands beside the read models.
#[derive(Debug)]
pub struct Archive {
    /// Its folder, with the keyring.
    pub folder: Folder,
    /// To read it.
    pub reader: Reader,
}

/// A question, read.
enum Asked {
    Trace(AskTrace),
    OnHand(AskOnHand),
    Recall(AskRecall),
    History(AskHistory),
    Exceptions(AskExceptions),
}

impl Asked {
    fn read(kind: &str, text: &[u8]) -> Result<Self, String> {
        match kind {
            "trace" => question::read(text).map(Self::Trace),
            "on-hand" => question::read(text).map(Self::OnHand),
            "recall" => question::read(text).and_then(|asked: AskRecall| match asked.batches[..] {
                [] => Err("batches is empty: name the suspect ones".to_owned()),
                [..] => Ok(Self::Recall(asked)),
            }),
            "history" => question::read(text).map(Self::History),
            "exceptions" => question::read(text).map(Self::Exceptions),
            other => Err(format!("there are no questions of the kind {other}")),
        }
    }

    fn common(&self) -> &dyn Question {
        match self {
            Self::Trace(asked) => asked,
            Self::OnHand(asked) => asked,
            Self::Recall(asked) => asked,
            Self::History(asked) => asked,
            Self::Exceptions(asked) => asked,
        }
    }

    /// Which read model answers it: the one that answers the command line.
    fn kind(&self) -> ReadModelKind {
        match self {
            Self::Trace(_) | Self::History(_) => ReadModelKind::Genealogy,
            Self::OnHand(_) => ReadModelKind::Inventory,
            Self::Recall(_) | Self::Exceptions(_) => ReadModelKind::Recall,
        }
    }
}

/// A question that waits.
struct Waiting {
    asked: Asked,
    /// The commit that its read model has to know of.
    need: u64,
    until: Instant,
    reply: Reply,
}

#[derive(Default)]
struct Line {
    waiting: VecDeque<Waiting>,
    over: bool,
}

/// Where questions are taken.
pub struct Questions<'a> {
    bus: &'a Bus,
    lives: &'a [Live],
    archive: Option<Archive>,
    stop: &'a Stop,
    line: Mutex<Line>,
    came: Condvar,
}

impl<'a> Questions<'a> {
    /// About these read models; with the ledger beside them also about what only that knows.
    pub fn new(bus: &'a Bus, lives: &'a [Live], archive: Option<Archive>, stop: &'a Stop) -> Self {
        Self { bus, lives, archive, stop, line: Mutex::default(), came: Condvar::new() }
    }

    /// The kinds of questions that can be answered here.
    fn kinds(&self) -> Vec<&'static str> {
        let with_ledger = self.archive.is_some();
        let of = |live: &Live| match (live.kind(), with_ledger) {
            (ReadModelKind::Genealogy, false) => &["trace"][..],
            (ReadModelKind::Genealogy, true) => &["trace", "history"],
            (ReadModelKind::Inventory, _) => &["on-hand"],
            (ReadModelKind::Recall, false) => &["recall"],
            (ReadModelKind::Recall, true) => &["recall", "exceptions"],
        };
        self.lives.iter().flat_map(of).copied().collect()
    }

    /// Answers until the stop.
    ///
    /// # Errors
    /// When the server does not take the service.
    pub fn answer(&self, ledger: LedgerId, waiting: u32, moved: &Moved) -> Result<TakenIn, IntakeError> {
        let options = QuestionOptions { waiting: waiting as usize, version: env!("CARGO_PKG_VERSION").to_owned() };
        // As many at once as there are processors, and one more: a long one does not hold up all others.
        let workers = std::thread::available_parallelism().map_or(1, usize::from).min(8) + 1;
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    while let Some(waiting) = self.next() {
                        self.settle(waiting)
                    }
                });
            }
            scope.spawn(|| self.wake(moved));
            let taken = self.bus.take_questions(ledger, &self.kinds(), self, &options, self.stop);
            lock(&self.line).over = true;
            self.came.notify_all();
            taken
        })
    }

    /// Wakes those that wait for a read model when one has moved.
    fn wake(&self, moved: &Moved) {
        let mut seen = 0;
        while !lock(&self.line).over {
            seen = moved.beyond(seen, LOOK);
            self.came.notify_all();
        }
    }

    fn live(&self, asked: &Asked) -> Option<&Live> {
        self.lives.iter().find(|live| live.kind() == asked.kind())
    }

    /// The next question that can be settled; `None` at the end.
    fn next(&self) -> Option<Waiting> {
        let mut line = lock(&self.line);
        loop {
            let is_ending = self.stop.is_told();
            let is_ripe = |waiting: &Waiting| {
                let knows = self.live(&waiting.asked).is_none_or(|live| live.commit() >= waiting.need);
                knows || is_ending || Instant::now() >= waiting.until
            };
            if let Some(at) = line.waiting.iter().position(is_ripe) {
                return line.waiting.remove(at);
            }
            if line.over {
                return None;
            }
            let until = line.waiting.iter().map(|waiting| waiting.until).min();
            let limit = until.map_or(LOOK, |until| until.saturating_duration_since(Instant::now()).min(LOOK));
            line = self.came.wait_timeout(line, limit).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn settle(&self, Waiting { asked, need, reply, .. }: Waiting) {
        reply.give(match self.live(&asked) {
            Some(live) if live.commit() >= need => self.answered(live, &asked),
            Some(live) => behind(live.commit(), need),
            None => unanswered(code::UNREADABLE, simple(Reason::Unreadable, "nobody here knows that".to_owned())),
        });
    }

    fn answered(&self, live: &Live, asked: &Asked) -> Answer {
        match self.told(live, asked) {
            Ok((body, is_empty)) => {
                let word = if is_empty { "nothing" } else { "answered" }.to_owned();
                let most = self.bus.answer_max();
                let means = match (body.len() <= most, asked.common().parts()) {
                    (true, _) => Means::Done,
                    (false, true) => Means::DoneInParts,
                    (false, false) => return too_large(body.len(), most, asked),
                };
                Answer { word, body, means }
            }
            Err(failure) => failed(&failure, live.commit()),
        }
    }

    /// The answer as the command line gives it, and whether there is nothing in it.
    fn told(&self, live: &Live, asked: &Asked) -> Result<(Vec<u8>, bool), Failure> {
        let common = asked.common();
        let within = |model: &ReadModel| {
            let known = common.as_known_at().map(question::KnownAt::text);
            within_named(common.as_of(), known.as_deref(), ["as_of", "as_known_at"], model)
        };
        Ok(match asked {
            Asked::Trace(AskTrace { batch, direction, .. }) => {
                let way = match direction {
                    Direction::Forward => Way::Forward,
                    Direction::Back => Way::Back,
                };
                let model = live.read();
                let answer = ask::traced(&model, &within(&model)?, batch, way)?.answer;
                drop(model);
                written(&answer, answer.edges.is_empty())
            }
            Asked::OnHand(AskOnHand { item, place, batch, expires_before, .. }) => {
                let [item, place, batch, before] = [item, place, batch, expires_before].map(Option::as_deref);
                let within = within(&live.read())?;
                let wanted = ask::Wanted { item, place, batch, expires_before: ("expires_before", before) };
                let answer = ask::counted(|| live.read(), &within, wanted)?;
                written(&answer, answer.rows.is_empty())
            }
            Asked::Recall(AskRecall { batches, clean_grade, .. }) => {
                let model = live.read();
                let answer = ask::recalled(&model, &within(&model)?, batches, clean_grade.unwrap_or(1))?;
                drop(model);
                written(&answer, answer.rows.is_empty())
            }
            Asked::History(AskHistory { of, .. }) => {
                let Archive { folder, reader } = self.archive()?;
                reader.refresh()?;
                let model = live.read();
                let answer = ask::recorded(&model, &within(&model)?, of, folder, reader)?;
                drop(model);
                written(&answer, answer.rows.is_empty())
            }
            Asked::Exceptions(_) => {
                let Archive { reader, .. } = self.archive()?;
                reader.refresh()?;
                let within: Within = within(&live.read())?;
                // The ledger is read without holding up anybody.
                let conflicts = exceptions::conflicts(&within, reader)?;
                live.settle_all(within.bounds);
                let model = live.read();
                let answer = exceptions::answer(&model.question(within.bounds), &within, conflicts);
                drop(model);
                written(&answer, false)
            }
        })
    }

    fn archive(&self) -> Result<&Archive, Failure> {
        self.archive.as_ref().ok_or_else(|| Failure::new(Exit::Busy, "there is no ledger here"))
    }
}

impl Taker for Questions<'_> {
    fn take(&self, message: Incoming, reply: Reply) {
        match Asked::read(&message.source, &message.body) {
            Err(text) => reply.give(unanswered(code::UNREADABLE, simple(Reason::Unreadable, text))),
            Ok(asked) => {
                let common = asked.common();
                let known = common.as_known_at().and_then(question::KnownAt::commit);
                let need = common.min_commit().max(known).unwrap_or(0);
                let until = Instant::now() + Duration::from_millis(common.wait_ms());
                lock(&self.line).waiting.push_back(Waiting { asked, need, until, reply });
                self.came.notify_one();
            }
        }
    }
}

fn written<A: Serialize>(answer: &A, is_empty: bool) -> (Vec<u8>, bool) {
    (print::json(answer), is_empty)
}

fn simple(reason: Reason, message: String) -> Unanswered {
    Unanswered { reason, message, advice: None, candidates: Vec::new(), commit: None, bytes: None }
}

fn unanswered(code: u16, why: Unanswered) -> Answer {
    let (body, reason) = (body(&why), why.message);
    Answer { word: "refused".to_owned(), body, means: Means::Refused { code, reason } }
}

fn body(why: &Unanswered) -> Vec<u8> {
    serde_json::to_vec(why).expect("it has text keys only")
}

fn behind(commit: u64, need: u64) -> Answer {
    let reason = format!("behind: at commit {commit}, and commit {need} is asked for");
    let why = Unanswered { commit: Some(commit), ..simple(Reason::Behind, reason.clone()) };
    let means = Means::NotNow { code: code::NOT_NOW, reason, retry_after: BEHIND_FOR };
    Answer { word: "busy".to_owned(), body: body(&why), means }
}

fn too_large(bytes: usize, most: usize, asked: &Asked) -> Answer {
    let narrower = match asked {
        Asked::OnHand(_) => ", or name an item, a place or a batch",
        Asked::Recall(_) => ", or ask for fewer batches at once",
        Asked::Trace(_) | Asked::History(_) | Asked::Exceptions(_) => "",
    };
    let message = format!("the answer has {bytes} bytes, and a message takes {most}");
    let advice = format!("say \"parts\": true to have it in {} messages{narrower}", bytes.div_ceil(most.max(1)));
    let reason = format!("{message}; {advice}");
    let bytes = Some(bytes as u64);
    let why = Unanswered { advice: Some(advice), bytes, ..simple(Reason::TooLarge, message) };
    Answer { body: body(&why), ..unanswered(code::TOO_LARGE, simple(Reason::TooLarge, reason)) }
}

fn failed(failure: &Failure, commit: u64) -> Answer {
    let (reason, code) = match (failure.exit(), failure.fits()) {
        (Exit::No, _) => (Reason::Unknown, code::UNKNOWN),
        (Exit::Input | Exit::Usage, []) => (Reason::Unreadable, code::UNREADABLE),
        (Exit::Input | Exit::Usage, _) => (Reason::Several, code::SEVERAL),
        _ => (Reason::Failed, code::NOT_NOW),
    };
    let why = Unanswered {
        advice: failure.what_to_do().map(str::to_owned),
        candidates: failure.fits().iter().take(CANDIDATES_MAX).map(Batch::from).collect(),
        commit: (reason == Reason::Unknown).then_some(commit),
        // What it fits is listed beside it.
        ..simple(reason, failure.message().lines().next().unwrap_or_default().to_owned())
    };
    if reason != Reason::Failed {
        return unanswered(code, why);
    }
    let (body, reason) = (body(&why), why.message);
    Answer { word: "failed".to_owned(), body, means: Means::NotNow { code, reason, retry_after: LATER } }
}
