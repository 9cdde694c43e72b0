mod book;
mod genealogy;

use std::collections::{HashMap, HashSet};

use lotline_domain::command::Mode;
use lotline_domain::fact::{Correction, Fact, RunReport};
use lotline_domain::id::{BatchRef, EventId};

use super::{Dairy, Options, STORY_DAYS, Story, Told};
use book::Book;

fn options(seed: u64, days: u32, scale: u32) -> Options {
    Options { seed, days, scale, ..Options::default() }
}

fn told(seed: u64, days: u32) -> (Vec<Told>, Story) {
    let (told, story) = Dairy::new(options(seed, days, 1)).collect_all();
    (told, story.expect("enough days for the story"))
}

fn reports(told: &[Told]) -> impl Iterator<Item = (&EventId, &RunReport)> {
    told.iter().filter_map(|told| match &told.command.event.fact {
        Fact::Produced(report) => Some((&told.command.event.id, report)),
        _ => None,
    })
}

fn names(report: &RunReport, batch: &lotline_domain::id::BatchId) -> bool {
    let wanted = Some(BatchRef::Known(batch.clone()));
    report.inputs.iter().any(|input| input.batch == wanted)
}

#[test]
fn books_are_tidy_but_for_one_shortage_and_one_count() {
    for seed in 1..=8 {
        let (told, story) = told(seed, 21);
        let book = Book::of(&told);
        let shortage = (story.shortage.batch.clone(), story.shortage.taken_at.to_string());
        assert_eq!(book.short, HashSet::from([shortage]), "seed {seed}: slices that went below zero");
        // Earlier differences were written off on the next day, to the gram.
        let differing = book.counts.iter().filter(|count| count.book != count.counted);
        let (off, open): (Vec<_>, Vec<_>) =
            differing.partition(|count| book.written_off.get(&count.batch) == Some(&(count.book - count.counted)));
        assert_eq!((off.len(), open.len()), (1, 1), "seed {seed}: {open:?}");
        assert_eq!(open[0].batch, story.count.batch);
        assert_eq!(open[0].book, book::grams(&story.count.book));
        assert_eq!(open[0].counted, book::grams(&story.count.counted));
        assert!(book.counts.len() > 1, "seed {seed}: some lines agree");
        let left = &book.balance[&(story.shortage.batch.clone(), story.shortage.left_at.to_string())];
        assert_eq!(left.grams, book::grams(&story.shortage.quantity), "seed {seed}");
    }
}

#[test]
fn books_of_many_sites_and_cycles_have_no_other_shortage_than_lost_slips() {
    let (told, _) = Dairy::new(options(5, 45, 4)).collect_all();
    let book = Book::of(&told);
    // Fourteen days a cycle and four sites: at least two full cycles each.
    assert!((8..=16).contains(&book.short.len()), "{} shortages", book.short.len());
    assert!(book.short.iter().all(|(_, place)| place.ends_with("packing-hall")), "{:?}", book.short);
    for (name, balance) in &book.runs {
        assert_eq!(*balance, 0, "run {name}");
    }
}

#[test]
fn every_run_balances_to_the_gram() {
    let (told, _) = told(3, 21);
    let book = Book::of(&told);
    assert!(book.runs.len() > 300, "{} runs", book.runs.len());
    for (name, balance) in &book.runs {
        assert_eq!(*balance, 0, "run {name}");
    }
}

#[test]
fn every_shipped_container_was_packed_and_its_cases_too() {
    let (told, _) = told(4, 21);
    let mut loose = HashSet::new();
    let mut stacked: HashMap<_, Vec<_>> = HashMap::new();
    for told in &told {
        if let Fact::Packed { container, lines, containers, .. } = &told.command.event.fact {
            if containers.is_empty() {
                assert!(!lines.is_empty() && loose.insert(container.clone()), "{container:?} is packed once");
            } else {
                assert!(
                    stacked.insert(container.clone(), containers.clone()).is_none(),
                    "{container:?} is stacked once"
                );
            }
        }
    }
    let mut shipped = 0;
    for told in &told {
        if let Fact::Shipped { containers, .. } = &told.command.event.fact {
            for pallet in containers {
                let cases = stacked.remove(pallet).expect("a shipped pallet was stacked, and ships once");
                assert!(cases.iter().all(|case| loose.remove(case)), "every case was packed and is on one pallet");
                shipped += 1;
            }
        }
    }
    assert!(shipped > 60, "{shipped} pallets shipped");
}

