//! The scenario files: each line goes through the wire form, the handler and its ledger; each question is
//! answered by the engine and, where it can, by the naive model.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use lotline_domain::book::{BatchIx, Book, Bounds};
use lotline_domain::command::Command;
use lotline_domain::fact::{CleanGrade, Event, Fact};
use lotline_domain::id::{BatchRef, EventId, VesselId};
use lotline_domain::quantity::Ratio;
use lotline_domain::settle::RunBalance;
use lotline_domain::time::{CommitNo, Instant, Position};
use lotline_handler::{Handler, Outcome, body_at};
use lotline_projections::{Direction, Point, Question, Spot, State, scope, slices_of, trace, vessels};
use lotline_testkit::disk::FaultyDisk;
use lotline_testkit::naive::{Bounds as NaiveBounds, Naive, Node, Rest, Tier};
use lotline_testkit::scenario::{About, Ask, Rows, Scenario, Verdict, What, plain, short};
use lotline_wire::command::{parse_command, print_command};

use crate::{engine, handler_plant};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

fn files() -> Vec<PathBuf> {
    let folder = std::env::var_os("LOTLINE_SCENARIOS").map_or_else(folder, PathBuf::from);
    let listed = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = listed.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    files
}

/// A ledger being filled by a scenario, and what both models know of it.
struct Stage {
    handler: Handler,
    book: Book,
    next: u64,
    /// The last commit after each event line.
    commits: Vec<CommitNo>,
    events: Vec<(u64, Event)>,
}

impl Stage {
    fn new() -> Self {
        let handler =
            handler_plant::create_on(FaultyDisk::new().shared(), Path::new("/ledger"), handler_plant::options().0);
        Self { handler, book: Book::new(), next: 0, commits: Vec::new(), events: Vec::new() }
    }

    /// Submits a command in its wire form; says what went otherwise than it should.
    fn tell(&mut self, command: &Command, verdict: &Verdict) -> Option<String> {
        let printed = print_command(command);
        let read = parse_command(&printed).unwrap_or_else(|error| panic!("{error}\n{printed}"));
        assert_eq!(&read, command, "the wire form gives the command again");
        let outcome = match self.handler.submit(read) {
            Ok(outcome) => outcome,
            Err(error) => return Some(format!("not taken: {error}")),
        };
        let reader = self.handler.reader();
        for position in self.next..reader.head().next_position.get() {
            self.book.apply(&body_at(&reader, Position(position)).expect("it reads back"));
            self.next = position + 1;
        }
        self.commits.push(self.book.head());
        if !matches!(outcome, Outcome::Rejected { .. }) {
            self.events.push((self.commits.len() as u64, command.event.clone()));
        }
        let came = match &outcome {
            Outcome::Accepted(_) => Verdict::Accepted,
            Outcome::Duplicate { .. } => Verdict::Duplicate,
            Outcome::Conflict { .. } => Verdict::Conflict,
            Outcome::Rejected { rejection, .. } => Verdict::Refused(rejection.rule.word().to_owned()),
        };
        (came != *verdict).then(|| format!("expected {verdict:?}, came {came:?}"))
    }

    fn bounds(&self, ask: &Ask, known: u64) -> (Bounds, NaiveBounds) {
        let commit = match usize::try_from(known).expect("few lines") {
            0 => CommitNo(0),
            line => *self.commits.get(line - 1).unwrap_or_else(|| panic!("k{known} is not told yet")),
        };
        let engine = Bounds { known: commit, as_of: ask.as_of.unwrap_or(Instant::MAX) };
        (engine, NaiveBounds { known, as_of: ask.as_of, hazard: ask.hazard })
    }

    /// Answers a question both ways; `known` is how many event lines count.
    fn answer(&self, ask: &Ask, known: u64) -> (Rows, Option<Rows>) {
        let (bounds, naive_bounds) = self.bounds(ask, known);
        let question = Question::new(&self.book, bounds).hazard(CleanGrade(ask.hazard));
        let naive = Naive::new(self.events.clone());
        (Engine { question: &question }.answer(&ask.about), naive_answer(&naive, naive_bounds, &ask.about))
    }

