//! What is in a plant, found in its facts and not in how it was made.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use lotline_domain::fact::{Correction, Event, Fact, Input, Line};
use lotline_domain::id::{BatchRef, Place};
use lotline_domain::time::Precision;
use lotline_domain::unit::Unit;

use super::Plant;

/// Something that makes a plant hard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Feature {
    Rework,
    Containers,
    NestedContainers,
    ShippedByContainer,
    Vessels,
    DrawBeforeFill,
    Cleans,
    Voids,
    Supersessions,
    CorrectionsOfCorrections,
    CorrectionsOfUnknown,
    LateFacts,
    MissingSources,
    UnknownQuantities,
    Ties,
    Sequences,
    RunsInParts,
    Mapping,
    Windows,
    SplitsAndMerges,
    CatchWeights,
    OtherUnits,
    Factors,
    Holds,
    Releases,
    Counts,
    Adjustments,
    Returns,
    Sightings,
    BareCodes,
    AmbiguousCodes,
    Labels,
    Days,
    ExpiryDates,
    TimeZones,
    Duplicates,
}

impl Feature {
    /// Those of which the laws want at least a tenth of all plants.
    pub const WANTED: [Self; 10] = [
        Self::Rework,
        Self::Containers,
        Self::Vessels,
        Self::Voids,
        Self::LateFacts,
        Self::MissingSources,
        Self::UnknownQuantities,
        Self::Ties,
        Self::ExpiryDates,
        Self::TimeZones,
    ];
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Of these plants, how many have each feature: features without a plant are missing.
pub fn shares<'a>(plants: impl IntoIterator<Item = &'a Plant>) -> BTreeMap<Feature, (usize, usize)> {
    let mut counts: BTreeMap<Feature, usize> = BTreeMap::new();
    let mut total = 0;
    for plant in plants {
        total += 1;
        for feature in features_of(plant) {
            *counts.entry(feature).or_default() += 1;
        }
    }
    counts.into_iter().map(|(feature, count)| (feature, (count, total))).collect()
}

/// What a plant has.
pub fn features_of(plant: &Plant) -> BTreeSet<Feature> {
    let mut found = BTreeSet::new();
    let mut seen_ids = BTreeSet::new();
    let mut latest = None;
    let mut instants = BTreeSet::new();
    for command in &plant.commands {
        let event = &command.event;
        if !seen_ids.insert(event.id.clone()) {
            found.insert(Feature::Duplicates);
            continue;
        }
        of_fact(&event.fact, &mut found);
        of_dates(&event.fact, &mut found);
        if event.sequence.is_some() {
            found.insert(Feature::Sequences);
        }
        if event.occurred_at.precision == Precision::Day {
            found.insert(Feature::Days);
        }
        if is_definition(event) {
            continue;
        }
        if !instants.insert(event.occurred_at.instant) {
            found.insert(Feature::Ties);
        }
        if latest.is_some_and(|latest| event.occurred_at.instant < latest) {
            found.insert(Feature::LateFacts);
        }
        latest = latest.max(Some(event.occurred_at.instant));
    }
    over_several(plant, &mut found);
    found
}

fn is_definition(event: &Event) -> bool {
    matches!(
        event.fact,
        Fact::ItemDefined { .. }
            | Fact::PlaceDefined { .. }
            | Fact::VesselDefined { .. }
            | Fact::PartyDefined { .. }
            | Fact::FactorDefined { .. }
            | Fact::PolicySet { .. }
            | Fact::Labelled { .. }
    )
}