#[test]
fn container_codes_have_right_check_digits() {
    let (told, _) = Dairy::new(options(4, 6, 3)).collect_all();
    let mut seen = HashSet::new();
    for told in &told {
        if let Fact::Packed { container, .. } = &told.command.event.fact {
            let digits: Vec<u32> = container.as_str().chars().map(|c| c.to_digit(10).expect("a digit")).collect();
            assert_eq!(digits.len(), 18);
            let sum: u32 = digits.iter().enumerate().map(|(at, digit)| digit * if at % 2 == 0 { 3 } else { 1 }).sum();
            assert_eq!(sum % 10, 0, "{container}");
            seen.insert(container.clone());
        }
    }
    assert!(seen.len() > 200, "{} containers", seen.len());
}

#[test]
fn one_seed_tells_one_story_and_two_seeds_tell_two() {
    let (first, story) = told(11, 16);
    let (again, same) = told(11, 16);
    assert_eq!((first.len(), &story), (again.len(), &same));
    assert!(first == again);
    let (other, different) = told(12, 16);
    assert!(first != other);
    assert_ne!(story.suspect, different.suspect);
    assert_ne!(story.count.book, different.count.book);
}

#[test]
fn streamed_and_collected_are_the_same_and_little_is_kept_between_days() {
    let (collected, _) = Dairy::new(options(2, 40, 2)).collect_all();
    let mut dairy = Dairy::new(options(2, 40, 2));
    let mut most = 0;
    for (at, expected) in collected.iter().enumerate() {
        assert_eq!(dairy.next().as_ref(), Some(expected), "at {at}");
        most = most.max(dairy.ready.len() + dairy.teller.waiting());
    }
    assert_eq!(dairy.next(), None);
    assert!(most < collected.len() / 20, "{most} of {} kept", collected.len());
}

#[test]
fn events_grow_linearly_with_days_and_with_scale() {
    let count = |days, scale| Dairy::new(options(9, days, scale)).count() as i64;
    let (short, long, wide) = (count(60, 1), count(120, 1), count(60, 3));
    let month = count(90, 1) - short;
    assert!(((long - short) - 2 * month).abs() < month / 20, "{short} {month} {long}");
    assert!((wide - 3 * short).abs() < short / 10, "{short} {wide}");
}

#[test]
fn recording_times_rise_strictly_and_never_precede_what_happened() {
    let (all, _) = told(6, 21);
    let end = Dairy::new(options(6, 21, 1)).end();
    let mut late = 0;
    for pair in all.windows(2) {
        assert!(pair[0].recorded_at < pair[1].recorded_at);
    }
    for told in &all {
        let happened = told.command.event.occurred_at.instant;
        assert!(told.recorded_at >= happened && told.recorded_at <= end, "{told:?}");
        late += i64::from(told.recorded_at.0 - happened.0 > 86_400_000_000);
        assert_eq!(told.command.mode, Mode::Observation);
        assert_eq!(told.command.event.id.as_str(), told.command.event.command.as_str());
    }
    assert!(late > 10, "{late} facts are recorded more than a day late");
    let ids: HashSet<_> = all.iter().map(|told| &told.command.event.id).collect();
    assert_eq!(ids.len(), all.len());
}

#[test]
fn sources_are_missing_now_and_then() {
    let (told, _) = told(6, 21);
    let (mut moved, mut without) = (0, 0);
    for told in &told {
        if let Fact::Moved { lines, .. } | Fact::VesselFilled { lines, .. } = &told.command.event.fact {
            moved += lines.len();
            without += lines.iter().filter(|line| line.from.is_none()).count();
        }
    }
    assert!(without * 50 > moved && without * 5 < moved, "{without} of {moved}");
}

#[test]
fn some_processed_cheese_is_its_own_ancestor() {
    let (told, _) = told(7, 21);
    let mut made_of_itself = 0;
    for (_, report) in reports(&told) {
        made_of_itself += usize::from(
            report
                .outputs
                .iter()
                .any(|output| report.inputs.iter().any(|input| input.batch.as_ref() == Some(&output.batch))),
        );
    }
    assert!((2..15).contains(&made_of_itself), "{made_of_itself}");
}