    /// What is wrong with the answers to a question.
    fn wrong(&self, ask: &Ask, known: u64) -> Option<String> {
        let (engine, naive) = self.answer(ask, known);
        let mut wrong = Vec::new();
        if let Some(why) = ask.rows.wrong(&engine, ask.exact, false) {
            wrong.push(format!("  the engine: {why}"));
        }
        if let Some(why) = naive.as_ref().and_then(|naive| ask.rows.wrong(naive, ask.exact, true)) {
            wrong.push(format!("  the naive model: {why}"));
        }
        let naive = naive.map_or_else(|| "does not answer this".to_owned(), |naive| naive.to_string());
        let shown = format!("\n  expected  {}\n  engine    {engine}\n  naive     {naive}\n", ask.rows);
        (!wrong.is_empty()).then(|| shown + &wrong.join("\n"))
    }
}

struct Engine<'q, 'a> {
    question: &'q Question<'a>,
}

impl Engine<'_, '_> {
    fn find(&self, batch: &BatchRef) -> Option<BatchIx> {
        engine::find(self.question.book(), batch).map(|batch| self.question.settler().resolve(batch))
    }

    fn answer(&self, about: &About) -> Rows {
        let mut rows = Rows::default();
        let question = self.question;
        let book = question.book();
        match about {
            About::OnHand(batch) => {
                let wanted = self.find(batch).map(|batch| book.batch(batch).to_string());
                for ((name, place), amount) in self.on_hand() {
                    if Some(name) == wanted {
                        rows.put(place, &amount);
                    }
                }
            }
            About::Book => {
                for ((name, place), amount) in self.on_hand() {
                    rows.put(short(&format!("{name} {place}")), &amount);
                }
            }
            About::Expires(batch) => {
                let wanted = self.find(batch).map(|batch| book.batch(batch).to_string());
                for ((name, place), row) in engine::on_hand(question) {
                    if Some(name) == wanted {
                        put_expiry(&mut rows, &place, &row.5);
                    }
                }
            }
            About::Held => {
                for (name, batch) in engine::batches(question) {
                    for row in slices_of(question, batch) {
                        for hold in &row.holds {
                            rows.put(short(&format!("{name} {}", book.place(row.slice))), hold.as_str());
                        }
                    }
                }
            }
            About::OfHold(hold, batch, place) => {
                let Some(batch) = self.find(batch) else { return rows };
                let there =
                    slices_of(question, batch).into_iter().find(|row| book.place(row.slice).to_string() == *place);
                let held = there.as_ref().and_then(|row| row.held.iter().find(|(of, _)| of == hold));
                if let Some((_, content)) = held {
                    rows.put("", &bounds(content));
                }
            }
            About::Forward(batch) => self.traced(batch, Direction::Forward, &mut rows),
            About::Back(batch) => self.traced(batch, Direction::Back, &mut rows),
            About::Slices(batch) => {
                let Some(batch) = self.find(batch) else { return rows };
                for ((name, place), (tier, _)) in engine::traced_slices(question, batch) {
                    rows.put(short(&format!("{name} {place}")), tier);
                }
                let found = trace(question, &[batch], Direction::Forward);
                let mut fills: BTreeMap<String, lotline_projections::Tier> = BTreeMap::new();
                for edge in &found.edges {
                    if let Point::Vessel(vessel) = edge.to {
                        let subject = short(&format!("{} {}", book.batch(edge.batch), book.place(vessel)));
                        let tier = fills.entry(subject).or_insert(edge.tier);
                        *tier = (*tier).max(edge.tier);
                    }
                }
                fills.iter().for_each(|(subject, tier)| rows.put(subject.as_str(), tier.word()));
            }
            About::Scope(batches) => self.scope(batches, &mut rows),
            About::Received(batch) => self.received(batch, &mut rows),
            About::Content(suspect, reached, place) => {
                let mut all = Rows::default();
                self.scope(std::slice::from_ref(suspect), &mut all);
                let row = all.0.get(&short(&format!("{reached} {place}")));
                if let Some(content) = row.and_then(|row| row.get("content")) {
                    rows.put("", content);
                }
            }
            About::Exceptions => {
                for (kind, batch, place, cause) in engine::discrepancies(question) {
                    rows.0.insert(exception(&kind, &batch, &place, &cause), BTreeMap::new());
                }
            }
            About::Draw(vessel, batch) => self.draw(vessel, batch, &mut rows),
            About::Total(vessel) => {
                let vessel = vessels(question)
                    .into_iter()
                    .find(|place| book.place(*place).to_string() == format!("vessel:{vessel}"));
                if let Some(vessel) = vessel {
                    let mixed = question.vessel(vessel);
                    rows.put("", &mixed.total().map_or_else(|| "?".to_owned(), |total| total.to_string()));
                }
            }
            About::Paths(from, to) => {
                let Some(batch) = self.find(from) else { return rows };
                let found = trace(question, &[batch], Direction::Forward);
                let mut into: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
                let mut out: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
                for edge in &found.edges {
                    let batch = book.batch(edge.batch).to_string();
                    if let Point::Run(run) = edge.to {
                        into.entry(book.run(run).to_string()).or_default().insert(batch.clone());
                    }
                    if let Point::Run(run) = edge.from {
                        out.entry(book.run(run).to_string()).or_default().insert(batch);
                    }
                }
                rows.put("", &paths(&into, &out, &from.to_string(), &to.to_string()).to_string());
            }
            About::Run(run) => {
                let count = u32::try_from(book.run_count()).expect("few runs");
                let found = (0..count).map(lotline_domain::book::RunIx).find(|ix| book.run(*ix) == *run);
                if let Some(found) = found {
                    let told = question.run(found);
                    let settled = |batch| std::borrow::Cow::Owned((*question.settlement(batch)).clone());
                    let said = match question.settler().run_balance(&told, &settled) {
                        RunBalance::Balanced => "even".to_owned(),
                        RunBalance::Unexplained(rest, _) => format!("lost {rest}"),
                        RunBalance::Gained(rest, _) => format!("gained {rest}"),
                        RunBalance::InProcess(rest, _) => format!("in-process {rest}"),
                        RunBalance::NotComparable => "unknown".to_owned(),
                    };
                    rows.put("", &said);
                }
            }
        }
        rows
    }