fn of_fact(fact: &Fact, found: &mut BTreeSet<Feature>) {
    match fact {
        Fact::Received { lines, containers, from, .. } => {
            of_lines(lines, false, found);
            if from.is_none() && !lines.is_empty() {
                found.insert(Feature::MissingSources);
            }
            if !containers.is_empty() {
                found.insert(Feature::Containers);
            }
        }
        Fact::Produced(report) => of_run(report, found),
        Fact::Moved { lines, .. } | Fact::Disposed { lines, .. } | Fact::VesselFilled { lines, .. } => {
            of_lines(lines, true, found)
        }
        Fact::Packed { lines, containers, .. } => {
            found.insert(Feature::Containers);
            of_lines(lines, true, found);
            if !containers.is_empty() {
                found.insert(Feature::NestedContainers);
            }
        }
        Fact::Unpacked { lines, .. } => {
            found.insert(Feature::Containers);
            of_lines(lines, false, found);
        }
        Fact::ContainerMoved { to, .. } => {
            found.insert(Feature::Containers);
            if matches!(to, Place::Container(_)) {
                found.insert(Feature::NestedContainers);
            }
        }
        Fact::ContainerEmptied { .. } => {
            found.insert(Feature::Containers);
        }
        Fact::Shipped { lines, containers, .. } => {
            of_lines(lines, true, found);
            if !containers.is_empty() {
                found.extend([Feature::Containers, Feature::ShippedByContainer]);
            }
        }
        Fact::Delivered { lines, .. } => of_lines(lines, false, found),
        Fact::Returned { lines, .. } => {
            found.insert(Feature::Returns);
            of_lines(lines, false, found);
        }
        Fact::Seen { lines, .. } => {
            found.extend([Feature::Sightings, Feature::MissingSources]);
            of_lines(lines, false, found);
        }
        Fact::Held { .. } => {
            found.insert(Feature::Holds);
        }
        Fact::Released { .. } => {
            found.insert(Feature::Releases);
        }
        Fact::Counted { lines, .. } => {
            found.insert(Feature::Counts);
            of_lines(lines, false, found);
        }
        Fact::Adjusted { .. } => {
            found.insert(Feature::Adjustments);
        }
        Fact::VesselDrawn { quantity, .. } => {
            found.insert(Feature::Vessels);
            if quantity.is_none() {
                found.insert(Feature::UnknownQuantities);
            }
        }
        Fact::VesselCleaned { .. } => found.extend([Feature::Vessels, Feature::Cleans]),
        Fact::FactorDefined { .. } => {
            found.insert(Feature::Factors);
        }
        Fact::Labelled { .. } => {
            found.insert(Feature::Labels);
        }
        Fact::Corrected { correction, .. } => {
            found.insert(if *correction == Correction::Void { Feature::Voids } else { Feature::Supersessions });
        }
        _ => {}
    }
    if matches!(fact, Fact::VesselFilled { .. }) {
        found.insert(Feature::Vessels);
    }
}

fn of_dates(fact: &Fact, found: &mut BTreeSet<Feature>) {
    let told = match fact {
        Fact::Received { lines, .. } => lines.iter().any(|line| line.expires.is_some()),
        Fact::Produced(report) => report.outputs.iter().any(|output| output.expires.is_some()),
        Fact::VesselDrawn { expires, .. } => expires.is_some(),
        Fact::PlaceDefined { time_zone: Some(_), .. } => {
            found.insert(Feature::TimeZones);
            false
        }
        _ => false,
    };
    if told {
        found.insert(Feature::ExpiryDates);
    }
}

fn of_lines(lines: &[Line], source_wanted: bool, found: &mut BTreeSet<Feature>) {
    for line in lines {
        of_quantity(line.quantity.map(|q| q.unit()), line.second.is_some(), found);
        if matches!(line.batch, BatchRef::Code(_)) {
            found.insert(Feature::BareCodes);
        }
        if source_wanted && line.from.is_none() {
            found.insert(Feature::MissingSources);
        }
    }
}

fn of_quantity(unit: Option<Unit>, second: bool, found: &mut BTreeSet<Feature>) {
    match unit {
        None => {
            found.insert(Feature::UnknownQuantities);
        }
        Some(unit) if ![Unit::KILOGRAM, Unit::LITRE, Unit::ONE].contains(&unit) => {
            found.insert(Feature::OtherUnits);
        }
        Some(_) => {}
    }
    if second {
        found.insert(Feature::CatchWeights);
    }
}

