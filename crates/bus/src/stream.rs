//! The streams of a ledger: their names, making one, and reading it from its leader.

use std::time::Duration;

use lotline_ledger::{CommitNumber, Frame, LedgerId, Micros};
use lotline_wire::channel;

use crate::connect::Bus;
use crate::denied::{Act, names};
use crate::error::Trouble;
use crate::seam::{Retention, Said, State, StreamConfig};

const PREFIX: &str = "lotline-";

/// Name of the stream that holds a ledger's commits. Where a stream turned out to differ from its ledger, it is kept
/// under its name, and the next generation is started beside it.
pub fn stream_name(ledger: LedgerId, generation: u32) -> String {
    channel::commits_stream(&ledger.to_string(), &generation.to_string())
}

/// Subject of the commits in that stream. The generation is part of it, since two streams cannot listen to one
/// subject.
pub fn subject(ledger: LedgerId, generation: u32) -> String {
    channel::commits_subject(&ledger.to_string(), &generation.to_string())
}

/// Ledger and generation, from a stream's name.
fn parse(name: &str) -> Option<(LedgerId, u32)> {
    let (hex, generation) = name.strip_prefix(PREFIX)?.split_once('-')?;
    let id = LedgerId::parse(hex)?;
    let number = generation.parse().ok()?;
    // One spelling only: no sign, no leading zero.
    (number > 0 && generation == u32::to_string(&number)).then_some((id, number))
}

/// How far the newest stream of a ledger has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamHead {
    /// Which generation.
    pub generation: u32,
    /// Number of the last commit in it; 0 for none.
    pub commit: CommitNumber,
}

/// What a stream has behind a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    /// The stream's name.
    pub stream: String,
    /// Number of the last commit in it; 0 for none.
    pub end: CommitNumber,
    /// When the first commit behind was recorded, in the ledger's time; of the last one, where that cannot be read.
    pub oldest: Option<Micros>,
}

/// Where a server is asked for the names of its streams.
const LIST: &str = "$JS.API.STREAM.NAMES";
const LISTING: &str = "list its streams";

/// Whether a subject is one that commits of a ledger, or questions about their streams, are sent to.
pub(crate) fn of_commits(ledger: LedgerId) -> impl Fn(Act, &str) -> bool {
    let commits = format!("lotline.{ledger}.commits.");
    move |_, subject| {
        let is_stream = |token: &str| parse(token).is_some_and(|(of, _)| of == ledger);
        subject == LIST || subject.starts_with(&commits) || subject.split('.').any(is_stream)
    }
}

impl Bus {
    /// The ledgers that have a stream on this server, each once, in order of their ids.
    ///
    /// # Errors
    /// When the server does not tell.
    pub fn ledgers(&self) -> Result<Vec<LedgerId>, Trouble> {
        let listing = self.unless_denied(LISTING, |_, subject| subject == LIST, self.streams());
        let mut ledgers: Vec<LedgerId> = self.block_on(listing)?.into_iter().map(|(ledger, _)| ledger).collect();
        ledgers.sort_unstable();
        ledgers.dedup();
        Ok(ledgers)
    }

    /// How far the newest stream of a ledger has come; `None` where it has none.
    ///
    /// # Errors
    /// When the server does not tell.
    pub fn stream_head(&self, ledger: LedgerId) -> Result<Option<StreamHead>, Trouble> {
        let look = async {
            let Some(commits) = self.newest(ledger).await? else { return Ok(None) };
            let Some(state) = commits.state().await? else { return Ok(None) };
            let commit = CommitNumber::new(state.last_sequence);
            Ok(Some(StreamHead { generation: commits.generation, commit }))
        };
        self.block_on(self.unless_denied("tell the state of a stream", of_commits(ledger), look))
    }

    /// What the newest stream of a ledger has behind a commit; `None` where the ledger has no stream.
    ///
    /// # Errors
    /// When the server does not tell.
    pub fn backlog(&self, ledger: LedgerId, behind: CommitNumber) -> Result<Option<Backlog>, Trouble> {
        let look = async {
            let Some(commits) = self.newest(ledger).await? else { return Ok(None) };
            let Some(state) = commits.state().await? else { return Ok(None) };
            let end = CommitNumber::new(state.last_sequence);
            let mut oldest = None;
            // Where the next one cannot be read the last one tells at least how long it has been. What is wrong with it
            // is said by who reads the stream.
            for at in [behind.next(), end] {
                if end > behind && oldest.is_none() {
                    let frame = commits.at(at).await?.and_then(|bytes| Frame::decode(bytes).ok());
                    oldest = frame.map(|frame| frame.header().recorded_at);
                }
            }
            Ok(Some(Backlog { stream: commits.name, end, oldest }))
        };
        self.block_on(self.unless_denied("tell the state of a stream", of_commits(ledger), look))
    }