    fn on_hand(&self) -> BTreeMap<(String, String), String> {
        let rows = engine::on_hand(self.question).into_iter();
        rows.map(|(key, (amount, unknown, assumed, ..))| (key, marked(&amount, unknown, assumed))).collect()
    }

    fn traced(&self, batch: &BatchRef, direction: Direction, rows: &mut Rows) {
        let Some(batch) = self.find(batch) else { return };
        for (name, tier) in engine::traced(self.question, batch, direction) {
            rows.put(short(&name), tier);
        }
    }

    fn scope(&self, suspects: &[BatchRef], rows: &mut Rows) {
        let book = self.question.book();
        let suspects: Vec<BatchIx> = suspects.iter().filter_map(|batch| self.find(batch)).collect();
        for row in &scope(self.question, &suspects).rows {
            let place = match (row.spot, row.slice) {
                (Spot::Run(run), _) => format!("run:{}", book.run(run)),
                (Spot::Place(_), slice) => slice.map_or_else(String::new, |slice| book.place(slice).to_string()),
            };
            let mut said = BTreeMap::from([
                ("tier".to_owned(), row.tier.word().to_owned()),
                ("state".to_owned(), row.state.words().replace(' ', "-")),
                ("quantity".to_owned(), marked(&plain(&row.quantity.value.to_string()), row.unknown, false)),
            ]);
            if let Spot::Place(stands) = row.spot {
                let stands = stands.map_or_else(|| "unplaced".to_owned(), |place| book.place(place).to_string());
                said.insert("at".to_owned(), stands);
            }
            for (name, amount) in [("ever", row.ever), ("net", row.net)] {
                said.extend(amount.map(|amount| (name.to_owned(), plain(&amount.value.to_string()))));
            }
            said.insert("content".to_owned(), bounds(&row.content));
            said.extend(row.cleared_at.map(|at| ("cleared-at".to_owned(), Instant(at).to_string())));
            // What belongs to a run itself, and what a vessel passed on, stands beside other rows of that place.
            let batch = row.batch.map(|batch| format!("{} ", book.batch(batch))).unwrap_or_default();
            let word = row.state.words().replace(' ', "-");
            let place = match row.batch {
                None => format!("{place} {word}"),
                Some(_) if row.state == State::Consumed && place.starts_with("vessel:") => format!("{place}/{word}"),
                Some(_) => place,
            };
            rows.0.insert(short(&format!("{batch}{place}")), said);
        }
    }