fn of_run(report: &lotline_domain::fact::RunReport, found: &mut BTreeSet<Feature>) {
    if report.kind != lotline_domain::fact::RunKind::Production {
        found.insert(Feature::SplitsAndMerges);
    }
    if !report.mapping.is_empty() {
        found.insert(Feature::Mapping);
    }
    for Input { batch, quantity, second, from, window } in &report.inputs {
        of_quantity(quantity.map(|q| q.unit()), second.is_some(), found);
        if matches!(batch, Some(BatchRef::Code(_))) {
            found.insert(Feature::BareCodes);
        }
        if from.is_none() && report.at.is_none() {
            found.insert(Feature::MissingSources);
        }
        if window.is_some() {
            found.insert(Feature::Windows);
        }
    }
    for output in &report.outputs {
        of_quantity(output.quantity.map(|q| q.unit()), output.second.is_some(), found);
        if output.window.is_some() {
            found.insert(Feature::Windows);
        }
    }
}

/// What only several events together show.
fn over_several(plant: &Plant, found: &mut BTreeSet<Feature>) {
    let ids: BTreeSet<_> = plant.commands.iter().map(|c| &c.event.id).collect();
    let mut runs: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    let mut legs: BTreeMap<_, (BTreeSet<BatchRef>, BTreeSet<BatchRef>)> = BTreeMap::new();
    let mut codes: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    let mut first_fill: BTreeMap<_, _> = BTreeMap::new();
    let mut first_draw: BTreeMap<_, _> = BTreeMap::new();
    for command in &plant.commands {
        let event = &command.event;
        let at = event.occurred_at.instant;
        match &event.fact {
            Fact::Corrected { target, .. } => match plant.commands.iter().find(|c| c.event.id == *target) {
                Some(found_target) if matches!(found_target.event.fact, Fact::Corrected { .. }) => {
                    found.insert(Feature::CorrectionsOfCorrections);
                }
                Some(_) => {}
                None => {
                    debug_assert!(!ids.contains(target));
                    found.insert(Feature::CorrectionsOfUnknown);
                }
            },
            Fact::Produced(report) => {
                runs.entry(&report.run).or_default().insert(&event.id);
                let both = legs.entry(&report.run).or_default();
                both.0.extend(report.inputs.iter().filter_map(|input| input.batch.clone()));
                both.1.extend(report.outputs.iter().map(|output| output.batch.clone()));
                for batch in report.outputs.iter().map(|output| &output.batch) {
                    note_code(batch, &mut codes);
                }
            }
            Fact::Received { lines, .. } => lines.iter().for_each(|line| note_code(&line.batch, &mut codes)),
            Fact::VesselFilled { vessel, .. } => {
                let first = first_fill.entry(vessel).or_insert(at);
                *first = (*first).min(at);
            }
            Fact::VesselDrawn { vessel, .. } => {
                let first = first_draw.entry(vessel).or_insert(at);
                *first = (*first).min(at);
            }
            _ => {}
        }
    }
    if runs.values().any(|reports| reports.len() > 1) {
        found.insert(Feature::RunsInParts);
    }
    if codes.values().any(|batches| batches.len() > 1) {
        found.insert(Feature::AmbiguousCodes);
    }
    if first_draw.iter().any(|(vessel, draw)| first_fill.get(vessel).is_none_or(|fill| draw < fill)) {
        found.insert(Feature::DrawBeforeFill);
    }
    if has_circle(legs.values()) {
        found.insert(Feature::Rework);
    }
}

fn note_code<'a>(batch: &'a BatchRef, codes: &mut BTreeMap<&'a str, BTreeSet<&'a BatchRef>>) {
    if let BatchRef::Known(id) = batch {
        codes.entry(id.code.as_str()).or_default().insert(batch);
    }
}

/// Whether some batch is made of itself over runs.
fn has_circle<'a>(runs: impl Iterator<Item = &'a (BTreeSet<BatchRef>, BTreeSet<BatchRef>)>) -> bool {
    let mut children: BTreeMap<&BatchRef, BTreeSet<&BatchRef>> = BTreeMap::new();
    for (inputs, outputs) in runs {
        for input in inputs {
            children.entry(input).or_default().extend(outputs);
        }
    }
    children.keys().any(|start| {
        let mut seen = BTreeSet::new();
        let mut todo = vec![*start];
        while let Some(next) = todo.pop() {
            for child in children.get(next).into_iter().flatten() {
                if child == start {
                    return true;
                }
                if seen.insert(*child) {
                    todo.push(child);
                }
            }
        }
        false
    })
}
