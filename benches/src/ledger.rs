//! Verification of a whole ledger, beside hashing its bytes and nothing else.

use std::path::Path;

use lotline::folder::Folder;
use lotline_ledger::{VerifyOptions, verify as verify_ledger};
use rayon::prelude::{IntoParallelRefIterator, ParallelIterator};

use crate::load::processor;
use crate::measure::{median, per_second, rate, ratio, time, timed};
use crate::table::{Row, Table};
use crate::{Options, Outcome, fixture};

/// Measures it.
pub fn verify(dir: &Path, options: &Options, table: &mut Table) -> Outcome {
    let folder = fixture::dairy_ledger(dir, options.events)?;
    let segments = fixture::segments(&folder)?;
    let (mut plain, mut spread) = (Vec::new(), Vec::new());
    let [mut with_indexes, mut without] = [const { (Vec::new(), Vec::new()) }; 2];
    let mut bytes = 0;
    for _ in 0..options.rounds {
        let hash = |path: &std::path::PathBuf| std::fs::read(path).map(|read| (read.len(), blake3::hash(&read)));
        let (passed, hashed) = timed(|| segments.iter().map(hash).collect::<Result<Vec<_>, _>>());
        bytes = hashed?.iter().map(|(len, _)| len).sum();
        plain.push(passed);
        let (passed, hashed) = timed(|| segments.par_iter().map(hash).collect::<Result<Vec<_>, _>>());
        hashed?;
        spread.push(passed);
        for (indexes, times) in [(true, &mut with_indexes), (false, &mut without)] {
            let used = processor();
            let (passed, proven) =
                timed(|| verify_ledger(&Folder::storage(), folder.ledger(), VerifyOptions { indexes }, |_| ()));
            assert_eq!(proven?.head.next_position.get(), options.events, "all of it was verified");
            times.0.push(passed);
            times.1.push(processor() - used);
        }
    }
    let [plain, spread] = [plain, spread].map(median);
    let peer =
        format!("BLAKE3 of the same {} MB, read too: {} (one thread {})", bytes / 1_000_000, time(spread), time(plain));
    for (what, (passed, used), aim, limit) in [
        ("verify, key indexes built and compared", with_indexes, "≥ 1 M/s", "sorting the indexes' keys"),
        ("verify, commits alone", without, "", "hashing events one by one, each a leaf of its own"),
    ] {
        let [passed, used] = [passed, used].map(median);
        table.add(Row {
            what: format!("{what}, {} events", options.events),
            figure: format!("{} ({})", per_second(rate(options.events, passed)), time(passed)),
            aim: aim.to_owned(),
            peer: peer.clone(),
            ratio: ratio(passed, spread),
            limit: format!("{limit}; processors: {} of their time", time(used)),
        });
    }
    Ok(())
}