    /// By batch and party, loose goods and containers together.
    fn received(&self, batch: &BatchRef, rows: &mut Rows) {
        let book = self.question.book();
        let Some(batch) = self.find(batch) else { return };
        let mut sums: BTreeMap<String, (Ratio, Ratio)> = BTreeMap::new();
        let found = scope(self.question, &[batch]);
        for row in found.rows.iter().filter(|row| row.tier != lotline_projections::Tier::Cleared) {
            let (Spot::Place(Some(stands)), Some(ever), Some(net)) = (row.spot, row.ever, row.net) else { continue };
            if let Some(party) = book.place(stands).to_string().strip_prefix("party:")
                && ever.value.is_positive()
            {
                let entry = sums
                    .entry(short(&format!(
                        "{} {party}",
                        row.batch.map_or_else(String::new, |batch| book.batch(batch).to_string())
                    )))
                    .or_insert((Ratio::ZERO, Ratio::ZERO));
                *entry = (entry.0.add(ever.value).expect("small"), entry.1.add(net.value).expect("small"));
            }
        }
        for (subject, (ever, net)) in sums {
            let said = [("ever", ever), ("net", net)];
            rows.0.insert(subject, said.map(|(name, value)| (name.to_owned(), plain(&value.to_string()))).into());
        }
    }

    fn draw(&self, vessel: &VesselId, batch: &BatchRef, rows: &mut Rows) {
        let question = self.question;
        let book = question.book();
        let Some(drawn) = self.find(batch) else { return };
        let mut sums: BTreeMap<String, Ratio> = BTreeMap::new();
        for place in
            vessels(question).into_iter().filter(|place| book.place(*place).to_string() == format!("vessel:{vessel}"))
        {
            let mixed = question.vessel(place);
            for draw in mixed.draws.iter().filter(|draw| draw.batch == drawn) {
                for (fill, amount) in draw.parts.iter().chain(&draw.paid_later) {
                    let sum =
                        sums.entry(short(&book.batch(mixed.fills[*fill].batch).to_string())).or_insert(Ratio::ZERO);
                    *sum = sum.add(*amount).expect("small");
                }
            }
        }
        sums.iter().for_each(|(name, amount)| rows.put(name.as_str(), &amount.to_string()));
    }
}

fn marked(amount: &str, unknown: bool, assumed: bool) -> String {
    let marks = [(unknown, "?"), (assumed, "~")];
    marks.iter().filter(|(on, _)| *on).fold(plain(amount), |text, (_, mark)| text + mark)
}