    /// How many dead letters of a ledger are open; 0 where nothing was taken in yet.
    ///
    /// # Errors
    /// When the server does not tell.
    pub fn open_letters(&self, ledger: LedgerId) -> Result<u64, Trouble> {
        let ledger = ledger.to_string();
        let (name, subject) = (channel::dead_stream(&ledger), channel::dead_subject(&ledger, "*"));
        let doing = "count the dead letters";
        let look = async {
            match self.server().count(&name, &subject).await {
                Err(error) if error.said == Said::NoStream => Ok(0),
                counted => counted.map_err(|error| error.trouble(doing)),
            }
        };
        self.block_on(self.unless_denied(doing, |_, subject| names(subject, &name), look))
    }

    async fn streams(&self) -> Result<Vec<(LedgerId, u32)>, Trouble> {
        let names = self.server().stream_names().await.map_err(|error| {
            if self.has_streams() {
                error.trouble(LISTING)
            } else {
                // In a cluster another server may have answered; here none did.
                Trouble::NoJetStream
            }
        })?;
        Ok(names.iter().filter_map(|name| parse(name)).collect())
    }

    /// The stream of the highest generation.
    pub(crate) async fn newest(&self, ledger: LedgerId) -> Result<Option<Commits>, Trouble> {
        let generations = self.streams().await?.into_iter().filter(|(of, _)| *of == ledger);
        Ok(generations.map(|(_, generation)| generation).max().map(|newest| self.commits(ledger, newest)))
    }

    fn commits(&self, ledger: LedgerId, generation: u32) -> Commits {
        let name = stream_name(ledger, generation);
        let subject = subject(ledger, generation);
        Commits { generation, name, subject, bus: self.clone(), ledger }
    }

    /// Makes the stream of a generation.
    pub(crate) async fn start(&self, ledger: LedgerId, generation: u32, replicas: usize) -> Result<Commits, Trouble> {
        let config = config(ledger, generation, replicas);
        self.server().make_stream(config).await.map_err(|error| error.trouble("make a stream"))?;
        Ok(self.commits(ledger, generation))
    }
}

/// There are no limits; should somebody set one, it stops the relay and does not drop the oldest commits.
fn config(ledger: LedgerId, generation: u32, replicas: usize) -> StreamConfig {
    StreamConfig {
        name: stream_name(ledger, generation),
        description: format!("commits of Lotline ledger {ledger}, generation {generation}"),
        subjects: vec![subject(ledger, generation)],
        retention: Retention::Limits,
        replicas,
        // Ids are for the fence; what came twice is known by its sequence. They cost the server memory for so long.
        duplicate_window: Some(Duration::from_secs(1)),
        deny_delete: true,
        deny_purge: true,
        ..StreamConfig::default()
    }
}

/// A stream of commits.
#[derive(Debug, Clone)]
pub(crate) struct Commits {
    bus: Bus,
    pub(crate) ledger: LedgerId,
    pub(crate) generation: u32,
    pub(crate) name: String,
    pub(crate) subject: String,
}

impl Commits {
    /// A stream that mirrors it: a mirror keeps sequences.
    pub(crate) fn copy(&self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self.clone() }
    }

    /// What the leader says of it; `None` if there is no such stream.
    pub(crate) async fn state(&self) -> Result<Option<State>, Trouble> {
        match self.bus.server().stream(&self.name).await {
            Ok(info) => Ok(Some(info.state)),
            Err(error) if error.said == Said::NoStream => Ok(None),
            Err(error) => Err(error.trouble("tell the state of a stream")),
        }
    }

    /// What stands at a commit's place, read from the leader and never from a replica that may lag; `None` if there
    /// is nothing.
    pub(crate) async fn at(&self, commit: CommitNumber) -> Result<Option<Vec<u8>>, Trouble> {
        match self.bus.server().message(&self.name, commit.get()).await {
            Ok(message) => Ok(Some(message.body.to_vec())),
            Err(error) if error.said == Said::NoMessage => Ok(None),
            Err(error) => Err(error.trouble("read a commit")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_name_tells_ledger_and_generation() {
        let ledger = LedgerId::new([0xab; 16]);
        assert_eq!(parse(&stream_name(ledger, 12)), Some((ledger, 12)));
    }

    #[test]
    fn other_streams_are_not_taken_for_ours() {
        let hex = "ab".repeat(16);
        for name in [
            "orders".to_owned(),
            format!("lotline-{hex}"),
            format!("lotline-{hex}-0"),
            format!("lotline-{hex}-01"),
            format!("lotline-{hex}-+1"),
            format!("lotline-{hex}-1-2"),
            format!("lotline-{}-1", hex.to_uppercase()),
            format!("lotline-{}-1", "é".repeat(16)),
        ] {
            assert_eq!(parse(&name), None, "{name}");
        }
    }
}
