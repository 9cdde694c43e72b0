//! The story, told from answers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use chrono::{DateTime, FixedOffset};
use lotline_domain::book::BatchIx;
use lotline_domain::command::Amount as DomainAmount;
use lotline_domain::fact::CleanGrade;
use lotline_domain::id::{BatchId, BatchRef, EventId, Place};
use lotline_domain::quantity::Ratio;
use lotline_domain::time::{CommitNo, Instant};
use lotline_domain::unit::Unit;
use lotline_ledger::Reader;
use lotline_projections::{self as engine, Direction, Question, ReadModel, ReadModelKind};
use lotline_wire::answer::{Amount, ExceptionRow, HistoryRow, Recall, RecallRow, State};

use super::record::Recorded;
use crate::answer;
use crate::answer::recall::{by_mass, plus, suspect_matter};
use crate::args;
use crate::ask::Desk;
use crate::bounds::{Within, within};
use crate::dairy::OFFSET_MINUTES;
use crate::failure::{Exit, Failure};
use crate::folder::Folder;
use crate::keep;
use crate::picture;
use crate::print::{Sheet, Value, count, number, quantity, text};
use crate::sheets::{name, state_word, tier_word};

const WEEK: i64 = 7 * 24 * 3_600_000_000;

/// Tells it.
///
/// # Errors
/// Where the folder cannot be read, or a picture cannot be written.
pub fn tell(folder: &Folder, recorded: &Recorded) -> Result<String, Failure> {
    let desk = Desk::open(folder, ReadModelKind::Recall, &args::Bounds::default())?;
    let mut teller =
        Teller { folder, recorded, reader: &desk.reader, model: &desk.model, now: desk.within, out: String::new() };
    teller.beginning();
    teller.on_hand();
    teller.back()?;
    teller.forward()?;
    let scope = teller.scope()?;
    teller.earlier(&scope)?;
    teller.hold()?;
    teller.count()?;
    teller.returned()?;
    teller.exceptions()?;
    teller.verified()?;
    teller.next();
    Ok(teller.out)
}

struct Teller<'a> {
    folder: &'a Folder,
    recorded: &'a Recorded,
    reader: &'a Reader,
    model: &'a ReadModel,
    now: Within,
    out: String,
}

/// Widest line of prose.
const WIDTH: usize = 100;

impl<'a> Teller<'a> {
    fn title(&mut self, text: &str) {
        let _ = write!(self.out, "\n{text}\n{}\n\n", "-".repeat(text.chars().count()));
    }

    /// A paragraph, broken between words.
    fn say(&mut self, text: &str) {
        let mut column = 0;
        for word in text.split_whitespace() {
            let width = word.chars().count();
            if column > 0 && column + 1 + width > WIDTH {
                self.out.push('\n');
                column = 0;
            } else if column > 0 {
                self.out.push(' ');
                column += 1;
            }
            self.out.push_str(word);
            column += width;
        }
        self.out.push_str("\n\n");
    }

    fn show(&mut self, sheet: &Sheet) {
        self.out.push_str(&sheet.table());
        self.out.push_str("\n\n");
    }