fn exception(kind: &str, batch: &str, place: &str, cause: &str) -> String {
    let words = [kind.to_owned(), short(batch), short(place), cause.to_owned()];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Of `2026-12-01 until 2026-12-01T23:00:00Z in Europe/Berlin` the instant; nothing where nobody tells.
fn put_expiry(rows: &mut Rows, place: &str, expires: &str) {
    if let Some(at) = expires.split(' ').nth(2).filter(|_| !place.starts_with("sink:")) {
        rows.put(place, at);
    }
}

/// How many ways lead from one batch to another, each batch and run at most once on a way.
fn paths(
    into: &BTreeMap<String, BTreeSet<String>>,
    out: &BTreeMap<String, BTreeSet<String>>,
    from: &str,
    to: &str,
) -> usize {
    fn count(
        into: &BTreeMap<String, BTreeSet<String>>,
        out: &BTreeMap<String, BTreeSet<String>>,
        at: &str,
        to: &str,
        passed: &mut Vec<String>,
    ) -> usize {
        let mut sum = 0;
        for (run, inputs) in into {
            if !inputs.contains(at) || passed.contains(run) {
                continue;
            }
            passed.push(run.clone());
            for next in out.get(run).into_iter().flatten() {
                if next == to {
                    sum += 1;
                } else if !passed.contains(next) {
                    passed.push(next.clone());
                    sum += count(into, out, next, to, passed);
                    passed.pop();
                }
            }
            passed.pop();
        }
        sum
    }
    count(into, out, from, to, &mut vec![from.to_owned()])
}

/// The naive model's answer, where it can tell.
fn naive_answer(naive: &Naive, bounds: NaiveBounds, about: &About) -> Option<Rows> {
    let mut rows = Rows::default();
    let settled = naive.settle(bounds);
    let word = |tier: Tier| match tier {
        Tier::Certain => "certain",
        Tier::Possible => "possible",
        Tier::Cleared => "cleared",
    };
    match about {
        About::OnHand(batch) => {
            let wanted = resolved(&settled.batches(), batch);
            for ((_, place), balance) in naive.on_hand(bounds).into_iter().filter(|((name, _), _)| *name == wanted) {
                rows.put(place, &marked(&balance.amount.to_string(), balance.unknown, balance.assumed));
            }
        }
        About::Book => {
            for ((name, place), balance) in naive.on_hand(bounds) {
                let amount = marked(&balance.amount.to_string(), balance.unknown, balance.assumed);
                rows.put(short(&format!("{name} {place}")), &amount);
            }
        }
        About::Expires(batch) => {
            let wanted = resolved(&settled.batches(), batch);
            for ((_, place), balance) in naive.on_hand(bounds).into_iter().filter(|((name, _), _)| *name == wanted) {
                put_expiry(&mut rows, &place, &balance.expires);
            }
        }
        About::Held => {
            for ((name, place), balance) in naive.on_hand(bounds) {
                let in_book = !place.starts_with("sink:");
                for hold in balance.holds.iter().filter(|_| in_book) {
                    rows.put(short(&format!("{name} {place}")), hold);
                }
            }
        }
        About::Forward(batch) => {
            settled.forward(batch).iter().for_each(|(name, tier)| rows.put(short(name), word(*tier)))
        }
        About::Back(batch) => settled.back(batch).iter().for_each(|(name, tier)| rows.put(short(name), word(*tier))),
        About::Slices(batch) => {
            for ((name, place), reached) in
                settled.trace_forward(batch).slices.iter().filter(|((_, place), _)| !place.starts_with("sink:"))
            {
                rows.put(short(&format!("{name} {place}")), word(reached.tier));
            }
        }
        About::Scope(batches) => {
            for ((name, place), row) in settled.recall(batches) {
                let mut said = BTreeMap::from([("tier".to_owned(), word(row.tier).to_owned())]);
                said.insert("quantity".to_owned(), marked(&plain(&row.quantity.to_string()), row.unknown, false));
                if place != "unplaced" {
                    said.insert("state".to_owned(), row.state.replace(' ', "-"));
                }
                let place = place.replace("in process", "in-process");
                if !place.starts_with("run:") {
                    said.insert("at".to_owned(), row.stands.to_string());
                }
                if let Some(exposure) = &row.exposure {
                    said.insert("ever".to_owned(), plain(&exposure.ever.to_string()));
                    said.insert("net".to_owned(), plain(&exposure.net.to_string()));
                }
                rows.0.insert(short(format!("{name} {place}").trim_start()), said);
            }
        }
        About::Received(batch) => {
            for ((name, party), exposure) in settled.exposures(std::slice::from_ref(batch)) {
                let said = [("ever", &exposure.ever), ("net", &exposure.net)];
                if exposure.ever == lotline_testkit::naive::number("0") {
                    continue;
                }
                let said = said.map(|(name, value)| (name.to_owned(), plain(&value.to_string())));
                rows.0.insert(short(&format!("{name} {party}")), said.into());
            }
        }
        About::Exceptions => {
            for row in naive.exceptions(bounds) {
                let of_run = ["run lost mass", "run gained mass", "no window"].contains(&row.kind);
                let place = if row.place.starts_with("run:") && !of_run { "" } else { row.place.as_str() };
                rows.0.insert(exception(row.kind, &row.batch, place, &row.cause), BTreeMap::new());
            }
        }
        About::Draw(vessel, batch) => {
            let event = draw_event(naive, vessel, batch)?;
            for (name, amount) in settled.draw_content(&event)?.parts {
                if amount.to_string() != "0" {
                    rows.put(short(&name), &amount.to_string());
                }
            }
        }
        About::Total(vessel) => {
            let total = settled.vessel_total(vessel);
            let only = total.values().next().filter(|_| total.len() == 1)?;
            rows.put("", &only.to_string());
        }
        About::Paths(from, to) => {
            let mut into: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            let mut out: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            for flow in settled.flows.iter().filter(|flow| !flow.possible) {
                if let Node::Run(run) = &flow.to {
                    into.entry(run.to_string()).or_default().insert(flow.batch.to_string());
                }
                if let Node::Run(run) = &flow.from {
                    out.entry(run.to_string()).or_default().insert(flow.batch.to_string());
                }
            }
            rows.put("", &paths(&into, &out, &from.to_string(), &to.to_string()).to_string());
        }
        About::Run(run) => {
            let balances = settled.run_balances();
            let said = match &balances.get(&run.to_string())?.rest {
                Rest::Even => "even".to_owned(),
                Rest::Lost(rest) => format!("lost {}", plain(&rest.to_string())),
                Rest::Gained(rest) => format!("gained {}", plain(&rest.to_string())),
                Rest::InProcess(rest) => format!("in-process {}", plain(&rest.to_string())),
                Rest::Unknown => "unknown".to_owned(),
            };
            rows.put("", &said);
        }
        About::Content(..) | About::OfHold(..) => return None,
    }
    Some(rows)
}

/// The batch that a bare code stands for, if it is only one.
fn resolved(batches: &BTreeSet<BatchRef>, batch: &BatchRef) -> String {
    let fits = |known: &&BatchRef| matches!((known, batch), (BatchRef::Known(known), BatchRef::Code(code)) if known.code == *code);
    let mut found = batches.iter().filter(fits);
    match (found.next(), found.next()) {
        (Some(only), None) => only.to_string(),
        _ => batch.to_string(),
    }
}

/// The event by which a batch was drawn.
fn draw_event(naive: &Naive, from: &VesselId, drawn: &BatchRef) -> Option<EventId> {
    naive.events().iter().find_map(|(_, event)| match &event.fact {
        Fact::VesselDrawn { vessel, batch: Some(batch), .. } if vessel == from && batch == drawn => {
            Some(event.id.clone())
        }
        _ => None,
    })
}

/// What came of a line.
enum Came {
    Right,
    Gap(String),
    Wrong(String),
}

fn judged(place: &str, known_gap: Option<&String>, wrong: Option<String>) -> Came {
    match (known_gap, wrong) {
        (None, None) => Came::Right,
        (None, Some(wrong)) => Came::Wrong(format!("{place}: {wrong}")),
        (Some(why), Some(_)) => Came::Gap(format!("{place}: known gap: {why}")),
        (Some(_), None) => Came::Wrong(format!("{place}: is right now; take its !known-gap out")),
    }
}

/// Plays one file: what is wrong, and which known gaps are still there.
fn play(file: &Path) -> (Vec<String>, Vec<String>) {
    let name = file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let scenario = match Scenario::parse(&text) {
        Ok(scenario) => scenario,
        Err(error) => return (vec![format!("{name}: {error}")], Vec::new()),
    };
    let mut stage = Stage::new();
    let (mut wrong, mut gaps) = (Vec::new(), Vec::new());
    let mut asked: Vec<(usize, &Ask, u64)> = Vec::new();
    for step in &scenario.steps {
        let place = format!("{name}:{}", step.line);
        let found = match &step.what {
            What::Tell(command, verdict) => stage.tell(command, verdict),
            What::Ask(ask) => {
                let known = ask.known.unwrap_or(stage.commits.len() as u64);
                asked.push((step.line, ask, known));
                stage.wrong(ask, known)
            }
        };
        match judged(&place, step.known_gap.as_ref(), found) {
            Came::Right => {}
            Came::Gap(gap) => gaps.push(gap),
            Came::Wrong(why) => wrong.push(why),
        }
    }
    // An answer at fixed bounds never changes again: a fresh book of those commits alone gives the same.
    for (line, ask, known) in asked {
        let (bounds, _) = stage.bounds(ask, known);
        let early = engine_book(&stage, bounds.known);
        let then = Question::new(&early, bounds).hazard(CleanGrade(ask.hazard));
        let then = Engine { question: &then }.answer(&ask.about);
        let (now, _) = stage.answer(ask, known);
        if then != now {
            wrong.push(format!("{name}:{line}: the past has changed\n  then  {then}\n  now   {now}"));
        }
    }
    (wrong, gaps)
}

/// A fresh book of the first commits alone.
fn engine_book(stage: &Stage, known: CommitNo) -> Book {
    let reader = stage.handler.reader();
    let mut book = Book::new();
    for position in 0..reader.head().next_position.get() {
        let recorded = body_at(&reader, Position(position)).expect("it reads back");
        if recorded.commit <= known {
            book.apply(&recorded);
        }
    }
    book
}

#[test]
fn scenario_files_are_answered_right() {
    let files = files();
    assert!(!files.is_empty(), "no scenario files in {}", folder().display());
    let (mut wrong, mut gaps) = (Vec::new(), Vec::new());
    for file in &files {
        let (bad, open) = play(file);
        wrong.extend(bad);
        gaps.extend(open);
    }
    println!("{} scenario files, {} known gaps", files.len(), gaps.len());
    gaps.iter().for_each(|gap| println!("{gap}"));
    assert!(wrong.is_empty(), "{} lines are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_wrong_line_and_a_healed_gap_are_both_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("x.txt");
    std::fs::write(&file, "t1 receive A 5 from S -> dock\n? on-hand A: dock 6\n? on-hand A: dock 6 !known-gap x\n? on-hand A: dock 5 !known-gap x\n")
        .expect("written");
    let (wrong, gaps) = play(&file);
    assert_eq!((wrong.len(), gaps.len()), (2, 1), "{wrong:?}");
    assert!(wrong[0].starts_with("x.txt:2") && wrong[1].starts_with("x.txt:4"), "{wrong:?}");
}

fn bounds(content: &lotline_projections::Content) -> String {
    let expected = content.expected.map_or_else(|| "?".to_owned(), |expected| plain(&expected.to_string()));
    format!("[{}, {expected}, {}]", plain(&content.min.to_string()), plain(&content.max.to_string()))
}