#[test]
fn the_story_is_complete_from_its_shortest_length_on() {
    for seed in 0..40 {
        let days = STORY_DAYS + u32::try_from(seed % 9).expect("a small number");
        let (_, story) = Dairy::new(options(seed, days, 1)).collect_all();
        assert!(story.is_some(), "seed {seed}, {days} days");
    }
    assert_eq!(Dairy::new(options(1, 9, 1)).collect_all().1, None);
    let mut unfinished = Dairy::new(options(1, 21, 1));
    assert!(unfinished.next().is_some());
    assert_eq!(unfinished.story(), None, "nothing of it has happened yet");
}

#[test]
fn the_correction_alone_links_the_suspect_milk_to_the_finished_packs() {
    for seed in 1..=8 {
        let (all, story) = told(seed, 18);
        let corrected = &story.corrected;
        let (_, wrong) = reports(&all).find(|(id, _)| **id == corrected.event).expect("the wrong report");
        assert!(names(wrong, &corrected.wrong) && !names(wrong, &corrected.right), "seed {seed}");
        let correction = all.iter().find(|told| told.command.event.id == corrected.by).expect("the correction");
        assert_eq!(correction.recorded_at, corrected.recorded_at);
        let Fact::Corrected { target, correction: Correction::Supersede { fact, occurred_at }, .. } =
            &correction.command.event.fact
        else {
            panic!("seed {seed}: not a supersession")
        };
        let Fact::Produced(right) = &**fact else { panic!("seed {seed}: not a run") };
        assert_eq!((target, occurred_at.instant), (&corrected.event, corrected.occurred_at));
        assert!(names(right, &corrected.right) && !names(right, &corrected.wrong), "seed {seed}");
        assert_eq!((&right.run, &wrong.run), (&corrected.run, &corrected.run));
        let week = 7 * 86_400_000_000;
        assert!(
            (week - 86_400_000_000..week + 86_400_000_000)
                .contains(&(corrected.recorded_at.0 - corrected.occurred_at.0))
        );

        let filled_into = |told: &Told| match &told.command.event.fact {
            Fact::VesselFilled { vessel, lines } if lines[0].batch == story.suspect.clone().into() => {
                Some(vessel.clone())
            }
            _ => None,
        };
        let silo = all.iter().find_map(filled_into).expect("the suspect milk is pumped into a silo");
        let drawn_from = |batch: &lotline_domain::id::BatchId| {
            let made = reports(&all)
                .find(|(_, report)| report.outputs.iter().any(|output| output.batch == batch.clone().into()));
            made.and_then(|(_, report)| report.inputs[0].from.clone()).expect("the milk was pasteurised")
        };
        let suspect_silo = lotline_domain::id::Place::Vessel(silo);
        assert_eq!(drawn_from(&corrected.right), suspect_silo, "seed {seed}");
        assert_ne!(drawn_from(&corrected.wrong), suspect_silo, "seed {seed}");
        let cut = reports(&all).any(|(_, report)| {
            names(report, &story.cheese)
                && report.outputs.iter().any(|output| output.batch == story.finished.clone().into())
        });
        assert!(cut, "seed {seed}: the finished packs are cut from the corrected run's cheese");
    }
}

#[test]
fn what_is_held_stays_and_what_is_released_ships() {
    for seed in 1..=8 {
        let (all, story) = told(seed, 21);
        let book = Book::of(&all);
        let held = &story.held;
        assert!(held.released.len() == 2 && held.still_held.len() >= 4, "seed {seed}");
        for batch in &held.still_held {
            let here = (batch.clone(), held.quarantine.to_string());
            assert!(book.balance[&here].grams > 0, "seed {seed}: {batch}");
            assert_eq!(book.outside(batch), 0, "seed {seed}: {batch} left the walls");
        }
        assert!(book.balance[&(held.batch.clone(), held.quarantine.to_string())].grams > 0);
        for batch in &held.released {
            assert!(book.outside(batch) > 0, "seed {seed}: {batch} never left");
        }
    }
}

#[test]
fn the_returned_case_had_reached_its_customer_and_lies_in_quarantine() {
    for seed in 1..=8 {
        let (all, story) = told(seed, 21);
        let book = Book::of(&all);
        let returned = &story.returned;
        assert!(book.returned_from[returned.case.as_str()].ends_with(returned.customer.as_str()), "seed {seed}");
        assert!(book.stands_at(returned.case.as_str()).ends_with("quarantine"));
        assert!(book.stands_at(returned.pallet.as_str()).ends_with(returned.customer.as_str()));
        let inside = (returned.batch.clone(), format!("container:{}", returned.case));
        assert!(book.balance[&inside].grams > 0);
    }
}