    fn question(&self, within: &Within) -> Question<'a> {
        self.model.question(within.bounds)
    }

    fn find(&self, batch: &BatchId) -> Result<BatchIx, Failure> {
        let book = self.model.book();
        book.find_batch(&BatchRef::Known(batch.clone()))
            .ok_or_else(|| Failure::new(Exit::No, format!("{batch} is not in the read model")))
    }

    fn beginning(&mut self) {
        let head = self.reader.head();
        let Recorded { seed, days, .. } = self.recorded;
        let text = format!(
            "Tarnbrook Dairy does not exist. Seed {seed} made up {days} days of it: farm tankers, silos, pasteurising, \
             cheese with rework, butter, packs, pallets, customers. What its systems reported was recorded as {} events \
             in {} commits, in {}. Everything below was answered from there; another seed tells another story.",
            head.next_position, head.commit, self.folder
        );
        self.title("A dairy, recorded");
        self.say(&text);
    }

    fn on_hand(&mut self) {
        let question = self.question(&self.now);
        let answer = answer::on_hand::answer(&question, &self.now, &answer::on_hand::Filter::default());
        let mut items: BTreeMap<String, Stock> = BTreeMap::new();
        let mut places = BTreeSet::new();
        for row in &answer.rows {
            let BatchRef::Known(id) = &row.batch.0 else { continue };
            let stock = items.entry(id.item.to_string()).or_default();
            stock.batches.insert(id.to_string());
            let sums = match row.state {
                State::InTransit => &mut stock.in_transit,
                _ => &mut stock.inside,
            };
            sums.add(&row.quantity);
            if !row.holds.is_empty() {
                stock.held.add(&row.quantity);
            }
            places.insert(row.place.clone());
        }
        let mut sheet = Sheet::new([
            text("item"),
            number("batches"),
            number("on hand"),
            number("on the way"),
            number("under hold"),
        ]);
        for (item, stock) in &items {
            sheet.row([
                item.as_str().into(),
                (stock.batches.len() as u64).into(),
                stock.inside.words().into(),
                stock.in_transit.words().into(),
                stock.held.words().into(),
            ]);
        }
        let batches: usize = items.values().map(|stock| stock.batches.len()).sum();
        self.title("1. What is on hand");
        let when = local(self.recorded.end);
        self.say(&format!(
            "{batches} batches are inside or on their way at the end, {when}, at {} places. Each figure is a sum over \
             single batches at single places (lotline on-hand lists them), and exact.",
            places.len()
        ));
        self.show(&sheet);
    }

    fn back(&mut self) -> Result<(), Failure> {
        let batch = self.recorded.story.finished.clone();
        self.title("2. Where does it come from?");
        let found = self.traced(&batch, Direction::Back, "back")?;
        let milk = found.of_item(&self.recorded.story.suspect.item.to_string());
        let farms: BTreeSet<&String> = found.suppliers.iter().collect();
        self.say(&format!(
            "A customer asks about {batch}. Traced back, it leads over {} and {} to {} other batches, {} of \
             them {}, and to {}: {}.",
            count(found.runs, "run"),
            count(found.vessels, "vessel"),
            found.batches.len(),
            milk,
            self.recorded.story.suspect.item,
            count(farms.len(), "supplier"),
            list(farms.iter().map(|farm| farm.as_str()), 8)
        ));
        self.show(&found.sheet());
        self.say(&format!(
            "«Certain» means that every step is recorded; «possible» that some step rests on an assumption, which the \
             trace names. The picture is in {}.",
            found.picture.display()
        ));
        Ok(())
    }

    fn forward(&mut self) -> Result<(), Failure> {
        let story = &self.recorded.story;
        let (batch, supplier) = (story.suspect.clone(), story.supplier.clone());
        let received = local(story.received_at);
        self.title("3. Where did it go?");
        let found = self.traced(&batch, Direction::Forward, "forward")?;
        self.say(&format!(
            "The tanker {batch}, received from {supplier} on {received}, turns out to be suspect. Traced forward it \
             reaches {} other batches over {} and {}.",
            found.batches.len(),
            count(found.runs, "run"),
            count(found.vessels, "vessel")
        ));
        self.show(&found.sheet());
        self.say(&format!(
            "Milk is mixed in silos: who is reached is certain where the records are, how much of the tanker is in each \
             batch follows from the silo's mix model and is told below as bounds. The picture is in {}.",
            found.picture.display()
        ));
        Ok(())
    }

    fn traced(&self, batch: &BatchId, direction: Direction, file: &str) -> Result<Traced, Failure> {
        let question = self.question(&self.now);
        let start = self.find(batch)?;
        let trace = engine::trace(&question, &[start], direction);
        let answer = answer::trace::answer(&question, &self.now, start, &trace);
        let folder = self.folder.path().join("pictures");
        std::fs::create_dir_all(&folder).map_err(|error| Failure::file("make the folder", &folder, error))?;
        let drawn = picture::of_trace(&question, &trace);
        let path = folder.join(format!("{file}.svg"));
        let write = |path: &PathBuf, text: &str| {
            std::fs::write(path, text).map_err(|error| Failure::file("write", path, error))
        };
        write(&path, &picture::svg(&drawn).text)?;
        write(&folder.join(format!("{file}.dot")), &picture::dot(&drawn))?;
        let book = question.book();
        let suppliers = trace.edges.iter().filter_map(|edge| match edge.from {
            engine::Point::Supply(party) => Some(party_name(&book.place(party))),
            _ => None,
        });
        Ok(Traced {
            batches: answer
                .nodes
                .iter()
                .filter(|node| !node.start)
                .map(|node| (node.batch.0.clone(), tier_word(node.tier)))
                .collect(),
            runs: trace.runs.len(),
            vessels: trace.vessels.len(),
            suppliers: suppliers.collect(),
            picture: path,
        })
    }

    fn recall(&self, batch: &BatchId, within: &Within) -> Result<Scoped, Failure> {
        let question = self.question(within).hazard(CleanGrade(1));
        let scope = engine::scope(&question, &[self.find(batch)?]);
        let answer = answer::recall::answer(&question, within, &scope, 1);
        let customers = customers(&question, &scope, &answer);
        Ok(Scoped { answer, customers })
    }

    fn suspected(&self, within: &Within) -> Result<Scoped, Failure> {
        self.recall(&self.recorded.story.suspect, within)
    }

    fn scope(&mut self) -> Result<Scoped, Failure> {
        let scoped = self.suspected(&self.now)?;
        let (recall, reached) = (&scoped.answer, &scoped.customers);
        self.title("4. What has to come back?");
        let suspect = &self.recorded.story.suspect;
        self.say(&format!(
            "The scope of a recall of {suspect} has {} rows: every batch it may be in, wherever that is now. \
             {} received something and have to be told, also those who sent it back. The last columns say how much of \
             what they still have is suspect: at least, if everything was well mixed, at most.",
            recall.rows.len(),
            count(reached.len(), "customer")
        ));
        let mut sheet = Sheet::new([
            text("customer"),
            number("batches"),
            number("ever received"),
            number("still there"),
            number("least"),
            number("expected"),
            number("most"),
            text("link"),
        ]);
        for (customer, share) in reached {
            sheet.row([
                customer.as_str().into(),
                (share.batches.len() as u64).into(),
                share.ever.words().into(),
                share.net.words().into(),
                share.least.all_words().into(),
                if share.not_expected { "unknown".into() } else { share.expected.all_words().into() },
                share.most.all_words().into(),
                share.link().into(),
            ]);
        }
        self.show(&sheet);
        self.say(
            "And this is where the rest is, or went. The greatest contents of single rows do not add up, because the \
             same milk cannot be everywhere at once; each line below has its own bounds.",
        );
        let mut sheet =
            Sheet::new([text("where"), number("quantity"), number("least"), number("expected"), number("most")]);
        for total in recall.totals.iter().filter(|total| total.state != State::WithCustomer) {
            let content = total.content.as_ref();
            sheet.row([
                state_word(total.state).into(),
                Value::amount(Some(&total.quantity)),
                Value::amount(content.map(|content| &content.min)),
                Value::amount(content.and_then(|content| content.expected.as_ref())),
                Value::amount(content.map(|content| &content.max)),
            ]);
        }
        self.show(&sheet);
        let example = recall
            .rows
            .iter()
            .filter(|row| row.state == State::WithCustomer && row.tier == lotline_wire::answer::Tier::Certain)
            .min_by_key(|row| row.why.len());
        if let Some(row) = example {
            let (place, batch) = (party_word(&row.place).to_owned(), row.batch.as_ref().map(name).unwrap_or_default());
            self.say(&format!("Each row says why it is there (all times in UTC). {place} has {batch} because:"));
            for (at, step) in row.why.clone().iter().enumerate() {
                let _ = writeln!(self.out, "  {}. {step}", at + 1);
            }
            self.out.push('\n');
        }
        Ok(scoped)
    }

    fn at(&self, known: CommitNo) -> Result<Within, Failure> {
        within(&args::Bounds { as_of: None, as_known_at: Some(known.0.to_string()) }, self.model)
    }

    fn earlier(&mut self, now: &Scoped) -> Result<(), Failure> {
        let story = &self.recorded.story;
        let week_ago = self.recorded.end.plus_micros(-WEEK);
        let then_at = self.at(self.model.known_at(week_ago))?;
        let then = self.suspected(&then_at)?;
        self.title("5. What was known a week earlier?");
        let (before, after) = (&then.customers, &now.customers);
        self.say(&format!(
            "The same question, with the records as they were on {} (commit {}): {} rows, and {} to be told instead of {}. \
             That answer can be asked for at any time, and never changes again.",
            local(week_ago),
            then_at.known(),
            then.answer.rows.len(),
            count(before.len(), "customer"),
            after.len()
        ));
        let gained: Vec<&String> = after.keys().filter(|customer| !before.contains_key(*customer)).collect();
        let lost: Vec<&String> = before.keys().filter(|customer| !after.contains_key(*customer)).collect();
        let mut said = Vec::new();
        if !gained.is_empty() {
            said.push(format!("New since then: {}.", list(gained.iter().map(|one| one.as_str()), 12)));
        }
        if !lost.is_empty() {
            said.push(format!("No longer on the list: {}.", list(lost.iter().map(|one| one.as_str()), 12)));
        }
        let said = said.join(" ");
        let corrected = story.corrected.clone();
        let with = self.model.known_at(corrected.recorded_at);
        let without = CommitNo(with.0 - 1);
        let scope_before = self.suspected(&self.at(without)?)?;
        let scope_after = self.suspected(&self.at(with)?)?;
        if !said.is_empty() {
            self.say(&said);
        }
        let (old, new) = (batches(&scope_before.answer), batches(&scope_after.answer));
        let came: Vec<&str> = new.difference(&old).map(String::as_str).collect();
        let went: Vec<&str> = old.difference(&new).map(String::as_str).collect();
        let reason = self.reason(&corrected.by)?;
        let cause = format!(
            "Some of that is goods that have moved on. The rest is a correction, recorded on {} as event {} (commit {}): \
             the report of run {} had named {} where it was {}, «{reason}». One commit earlier the scope had {} rows, with \
             it {}.",
            local(corrected.recorded_at),
            corrected.by,
            with.0,
            corrected.run.name,
            corrected.wrong,
            corrected.right,
            scope_before.answer.rows.len(),
            scope_after.answer.rows.len()
        );
        self.say(&cause);
        let mut changes = Vec::new();
        if !came.is_empty() {
            changes.push(format!("With it came {} more batches: {}.", came.len(), list(came.into_iter(), 6)));
        }
        if !went.is_empty() {
            changes.push(format!("{} batches went out: {}.", went.len(), list(went.into_iter(), 6)));
        }
        let told: Vec<&str> = scope_after
            .customers
            .keys()
            .filter(|customer| !scope_before.customers.contains_key(*customer))
            .map(String::as_str)
            .collect();
        if !told.is_empty() {
            changes.push(format!("Customers who would not have been told without it: {}.", list(told.into_iter(), 12)));
        }
        if changes.is_empty() {
            changes.push("The same batches stay in the scope; their contents changed.".to_owned());
        }
        changes.push("The wrong report is still in the ledger, beside what corrects it.".to_owned());
        self.say(&changes.join(" "));
        Ok(())
    }

    /// The reason that an event gives, out of its sealed text.
    fn reason(&self, id: &EventId) -> Result<String, Failure> {
        let row = self.event(id)?;
        let reason = row.fact.as_ref().and_then(|fact| fact.get("reason")).and_then(|reason| reason.as_str());
        Ok(reason.unwrap_or("no reason was given").to_owned())
    }

    fn event(&self, id: &EventId) -> Result<HistoryRow, Failure> {
        let subject = answer::history::Subject::Event(id.clone());
        let ring = self.folder.keyring(self.reader)?;
        let history = answer::history::answer(&subject, &self.now, self.reader, self.model.book(), &ring)?;
        let is_it =
            |row: &HistoryRow| row.fact.as_ref().and_then(|fact| fact.get("id")).is_some_and(|own| own == id.as_str());
        history
            .rows
            .into_iter()
            .find(is_it)
            .ok_or_else(|| Failure::new(Exit::No, format!("event {id} is not in the ledger")))
    }

    fn hold(&mut self) -> Result<(), Failure> {
        let held = self.recorded.story.held.clone();
        let question = self.question(&self.now);
        let answer = answer::on_hand::answer(&question, &self.now, &answer::on_hand::Filter::default());
        let covered = answer.rows.iter().filter(|row| row.holds.iter().any(|hold| *hold == held.hold.to_string()));
        let mut sheet = Sheet::new([text("held"), text("place"), number("quantity")]);
        for row in covered {
            sheet.row([name(&row.batch).into(), row.place.as_str().into(), Value::amount(Some(&row.quantity))]);
        }
        let reason = self.reason(&held.event)?;
        let refused = &self.recorded.refused;
        let request = format!(
            "Somebody then asks to ship {} of {}. That is an intent, and it is refused: {}. The refusal is recorded, too, at \
             position {}.",
            quantity(&Amount::from(DomainAmount {
                value: Ratio::from_decimal(refused.quantity.value()),
                unit: refused.quantity.unit()
            })),
            refused.batch,
            refused.rejection.message,
            refused.position
        );
        self.title("6. A hold");
        self.say(&format!(
            "On {} the laboratory set {} on {}: «{reason}». A hold covers the batch and what was and will be made of it. {} \
             of its packs were released later and shipped: {}. What it covers now:",
            local(held.held_at),
            held.hold,
            held.batch,
            held.released.len(),
            list(held.released.iter().map(BatchId::to_string).collect::<Vec<_>>().iter().map(String::as_str), 6)
        ));
        self.show(&sheet);
        self.say(&request);
        Ok(())
    }

    fn exception_rows(&self) -> Result<Vec<ExceptionRow>, Failure> {
        let question = self.question(&self.now);
        let conflicts = answer::exceptions::conflicts(&self.now, self.reader)?;
        Ok(answer::exceptions::answer(&question, &self.now, conflicts).rows)
    }

    fn count(&mut self) -> Result<(), Failure> {
        let count = self.recorded.story.count.clone();
        let rows = self.exception_rows()?;
        let found = rows.iter().find(|row| row.cause == count.event.as_str() && row.kind == "count differs");
        self.title("7. A count that differs");
        let told = match found {
            Some(row) => format!(
                "On {} the room {} was counted. {}. Counting corrects no book by itself: the difference stays open until \
                 somebody finds the reason or writes it off.",
                local(count.counted_at),
                count.at,
                capital(&row.detail)
            ),
            None => format!("The count of {} agrees with the book.", count.batch),
        };
        self.say(&told);
        Ok(())
    }

    fn returned(&mut self) -> Result<(), Failure> {
        let returned = self.recorded.story.returned.clone();
        let scoped = self.recall(&returned.batch, &self.now)?;
        let mut said = Vec::new();
        if let Some(share) = scoped.customers.get(returned.customer.as_str()) {
            said.push(format!(
                "{} has received {} of it in all, and has {} left; in a recall it is told all the same.",
                returned.customer,
                share.ever.words(),
                share.net.words()
            ));
        }
        let back = scoped.answer.rows.iter().filter(|row| row.container.as_deref() == Some(returned.case.as_str()));
        said.extend(
            back.map(|row| format!("The case now stands at {}, with {} of it.", row.place, quantity(&row.quantity))),
        );
        self.title("8. A return");
        self.say(&format!(
            "On {} {} sent back case {} of {}, which had left on pallet {} with shipment {}. {}",
            local(returned.returned_at),
            returned.customer,
            returned.case,
            returned.batch,
            returned.pallet,
            returned.shipment,
            said.join(" ")
        ));
        Ok(())
    }

    fn exceptions(&mut self) -> Result<(), Failure> {
        let rows = self.exception_rows()?;
        let open = rows.iter().filter(|row| row.state == lotline_wire::answer::ExceptionState::Open);
        let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
        open.for_each(|row| *kinds.entry(&row.kind).or_default() += 1);
        let total: u64 = kinds.values().sum();
        let settled = rows.len() as u64 - total;
        self.title("9. What the records cannot explain");
        self.say(&format!(
            "Reports are taken as they come, however inconvenient; what does not fit stays open until something settles it. \
             {total} discrepancies are open, {settled} were settled:"
        ));
        let mut sheet = Sheet::new([text("kind"), number("open"), text("one of them, in words")]);
        for (kind, count) in &kinds {
            let one = rows.iter().find(|row| row.kind == *kind).map(|row| row.detail.clone()).unwrap_or_default();
            sheet.row([(*kind).into(), (*count).into(), one.into()]);
        }
        self.show(&sheet);
        Ok(())
    }

    fn verified(&mut self) -> Result<(), Failure> {
        let (verified, notes) = keep::verified(self.folder)?;
        self.title("10. Was anything changed?");
        let words = keep::words(&verified, &notes);
        for line in words.lines() {
            self.say(line);
        }
        Ok(())
    }

    fn next(&mut self) {
        let dir = self.folder.path().display();
        let story = &self.recorded.story;
        let mut lines = vec![
            format!("lotline on-hand --dir {dir} --place {}", story.held.quarantine),
            format!("lotline trace {} --back --dir {dir} --svg trace.svg", story.cheese),
            format!(
                "lotline recall {} --dir {dir} --as-known-at {}",
                story.suspect,
                self.model.known_at(self.recorded.end.plus_micros(-WEEK)).0
            ),
            format!("lotline history {} --dir {dir}", story.cheese),
            format!("lotline exceptions --dir {dir} --csv"),
            format!("lotline verify --dir {dir}"),
        ];
        self.title("What to try next");
        for line in lines.drain(..) {
            let _ = writeln!(self.out, "  {line}");
        }
    }
}

