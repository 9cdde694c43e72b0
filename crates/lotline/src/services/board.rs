//! What a service tells of itself: metrics, whether it is well, and whether it is ready.
//!
//! Counts are kept where the work is done, and copied here when somebody asks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use lotline_bus::{Bus, Tally};
use lotline_ledger::{CommitNumber, Head, Micros, Reader};
use lotline_projections::{ReadModel, ReadModelKind, exceptions};
use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram, with_local_recorder,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};
use serde::Serialize;

use crate::args;
use crate::outcome::Counted;

/// Bounds of the sizes of commits, in events.
const SIZES: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 500.0, 1_000.0, 4_096.0];
/// Bounds of times, in seconds.
const TIMES: [f64; 12] = [0.0001, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0];
/// Exceptions are counted so often at most,
const COUNTED_EVERY: Duration = Duration::from_secs(5);
/// and in at most one part in so many of the time.
const COUNTED_SHARE: u32 = 20;
/// A denied permission makes a service not ready for so long.
const DENIED_FOR: Duration = Duration::from_secs(60);

/// Which service tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `serve`.
    Serve,
    /// `relay`.
    Relay,
    /// `projector`.
    Projector,
}

/// What a service tells of itself. Clones are one.
#[derive(Clone)]
pub struct Board(Arc<Inner>);

struct Inner {
    role: Role,
    limits: Limits,
    is_read: bool,
    recorder: PrometheusRecorder,
    counted: Counted,
    state: Mutex<State>,
}

struct Limits {
    commits: u64,
    seconds: u64,
}

#[derive(Default)]
struct State {
    /// What it does before it works.
    starting: Option<&'static str>,
    /// Why it has stopped.
    stopped: Option<String>,
    /// It is asked to end.
    ending: bool,
    bus: Option<Bus>,
    /// The ledger beside which it works; a projector has none.
    reader: Option<Reader>,
    has_relay: bool,
    models: BTreeMap<&'static str, Model>,
    /// The last commit that there is.
    head: Option<u64>,
    counting: Counting,
}

#[derive(Default, Clone, Copy)]
struct Model {
    commit: u64,
    /// How many commits and events were applied by this process.
    commits: u64,
    events: u64,
    /// When that commit was recorded, if it was applied here.
    recorded: Option<Micros>,
    /// When the first commit behind an earlier or this one was recorded; with the one that it follows.
    oldest: Option<(u64, Micros)>,
}

/// When the open exceptions are counted again.
#[derive(Default)]
struct Counting {
    not_before: Option<Instant>,
    at: Option<u64>,
}

/// How a read model stands.
#[derive(Debug, Serialize)]
struct Standing {
    commit: u64,
    lag_commits: u64,
    lag_seconds: f64,
}

/// The answer to whether it is ready.
#[derive(Debug, Serialize)]
pub struct Readiness {
    /// Whether it is.
    pub ready: bool,
    /// Why not.
    reasons: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connected: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    head: Option<u64>,
    models: BTreeMap<&'static str, Standing>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    denied: Vec<String>,
}

/// The answer to whether it is well.
#[derive(Debug, Serialize)]
pub struct Health {
    /// Whether it is.
    pub healthy: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl Board {
    /// Of a service that is starting.
    pub fn new(role: Role, asked: &args::Metrics) -> Self {
        let buckets = |builder: PrometheusBuilder, name: &str, bounds: &[f64]| {
            builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), bounds).expect("there are bounds")
        };
        let builder = buckets(PrometheusBuilder::new(), "lotline_commit_events", &SIZES);
        let builder = buckets(builder, "lotline_sync_seconds", &TIMES);
        let recorder = buckets(builder, "lotline_feed_step_seconds", &TIMES).build_recorder();
        let limits = Limits { commits: asked.ready_commits, seconds: asked.ready_seconds };
        let state = Mutex::new(State { starting: Some("it is starting"), ..State::default() });
        let board = Self(Arc::new(Inner {
            role,
            limits,
            is_read: asked.metrics.is_some(),
            recorder,
            counted: Counted::default(),
            state,
        }));
        board.describe();
        board
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is(&self, role: Role) -> bool {
        self.0.role == role
    }

