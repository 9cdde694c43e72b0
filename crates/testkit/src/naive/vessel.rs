//! Section 7: what is in a vessel, and of which fills each draw is made.

use std::collections::BTreeMap;

use lotline_domain::fact::MixModel;
use lotline_domain::id::EventId;
use lotline_domain::unit::Unit;

use super::names::Batch;
use super::number::{Number, billionth, floor_nine, least, not_below_zero, zero};
use super::steps::Key;
use super::walk::Tier;

/// Something that went in.
#[derive(Debug, Clone)]
pub struct Fill {
    pub batch: Batch,
    pub key: Key,
    /// The flows that it is, by their index among all flows: one for each slice that it was taken from.
    pub flows: Vec<usize>,
    /// In the base unit of its batch.
    pub base: Option<Number>,
    /// In the vessel's unit.
    pub amount: Option<Number>,
    /// What is left of `amount`.
    pub left: Number,
    /// Which unit `amount` is in, where the vessel has no common one.
    pub unit: Unit,
}

/// Something that was drawn.
#[derive(Debug, Clone)]
pub struct Draw {
    pub batch: Batch,
    pub key: Key,
    pub amount: Option<Number>,
    pub unit: Unit,
    /// What the vessel still owes it.
    pub debt: Number,
    /// It was more than the vessel held.
    pub overdrawn: bool,
}

/// A link from a fill to a draw.
#[derive(Debug, Clone)]
pub struct Link {
    pub fill: usize,
    pub draw: usize,
    /// In the vessel's unit; `None` is unknown.
    pub amount: Option<Number>,
    pub tier: Tier,
    pub residue: bool,
}

/// What a draw is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrawContent {
    /// The vessel's unit.
    pub unit: String,
    /// How much was drawn, where that is known.
    pub drawn: Option<Number>,
    /// How much of each batch, by the mix model; links of unknown content or of residue are 0 here.
    pub parts: BTreeMap<String, Number>,
    /// Batches that have touched it and are not in it.
    pub residue: Vec<String>,
}

#[derive(Debug, Clone)]
struct Clean {
    key: Key,
    sufficient: bool,
}

/// One vessel.
#[derive(Debug, Clone)]
pub struct Vessel {
    pub mix: MixModel,
    pub fills: Vec<Fill>,
    pub draws: Vec<Draw>,
    pub links: Vec<Link>,
    /// What records took of a batch by its name beyond what the model has of it, by unit (ruling 18).
    pub missing: BTreeMap<(Batch, Unit), Number>,
    cleans: Vec<Clean>,
    /// Something of unknown quantity went in since the last clean.
    pub open: bool,
}

impl Fill {
    /// Adds another part of the same statement.
    fn join(&mut self, other: Self) {
        let sum = |a: &Option<Number>, b: Option<Number>| a.as_ref().zip(b).map(|(a, b)| a + b);
        self.base = sum(&self.base, other.base);
        self.amount = sum(&self.amount, other.amount);
        self.left += other.left;
        self.flows.extend(other.flows);
    }
}

/// What a part of a fill is in the base unit of its batch.
pub fn in_base(fill: &Fill, part: &Number) -> Option<Number> {
    let (base, amount) = (fill.base.as_ref()?, fill.amount.as_ref()?);
    if *amount == zero() { Some(zero()) } else { Some(base * part / amount) }
}

impl Vessel {
    pub fn new(mix: MixModel) -> Self {
        Self {
            mix,
            fills: Vec::new(),
            draws: Vec::new(),
            links: Vec::new(),
            missing: BTreeMap::new(),
            cleans: Vec::new(),
            open: false,
        }
    }

    /// The sum of the layers.
    fn layers(&self, unit: Unit) -> Number {
        self.fills.iter().filter(|fill| fill.unit == unit).fold(zero(), |sum, fill| sum + &fill.left)
    }

    /// What can be drawn.
    fn there(&self, unit: Unit) -> Number {
        let missing = self.missing.iter().filter(|((_, of), _)| *of == unit);
        not_below_zero(&missing.fold(self.layers(unit), |sum, (_, missing)| sum - missing))
    }

    /// What went in less what went out, by unit.
    pub fn totals(&self) -> BTreeMap<Unit, Number> {
        let mut totals: BTreeMap<Unit, Number> = BTreeMap::new();
        for fill in &self.fills {
            *totals.entry(fill.unit).or_insert_with(zero) += &fill.left;
        }
        for draw in &self.draws {
            *totals.entry(draw.unit).or_insert_with(zero) -= &draw.debt;
        }
        for ((_, unit), missing) in &self.missing {
            *totals.entry(*unit).or_insert_with(zero) -= missing;
        }
        totals
    }