/// What is there of an item.
#[derive(Default)]
struct Stock {
    batches: BTreeSet<String>,
    inside: Sums,
    in_transit: Sums,
    held: Sums,
}

/// Exact sums, by unit.
#[derive(Default, Clone)]
struct Sums(BTreeMap<String, Option<Ratio>>);

impl Sums {
    fn add(&mut self, amount: &Amount) {
        let value = ratio(amount);
        let sum = self.0.entry(amount.unit.clone()).or_insert(Some(Ratio::ZERO));
        *sum = plus(*sum, value, Ratio::round_to);
    }

    /// Lowers the sum of a unit to what there is.
    fn at_most(&mut self, all: Ratio, unit: Unit) {
        if let Some(sum) = self.0.get_mut(unit.as_str())
            && sum.is_none_or(|sum| all.sub(sum).is_some_and(Ratio::is_negative))
        {
            *sum = Some(all);
        }
    }

    /// All sums but those that are nothing.
    fn words(&self) -> String {
        self.listed(|sum| sum.is_none_or(|sum| !sum.is_zero()))
    }

    /// All sums, also nothing of something.
    fn all_words(&self) -> String {
        self.listed(|_| true)
    }

    fn listed(&self, shown: impl Fn(&Option<Ratio>) -> bool) -> String {
        let words = self.0.iter().filter(|(_, sum)| shown(sum)).map(|(unit, sum)| match sum {
            Some(sum) => {
                let unit = Unit::parse(unit).expect("answers name units");
                quantity(&Amount::from(DomainAmount { value: *sum, unit }))
            }
            None => format!("more {unit} than can be summed up"),
        });
        words.collect::<Vec<_>>().join(" + ")
    }
}

