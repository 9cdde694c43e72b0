//! What a fact has to say so that something happened by it, and where it cannot have happened. Only what makes no
//! sense in itself is refused here: what merely does not fit the book is recorded, and becomes an exception.

use lotline_domain::fact::{Fact, Line, RunReport};
use lotline_domain::id::{ContainerId, Place};

use super::CommandError;

/// Refuses a fact that says nothing, or says it of a place where it cannot be.
pub(super) fn makes_sense(fact: &Fact) -> Result<(), CommandError> {
    match fact {
        Fact::Received { lines, containers, shipment, to, .. } => {
            // A shipment alone: it came in as a whole.
            if shipment.is_none() {
                something(lines, containers, "what came in, or give the \"shipment\" that came in as a whole")?;
            }
            standing("to", to, containers)
        }
        Fact::Returned { lines, containers, to, .. } => {
            something(lines, containers, "what came back")?;
            standing("to", to, containers)
        }
        Fact::Seen { lines, containers, at } => {
            something(lines, containers, "what was seen")?;
            standing("at", at, containers)
        }
        Fact::Packed { lines, containers, .. } => something(lines, containers, "what was packed"),
        Fact::Shipped { lines, containers, .. } => something(lines, containers, "what left"),
        // Of a shipment that is named, nothing else named means all.
        Fact::Delivered { shipment: None, lines, containers, .. } => {
            something(lines, containers, "what arrived, or give the \"shipment\" that arrived as a whole")
        }
        Fact::ContainerMoved { containers, to } => standing("to", to, containers),
        Fact::Produced(report) => told(report),
        _ => Ok(()),
    }
}

fn something(lines: &[Line], containers: &[ContainerId], what: &str) -> Result<(), CommandError> {
    if lines.is_empty() && containers.is_empty() {
        let message = format!("are none, and no containers either, so that nothing happened: name {what}");
        return Err(CommandError::field("lines", message));
    }
    Ok(())
}

/// Goods go into a vessel, never the container that brought them.
fn standing(field: &str, place: &Place, containers: &[ContainerId]) -> Result<(), CommandError> {
    match place {
        Place::Vessel(_) if !containers.is_empty() => {
            let message = format!("\"{place}\" is a vessel, where no container stands; tell what was filled into it");
            Err(CommandError::field(field, message))
        }
        _ => Ok(()),
    }
}

/// A report of a run may have no legs where it says that nothing more will come, or which legs are connected.
fn told(report: &RunReport) -> Result<(), CommandError> {
    let RunReport { inputs, outputs, losses, mapping, hold_up_micros, completed, .. } = report;
    let legs = !inputs.is_empty() || !outputs.is_empty() || !losses.is_empty();
    if legs || !mapping.is_empty() || *hold_up_micros != 0 || *completed {
        return Ok(());
    }
    let message = "are none, and no outputs and losses either, so that nothing happened: name some, or say \
                   \"completed\":true";
    Err(CommandError::field("inputs", message))
}