    /// Adds a fill: first it pays what the vessel owes, as possible links. Returns which fill it is now, and
    /// what went to which draw.
    ///
    /// What one statement fills of one batch is one layer, from however many slices it was taken (ruling 18).
    pub fn fill(&mut self, mut fill: Fill) -> (usize, Vec<(usize, Number)>) {
        let same = |known: &Fill| {
            known.batch == fill.batch
                && (&known.key.event, known.key.leg) == (&fill.key.event, fill.key.leg)
                && known.unit == fill.unit
        };
        let known = self.fills.iter().position(|known| same(known) && known.amount.is_some() && fill.amount.is_some());
        let index = known.unwrap_or(self.fills.len());
        let mut paid = Vec::new();
        match &fill.amount {
            None => self.open = true,
            Some(amount) => {
                fill.left = amount.clone();
                for (draw, owed) in self.draws.iter_mut().enumerate() {
                    let part = least(&fill.left, &owed.debt);
                    if owed.unit == fill.unit && part > zero() {
                        owed.debt -= &part;
                        fill.left -= &part;
                        self.links.push(Link {
                            fill: index,
                            draw,
                            amount: Some(part.clone()),
                            tier: Tier::Possible,
                            residue: false,
                        });
                        paid.push((draw, part));
                    }
                }
            }
        }
        match known {
            None => self.fills.push(fill),
            Some(known) => self.fills[known].join(fill),
        }
        (index, paid)
    }

    /// Draws. Returns what came from which fill.
    pub fn draw(&mut self, mut draw: Draw) -> Vec<(usize, Number)> {
        let index = self.draws.len();
        let uncut = self.uncut();
        let mut parts = Vec::new();
        if let Some(amount) = &draw.amount {
            let there = self.there(draw.unit);
            parts = self.split(&least(amount, &there), draw.unit);
            let short = amount - &there;
            if short > zero() && !self.open {
                draw.overdrawn = true;
                draw.debt = short;
            }
        }
        for fill in uncut {
            let part = parts.iter().find(|(of, _)| *of == fill).map(|(_, part)| part.clone());
            let known = &self.fills[fill];
            let link = match part {
                Some(part) => Some((Some(part), Tier::Certain, false)),
                None if draw.amount.is_none() || known.amount.is_none() => Some((None, Tier::Possible, false)),
                None if known.amount.as_ref().is_some_and(|amount| known.left < *amount) => {
                    Some((Some(zero()), Tier::Possible, true))
                }
                None => None,
            };
            if let Some((amount, tier, residue)) = link {
                self.links.push(Link { fill, draw: index, amount, tier, residue });
            }
        }
        for (fill, part) in &parts {
            self.fills[*fill].left -= part;
        }
        self.draws.push(draw);
        parts
    }

    /// Fills that no sufficient clean has cut off.
    fn uncut(&self) -> Vec<usize> {
        let cut = self.cleans.iter().filter(|clean| clean.sufficient).map(|clean| clean.key.instant).max();
        (0..self.fills.len()).filter(|fill| cut.is_none_or(|cut| self.fills[*fill].key.instant >= cut)).collect()
    }

    fn split(&self, amount: &Number, unit: Unit) -> Vec<(usize, Number)> {
        let filled: Vec<usize> =
            (0..self.fills.len()).filter(|i| self.fills[*i].unit == unit && self.fills[*i].left > zero()).collect();
        let mut parts = match self.mix {
            MixModel::FirstInFirstOut => self.oldest_first(amount, &filled),
            MixModel::Full => self.in_proportion(amount, &filled, &self.layers(unit)),
        };
        parts.retain(|(_, part)| *part > zero());
        parts
    }

    fn oldest_first(&self, amount: &Number, filled: &[usize]) -> Vec<(usize, Number)> {
        let mut wanted = amount.clone();
        let mut parts = Vec::new();
        for fill in filled {
            let part = least(&wanted, &self.fills[*fill].left);
            wanted -= &part;
            parts.push((*fill, part));
        }
        parts
    }