    /// Names, units and words of all metrics; deploy/README.md has them in a table.
    fn describe(&self) {
        with_local_recorder(&self.0.recorder, || {
            describe_gauge!("lotline_build_info", "Always 1; its label is the version.");
            describe_gauge!("lotline_ready", "1 if it is ready, as /ready says.");
            describe_gauge!("lotline_head_commit", "The last commit of the ledger; for a projector, of the stream.");
            describe_counter!("lotline_recorded_commits_total", "Commits that this process recorded.");
            describe_counter!("lotline_recorded_events_total", "Events that this process recorded.");
            describe_histogram!("lotline_commit_events", "Events of a commit that this process recorded.");
            describe_histogram!("lotline_sync_seconds", Unit::Seconds, "Time until the disk had synced a commit.");
            describe_counter!("lotline_commands_total", "Commands that were answered, by the answer's word.");
            describe_counter!("lotline_rejections_total", "Intents that were rejected, by the rule.");
            describe_counter!("lotline_applied_commits_total", "Commits that were applied to a read model.");
            describe_counter!("lotline_applied_events_total", "Events that were applied to a read model.");
            describe_gauge!("lotline_model_commit", "The commit that a read model is as of.");
            describe_gauge!("lotline_model_lag_commits", "Commits that are not in a read model yet.");
            describe_gauge!(
                "lotline_model_lag_seconds",
                Unit::Seconds,
                "How long ago the first commit that is not in a read model was recorded; 0 if there is none."
            );
            describe_gauge!("lotline_exceptions_open", "Open exceptions of the records.");
            describe_gauge!("lotline_relay_head_commit", "The last commit that is in the ledger and in the stream.");
            describe_gauge!("lotline_relay_lag_commits", "Commits that are not in the stream yet.");
            describe_counter!("lotline_relay_published_total", "Commits that were published and acknowledged.");
            describe_histogram!(
                "lotline_feed_step_seconds",
                Unit::Seconds,
                "Time in which the changes of a step were told and acknowledged, by feed."
            );
            describe_counter!("lotline_requests_total", "Requests over NATS that were answered.");
            describe_counter!("lotline_requests_busy_total", "Further requests that were told to come again (429).");
            describe_counter!("lotline_questions_total", "Questions over NATS that were answered.");
            describe_counter!("lotline_questions_busy_total", "Further questions that were told to come again (429).");
            describe_counter!("lotline_queue_messages_total", "Messages of the queue that were answered for good.");
            describe_counter!("lotline_queue_redeliveries_total", "Messages of the queue that were delivered again.");
            describe_counter!("lotline_dead_letters_total", "Messages of the queue that became dead letters.");
            describe_gauge!("lotline_dead_letters_open", "Dead letters that nobody has sent again or dropped.");
            describe_counter!(
                "lotline_chain_errors_total",
                "Streams whose chain was found broken, or other than the ledger's."
            );
            describe_counter!(
                "lotline_consumers_recreated_total",
                "Consumers of a projector that had to be made anew."
            );
            describe_gauge!("lotline_nats_connected", "1 while there is a connection to the NATS server.");
            describe_counter!("lotline_nats_connections_total", "How often it was connected to a NATS server.");
            describe_counter!("lotline_permission_violations_total", "Permissions that the NATS server denied.");
            gauge!("lotline_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        });
        if self.is(Role::Serve) {
            with_local_recorder(&self.0.recorder, || {
                counter!("lotline_recorded_commits_total").absolute(0);
                counter!("lotline_recorded_events_total").absolute(0);
            });
        }
    }

    /// Whether anybody can read it.
    pub fn is_read(&self) -> bool {
        self.0.is_read
    }

    /// Counts what comes of commands.
    pub fn counted(&self) -> Counted {
        self.0.counted.clone()
    }

    /// It works now: with this connection, and beside this ledger.
    pub fn works(&self, bus: Option<&Bus>, reader: Option<&Reader>, has_relay: bool) {
        let mut state = self.state();
        (state.bus, state.reader, state.has_relay) = (bus.cloned(), reader.cloned(), has_relay);
        state.starting = None;
    }

    /// It is asked to end.
    pub fn ends(&self) {
        self.state().ending = true;
    }

    /// It has stopped by an error, and waits for somebody to look at it; or goes on (`None`).
    pub fn stopped(&self, why: Option<String>) {
        self.state().stopped = why;
    }

    /// What counts the commits that are recorded behind a head, each by the head after it.
    pub fn recorded(&self, from: Head) -> impl Fn(Head) + Send + Sync + 'static {
        let (commits, events, sizes) = with_local_recorder(&self.0.recorder, || {
            let (commits, events) =
                (counter!("lotline_recorded_commits_total"), counter!("lotline_recorded_events_total"));
            (commits, events, histogram!("lotline_commit_events"))
        });
        let last = AtomicU64::new(from.next_position.get());
        move |head| {
            let position = head.next_position.get();
            let more = position - last.swap(position, Ordering::Relaxed);
            commits.increment(1);
            events.increment(more);
            sizes.record(more as f64);
        }
    }

    /// What tells the time of a sync.
    pub fn synced(&self) -> impl Fn(Duration) + Send + Sync + 'static {
        let histogram = with_local_recorder(&self.0.recorder, || histogram!("lotline_sync_seconds"));
        move |time| histogram.record(time)
    }

    /// A read model is as of this commit, which was recorded then; so many events were applied to get there.
    pub fn model(&self, kind: ReadModelKind, commit: u64, events: u64, recorded: Option<Micros>) {
        let mut state = self.state();
        let model = state.models.entry(kind.word()).or_insert(Model { commit, ..Model::default() });
        model.recorded = recorded;
        model.commits += commit.saturating_sub(std::mem::replace(&mut model.commit, commit));
        model.events += events;
    }

    /// What the stream has that a projector has not: read from the server.
    pub fn behind(&self, end: u64, at: CommitNumber, oldest: Option<Micros>) {
        let mut state = self.state();
        state.head = Some(end);
        for model in state.models.values_mut().filter(|model| model.commit == at.get()) {
            model.oldest = oldest.map(|oldest| (at.get(), oldest));
        }
    }

    /// How many dead letters are open.
    pub fn open_letters(&self, count: u64) {
        with_local_recorder(&self.0.recorder, || gauge!("lotline_dead_letters_open").set(count as f64));
    }

    /// Times the telling of a step.
    pub fn timed<T>(&self, feed: &'static str, tell: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let told = tell();
        let time = started.elapsed();
        with_local_recorder(&self.0.recorder, || histogram!("lotline_feed_step_seconds", "feed" => feed).record(time));
        told
    }

    /// Counts the open exceptions now and then, where the read model has moved.
    pub fn count_exceptions(&self, model: &ReadModel) {
        let (now, commit) = (Instant::now(), model.cursor().number);
        {
            let counting = &self.state().counting;
            let is_early = counting.not_before.is_some_and(|moment| now < moment);
            if is_early || counting.at == Some(commit.0) {
                return;
            }
        }
        let question = model.question(lotline_domain::book::Bounds::known(commit));
        let open = exceptions(&question).iter().filter(|found| found.until.is_none()).count();
        let pause = COUNTED_EVERY.max(now.elapsed() * COUNTED_SHARE);
        self.state().counting = Counting { not_before: Some(now + pause), at: Some(commit.0) };
        with_local_recorder(&self.0.recorder, || gauge!("lotline_exceptions_open").set(open as f64));
    }

    /// The connection that this service has.
    pub fn bus(&self) -> Option<Bus> {
        self.state().bus.clone()
    }

    /// Which service it is.
    pub fn role(&self) -> Role {
        self.0.role
    }

    /// Commits of the least advanced read model.
    pub fn least(&self) -> Option<u64> {
        self.state().models.values().map(|model| model.commit).min()
    }

    /// All metrics, as Prometheus reads them.
    pub fn metrics(&self) -> String {
        let ready = self.readiness();
        let (bus, has_relay, models) = {
            let state = self.state();
            (state.bus.clone(), state.has_relay, state.models.clone())
        };
        let flag = |is: bool| if is { 1.0 } else { 0.0 };
        with_local_recorder(&self.0.recorder, || {
            gauge!("lotline_ready").set(flag(ready.ready));
            if let Some(head) = ready.head {
                gauge!("lotline_head_commit").set(head as f64);
            }
            for (model, standing) in &ready.models {
                gauge!("lotline_model_commit", "model" => *model).set(standing.commit as f64);
                gauge!("lotline_model_lag_commits", "model" => *model).set(standing.lag_commits as f64);
                gauge!("lotline_model_lag_seconds", "model" => *model).set(standing.lag_seconds);
            }
            for (kind, model) in models {
                counter!("lotline_applied_commits_total", "model" => kind).absolute(model.commits);
                counter!("lotline_applied_events_total", "model" => kind).absolute(model.events);
            }
            if let Some(bus) = bus {
                gauge!("lotline_nats_connected").set(flag(bus.is_connected()));
                self.copy(&bus.tally(), has_relay.then_some(ready.head.unwrap_or(0)));
            }
            if self.is(Role::Serve) {
                let (answers, rules) = self.0.counted.all();
                for (answer, count) in answers {
                    counter!("lotline_commands_total", "answer" => answer).absolute(count);
                }
                for (rule, count) in rules {
                    counter!("lotline_rejections_total", "rule" => rule).absolute(count);
                }
            }
        });
        let handle = self.0.recorder.handle();
        handle.run_upkeep();
        handle.render()
    }

    fn copy(&self, tally: &Tally, relay: Option<u64>) {
        counter!("lotline_nats_connections_total").absolute(tally.connections);
        counter!("lotline_permission_violations_total").absolute(tally.violations);
        counter!("lotline_chain_errors_total").absolute(tally.chain_errors);
        if let Some(head) = relay {
            gauge!("lotline_relay_head_commit").set(tally.relayed as f64);
            gauge!("lotline_relay_lag_commits").set(head.saturating_sub(tally.relayed) as f64);
            counter!("lotline_relay_published_total").absolute(tally.published);
        }
        if self.is(Role::Serve) {
            counter!("lotline_requests_total").absolute(tally.requests);
            counter!("lotline_requests_busy_total").absolute(tally.busy);
            counter!("lotline_queue_messages_total").absolute(tally.queued);
            counter!("lotline_queue_redeliveries_total").absolute(tally.redelivered);
            counter!("lotline_dead_letters_total").absolute(tally.dead);
        }
        if self.is(Role::Serve) || self.is(Role::Projector) {
            counter!("lotline_questions_total").absolute(tally.questions);
            counter!("lotline_questions_busy_total").absolute(tally.questions_busy);
        }
        if self.is(Role::Projector) {
            counter!("lotline_consumers_recreated_total").absolute(tally.recreated);
        }
    }

    /// Whether it is well: alive, and not stopped by an error.
    pub fn health(&self) -> Health {
        let why = self.state().stopped.clone();
        Health { healthy: why.is_none(), why }
    }

    /// Whether it is ready: connected, and caught up within its limits.
    pub fn readiness(&self) -> Readiness {
        let mut reasons = Vec::new();
        let mut state = self.state();
        reasons.extend(state.starting.map(str::to_owned));
        reasons.extend(state.stopped.clone());
        if state.ending {
            reasons.push("it is ending".to_owned());
        }
        if let Some(reader) = state.reader.clone() {
            match reader.refresh() {
                Ok(head) => state.head = Some(head.commit.get()),
                Err(error) => reasons.push(format!("the ledger cannot be read: {error}")),
            }
            for model in state.models.values_mut() {
                let next = reader.frame(CommitNumber::new(model.commit + 1)).ok().flatten();
                model.oldest = next.map(|frame| (model.commit, frame.header().recorded_at));
            }
        }
        let connected = state.bus.as_ref().map(Bus::is_connected);
        if connected == Some(false) {
            reasons.push("there is no connection to the NATS server".to_owned());
        }
        if self.is(Role::Projector) && state.head.is_none() && state.starting.is_none() {
            reasons.push("how far the stream is has not been seen yet".to_owned());
        }
        let Limits { commits, seconds } = self.0.limits;
        let is_behind = |lag: u64, time: f64| lag > commits || (lag > 0 && time > seconds as f64);
        let head = state.head;
        let models: BTreeMap<_, _> = state.models.iter().map(|(kind, model)| (*kind, standing(*model, head))).collect();
        for (kind, standing) in &models {
            let Standing { commit, lag_commits, lag_seconds } = standing;
            if is_behind(*lag_commits, *lag_seconds) {
                reasons.push(format!(
                    "{kind} is as of commit {commit}, {lag_commits} commits and {lag_seconds:.0} seconds behind"
                ));
            }
        }
        let relayed = state.bus.as_ref().filter(|_| state.has_relay).map(|bus| bus.tally().relayed);
        if let (Some(relayed), Some(head)) = (relayed, head)
            && head.saturating_sub(relayed) > commits
        {
            reasons.push(format!("the stream has commits up to {relayed}, and the ledger has {head}"));
        }
        let denied = state.bus.as_ref().map(Bus::denied).unwrap_or_default();
        let denied: Vec<String> = denied
            .into_iter()
            .filter(|denied| denied.last.elapsed().is_ok_and(|ago| ago < DENIED_FOR))
            .map(|denied| {
                format!("the NATS server denied to {} {} ({} times)", denied.act, denied.subject, denied.count)
            })
            .collect();
        reasons.extend(denied.first().cloned());
        Readiness { ready: reasons.is_empty(), reasons, connected, head, models, denied }
    }
}

fn standing(model: Model, head: Option<u64>) -> Standing {
    let lag_commits = head.unwrap_or(0).saturating_sub(model.commit);
    let oldest = match model.oldest {
        Some((at, oldest)) if at == model.commit => Some(oldest),
        // The missing one is younger than both of these.
        older => older.map(|(_, oldest)| oldest).max(model.recorded),
    };
    let oldest = oldest.filter(|_| lag_commits > 0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
    let lag = oldest.map_or(0, |oldest| now.saturating_sub(oldest.get()).max(0));
    Standing { commit: model.commit, lag_commits, lag_seconds: lag as f64 / 1e6 }
}