/// The exact value of an answer's amount.
fn ratio(amount: &Amount) -> Option<Ratio> {
    match &amount.exact {
        Some(exact) => {
            let (num, den) = exact.split_once('/')?;
            Ratio::new(num.parse().ok()?, den.parse().ok()?)
        }
        None => amount.value.parse().ok().map(Ratio::from_decimal),
    }
}

/// What one customer has to do with a recall.
#[derive(Default)]
struct Share {
    batches: BTreeSet<String>,
    ever: Sums,
    net: Sums,
    least: Sums,
    expected: Sums,
    /// For some of it nothing can be expected.
    not_expected: bool,
    most: Sums,
    tiers: BTreeSet<&'static str>,
}

impl Share {
    fn link(&self) -> String {
        self.tiers.iter().copied().collect::<Vec<_>>().join(", ")
    }
}

/// A recall scope, and whom it concerns.
struct Scoped {
    answer: Recall,
    customers: BTreeMap<String, Share>,
}

/// The customers of a scope who ever received something that is not cleared, also if it has left them again.
fn customers(question: &Question<'_>, scope: &engine::Scope, answer: &Recall) -> BTreeMap<String, Share> {
    let mut found: BTreeMap<String, Share> = BTreeMap::new();
    for (row, told) in scope.rows.iter().zip(&answer.rows).filter(|(row, _)| row.tier != engine::Tier::Cleared) {
        let Some(party) = told.place.strip_prefix("party:") else { continue };
        let share = found.entry(party.to_owned()).or_default();
        share.batches.extend(told.batch.as_ref().map(name));
        told.ever_received.iter().for_each(|ever| share.ever.add(ever));
        told.net.iter().for_each(|net| share.net.add(net));
        share.tiers.insert(tier_word(told.tier));
        // What has left a customer has its content elsewhere.
        let content = by_mass(question, row);
        let amount = |value: Ratio| Amount::from(DomainAmount { value, unit: content.unit });
        share.least.add(&amount(content.min));
        content.expected.iter().for_each(|expected| share.expected.add(&amount(*expected)));
        share.not_expected |= content.expected.is_none();
        share.most.add(&amount(content.max));
    }
    // Nobody has more of the suspects than there ever was of them.
    if let Some(all) = suspect_matter(question, scope) {
        found.values_mut().for_each(|share| share.most.at_most(all, Unit::KILOGRAM));
    }
    found
}