    /// Largest remainder, to nine decimals; ties by batch, then in order of filling.
    fn in_proportion(&self, amount: &Number, filled: &[usize], total: &Number) -> Vec<(usize, Number)> {
        if *amount == *total || *total == zero() {
            return filled.iter().map(|fill| (*fill, self.fills[*fill].left.clone())).collect();
        }
        let exact = |fill: usize| amount * &self.fills[fill].left / total;
        let mut parts: Vec<(usize, Number)> = filled.iter().map(|fill| (*fill, floor_nine(&exact(*fill)))).collect();
        let mut rest = parts.iter().fold(amount.clone(), |rest, (_, part)| rest - part);
        parts.sort_by_cached_key(|(fill, part)| {
            (std::cmp::Reverse(exact(*fill) - part), self.fills[*fill].batch.to_string(), *fill)
        });
        // CHOICE: what is finer than nine decimals stays with the last part that gets a remainder, and no
        // part exceeds what is left of its fill.
        while rest > zero() {
            let mut given = false;
            for (fill, part) in &mut parts {
                let more = least(&least(&billionth(), &rest), &(&self.fills[*fill].left - &*part));
                if more > zero() {
                    *part += &more;
                    rest -= more;
                    given = true;
                }
            }
            if !given {
                break;
            }
        }
        parts.sort_by_key(|(fill, _)| *fill);
        parts
    }

    /// Cleans. Returns what the book still had, by fill, which is gone now.
    pub fn clean(&mut self, key: &Key, sufficient: bool) -> Vec<(usize, Number)> {
        let own = |fill: &Fill| fill.key.instant == key.instant;
        let mut gone = Vec::new();
        let units: Vec<Unit> = self.totals().into_keys().collect();
        for unit in units {
            let fresh =
                self.fills.iter().filter(|fill| own(fill) && fill.unit == unit).filter_map(|fill| fill.amount.clone());
            let total = self.totals().remove(&unit).unwrap_or_else(zero);
            let mut over = not_below_zero(&(total - fresh.fold(zero(), |sum, amount| sum + amount)));
            for (index, fill) in self.fills.iter_mut().enumerate().filter(|(_, fill)| fill.unit == unit) {
                let part = least(&over, &fill.left);
                if part > zero() {
                    fill.left -= &part;
                    over -= &part;
                    gone.push((index, part));
                }
            }
        }
        self.open = self.open && self.fills.iter().any(|fill| own(fill) && fill.amount.is_none());
        self.cleans.push(Clean { key: key.clone(), sufficient });
        gone
    }

    /// What a batch still has in it, in its base unit, and whether that is all.
    pub fn holds(&self, batch: &Batch) -> (Number, bool) {
        let of = self.fills.iter().filter(|fill| fill.batch == *batch);
        let mut sum = zero();
        let mut unknown = false;
        for fill in of {
            match in_base(fill, &fill.left) {
                Some(base) => sum += base,
                // The amount in the base unit is known even where the vessel's is not.
                None => {
                    unknown = true;
                    if let (Some(base), None) = (&fill.base, &fill.amount) {
                        sum += base;
                    }
                }
            }
        }
        (sum, unknown)
    }

    /// Takes a named batch out by another fact than a draw. CHOICE: its own layers, oldest first.
    /// Returns what was taken from which fill.
    pub fn take_named(&mut self, batch: &Batch, base: &Number) -> Vec<(usize, Number)> {
        let mut wanted = base.clone();
        let mut taken = Vec::new();
        for (index, fill) in self.fills.iter_mut().enumerate().filter(|(_, fill)| fill.batch == *batch) {
            let Some(there) = in_base(fill, &fill.left) else { continue };
            let part = least(&wanted, &there);
            if part > zero() {
                let share = &fill.left * &part / &there;
                fill.left -= &share;
                wanted -= &part;
                taken.push((index, part));
            }
        }
        taken
    }

    /// What the draws of one event and leg are made of.
    pub fn content(&self, draw: usize) -> DrawContent {
        let Draw { amount, unit, .. } = &self.draws[draw];
        let mut content =
            DrawContent { unit: unit.to_string(), drawn: amount.clone(), parts: BTreeMap::new(), residue: Vec::new() };
        for link in self.links.iter().filter(|link| link.draw == draw) {
            let batch = self.fills[link.fill].batch.to_string();
            if link.residue {
                content.residue.push(batch);
            } else {
                *content.parts.entry(batch).or_insert_with(zero) += link.amount.clone().unwrap_or_else(zero);
            }
        }
        content
    }

    /// The draw of an event.
    pub fn draw_of(&self, event: &EventId, leg: u32) -> Option<usize> {
        self.draws.iter().position(|draw| draw.key.event == *event && draw.key.leg == leg)
    }

    /// Draws that were more than there was, and whether a fill has repaid them since.
    pub fn overdrawn(&self) -> impl Iterator<Item = (&Draw, bool)> {
        self.draws.iter().filter(|draw| draw.overdrawn).map(|draw| (draw, draw.debt == zero()))
    }
}
