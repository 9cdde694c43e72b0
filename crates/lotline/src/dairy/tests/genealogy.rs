use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;

use lotline_domain::fact::Fact;
use lotline_domain::id::BatchRef;

use crate::dairy::shape::{Genealogy, shape};

fn descendants(genealogy: &Genealogy, of: u32) -> HashSet<u32> {
    let mut reached = HashSet::from([of]);
    // Children have greater numbers than their parents.
    for edge in &genealogy.edges {
        if reached.contains(&edge.parent) {
            reached.insert(edge.child);
        }
    }
    reached
}

#[test]
fn its_size_is_a_plants() {
    let genealogy = shape(40_000, 7);
    let (lots, edges, deliveries) = (genealogy.lots.len(), genealogy.edges.len(), genealogy.deliveries.len());
    assert_eq!((lots, genealogy.raw_lots()), (40_000, 10_000));
    // Small plants draw the same parent twice more often than large ones.
    assert!((84_000..92_000).contains(&edges), "{edges} edges");
    assert!((17_500..18_500).contains(&deliveries), "{deliveries} deliveries");
    let rework = genealogy
        .edges
        .iter()
        .filter(|edge| genealogy.lots[edge.parent as usize].stage == genealogy.lots[edge.child as usize].stage);
    assert!((400..800).contains(&rework.count()));
    let reached: usize = (0..10).map(|n| descendants(&genealogy, 500 + n * 900).len()).sum();
    assert!((500..5_000).contains(&reached), "{reached} descendants of ten raw lots");
}

#[test]
fn every_lot_is_made_before_it_is_used_and_has_enough() {
    let genealogy = shape(8_000, 3);
    let mut left: Vec<i64> = genealogy.lots.iter().map(|lot| lot.quantity).collect();
    let mut pairs = HashSet::new();
    for edge in &genealogy.edges {
        assert!(edge.parent < edge.child && pairs.insert((edge.parent, edge.child)));
        assert!(genealogy.lots[edge.parent as usize].hour < genealogy.lots[edge.child as usize].hour);
        left[edge.parent as usize] -= edge.quantity;
    }
    for delivery in &genealogy.deliveries {
        assert!(genealogy.lots[delivery.lot as usize].hour < delivery.hour);
        left[delivery.lot as usize] -= delivery.quantity;
    }
    assert!(left.iter().all(|left| *left >= 0));
    for (number, lot) in genealogy.lots.iter().enumerate().skip(genealogy.raw_lots() as usize) {
        let inputs = genealogy.inputs(number as u32);
        assert!(!inputs.is_empty() && inputs.iter().all(|edge| edge.child == number as u32));
        assert_eq!(inputs.iter().map(|edge| edge.quantity).sum::<i64>(), lot.quantity + lot.loss);
        assert!(lot.loss >= 0);
    }
}

#[test]
fn commands_and_csv_tell_the_same_genealogy() {
    let genealogy = shape(3_000, 5);
    let folder = std::env::temp_dir().join(format!("lotline-shape-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder for the files");
    genealogy.write_csv(&folder).expect("the files are written");
    let read = |name: &str| -> Vec<Vec<i64>> {
        let text = fs::read_to_string(folder.join(name)).expect("the file is there");
        text.lines().map(|line| line.split(',').map(|cell| cell.parse().expect("a number")).collect()).collect()
    };
    let (lots, edges, shipments) = (read("lots.csv"), read("edges.csv"), read("shipments.csv"));
    fs::remove_dir_all(&folder).expect("the folder is removed");

    let number = |batch: &BatchRef| -> i64 {
        let BatchRef::Known(batch) = batch else { panic!("a bare code") };
        batch.code.as_str().strip_prefix('L').expect("a lot").parse().expect("a number")
    };
    let kilograms = |quantity: &Option<lotline_domain::quantity::Stated>| -> i64 {
        let mut value = quantity.expect("known").value();
        value.rescale(0);
        i64::try_from(value.mantissa()).expect("whole kilograms")
    };
    let mut told_edges: BTreeMap<(i64, i64), i64> = BTreeMap::new();
    let mut told_lots: HashMap<i64, i64> = HashMap::new();
    let mut told_shipments = Vec::new();
    let mut last = None;
    let begin = genealogy.commands().next().expect("a first command").command.event.occurred_at.instant.0
        - lots.iter().map(|lot| lot[3]).min().expect("lots") * 3_600_000_000;
    for told in genealogy.commands() {
        assert!(Some(told.recorded_at) > last);
        last = Some(told.recorded_at);
        let hour = (told.command.event.occurred_at.instant.0 - begin) / 3_600_000_000;
        match &told.command.event.fact {
            Fact::Received { lines, .. } => {
                told_lots.insert(number(&lines[0].batch), hour);
            }
            Fact::Produced(report) => {
                let child = number(&report.outputs[0].batch);
                told_lots.insert(child, hour);
                for input in &report.inputs {
                    let parent = number(input.batch.as_ref().expect("named"));
                    told_edges.insert((parent, child), kilograms(&input.quantity));
                }
            }
            Fact::Delivered { lines, to, .. } => {
                let customer = to.as_str().strip_prefix("customer-").expect("a customer").parse::<i64>();
                let customer = customer.expect("a number");
                told_shipments.push(vec![number(&lines[0].batch), customer, kilograms(&lines[0].quantity), hour]);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(told_lots, lots.iter().map(|lot| (lot[0], lot[3])).collect());
    assert_eq!(told_edges, edges.iter().map(|edge| ((edge[0], edge[1]), edge[2])).collect());
    assert_eq!(told_shipments, shipments);
    assert!(edges.iter().all(|edge| edge[3] == lots[usize::try_from(edge[1]).expect("an index")][3]));
    assert!(lots.iter().all(|lot| lot[1] / 100 == lot[2]));
}