/// The batches of a scope that are not cleared.
fn batches(recall: &Recall) -> BTreeSet<String> {
    let concerned = |row: &&RecallRow| row.tier != lotline_wire::answer::Tier::Cleared;
    recall.rows.iter().filter(concerned).filter_map(|row| row.batch.as_ref()).map(name).collect()
}

/// A trace, ready to be told.
struct Traced {
    batches: Vec<(BatchRef, &'static str)>,
    runs: usize,
    vessels: usize,
    suppliers: BTreeSet<String>,
    picture: PathBuf,
}

impl Traced {
    fn of_item(&self, item: &str) -> usize {
        self.batches
            .iter()
            .filter(|(batch, _)| matches!(batch, BatchRef::Known(id) if id.item.as_str() == item))
            .count()
    }

    fn sheet(&self) -> Sheet {
        let mut items: BTreeMap<String, (BTreeMap<&str, u64>, u64)> = BTreeMap::new();
        for (batch, tier) in &self.batches {
            let item = match batch {
                BatchRef::Known(id) => id.item.to_string(),
                BatchRef::Code(_) => "(code only)".to_owned(),
            };
            let entry = items.entry(item).or_default();
            *entry.0.entry(tier).or_default() += 1;
            entry.1 += 1;
        }
        let mut sheet =
            Sheet::new([text("item"), number("batches"), number("certain"), number("possible"), number("cleared")]);
        for (item, (tiers, all)) in &items {
            let tier = |word: &str| Value::from(tiers.get(word).map_or_else(String::new, u64::to_string));
            sheet.row([item.as_str().into(), (*all).into(), tier("certain"), tier("possible"), tier("cleared")]);
        }
        sheet
    }
}

fn party_name(place: &Place) -> String {
    match place {
        Place::Party(party) => party.to_string(),
        other => other.to_string(),
    }
}

fn party_word(place: &str) -> &str {
    place.strip_prefix("party:").unwrap_or(place)
}

fn list<'t>(words: impl Iterator<Item = &'t str>, most: usize) -> String {
    let all: Vec<&str> = words.collect();
    let shown = all.iter().take(most).copied().collect::<Vec<_>>().join(", ");
    if all.len() > most { format!("{shown} and {} more", all.len() - most) } else { shown }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().collect::<String>() + letters.as_str())
}

/// A moment as the dairy's clocks show it.
fn local(at: Instant) -> String {
    let offset = FixedOffset::east_opt(OFFSET_MINUTES * 60).expect("less than a day");
    match DateTime::from_timestamp_micros(at.0) {
        Some(at) => at.with_timezone(&offset).format("%-d %B %Y, %H:%M").to_string(),
        None => at.to_string(),
    }
}
