//! The names that identifiers get in the ledger. Whoever looks something up by an identifier (a scan, a
//! URN on a command line) uses these too, so that URN, Digital Link and element string find the same.

use lotline_domain::id::{
    BatchCode, BatchId, ContainerId, Generation, ItemId, LocationId, NAME_MAX, NameError, PartyId,
};
use lotline_gs1::{Identifier, Item};

use crate::content;

/// The batch code of goods that are named by their item alone: all that is there without batch or serial.
pub const NO_BATCH: &str = "*";

/// What goods, or what holds them, an identifier names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Thing {
    /// A batch.
    Batch(BatchId),
    /// A serialised unit: a batch of one, and possibly something that holds others (a case).
    Unit(BatchId, ContainerId),
    /// Something that holds goods and moves: a logistic unit, a returnable asset, a vehicle.
    Container(ContainerId),
}

/// The item: fourteen digits, or the class URN.
///
/// # Errors
/// [`NameError`] when the identifier cannot be a name.
pub fn item(item: &Item) -> Result<ItemId, NameError> {
    ItemId::parse(&fit(item.as_str()))
}

/// What an identifier names among goods. An item without batch is the batch [`NO_BATCH`] of it. A serial
/// number is the code `(21)…`, because a batch code of the same item may read the same.
///
/// # Errors
/// [`NameError`] when a part of the identifier cannot be a name.
pub fn thing(id: &Identifier) -> Result<Thing, NameError> {
    let batch = |of: &Item, code: &str| -> Result<BatchId, NameError> {
        let code = BatchCode::parse(&fit(code))?;
        Ok(BatchId { item: item(of)?, issuer: None, code, generation: Generation::default() })
    };
    match id {
        Identifier::Batch { item, code } => Ok(Thing::Batch(batch(item, code)?)),
        Identifier::Class { item } => Ok(Thing::Batch(batch(item, NO_BATCH)?)),
        Identifier::Serial { item, serial } => {
            let batch = batch(item, &format!("(21){serial}"))?;
            let container = ContainerId::parse(&fit(&batch.to_string()))?;
            Ok(Thing::Unit(batch, container))
        }
        Identifier::Container(sscc) => Ok(Thing::Container(ContainerId::parse(sscc.as_str())?)),
        Identifier::Location(_) | Identifier::Party(_) | Identifier::Other(_) => {
            Ok(Thing::Container(ContainerId::parse(&fit(&id.to_string()))?))
        }
    }
}

/// The batch that the class of a quantity names. What is no class of any known kind is an item of its own.
///
/// # Errors
/// [`NameError`] when a part of the identifier cannot be a name.
pub fn batch(id: &Identifier) -> Result<BatchId, NameError> {
    match thing(id)? {
        Thing::Batch(batch) | Thing::Unit(batch, _) => Ok(batch),
        Thing::Container(_) => Ok(BatchId::own(ItemId::parse(&fit(&id.to_string()))?, BatchCode::parse(NO_BATCH)?)),
    }
}

/// A container, whatever kind of identifier it has.
///
/// # Errors
/// [`NameError`] when the identifier cannot be a name.
pub fn container(id: &Identifier) -> Result<ContainerId, NameError> {
    match thing(id)? {
        Thing::Container(container) | Thing::Unit(_, container) => Ok(container),
        Thing::Batch(_) => ContainerId::parse(&fit(&id.to_string())),
    }
}

/// A place: the GLN with its extension (`0614141007776.1234`), the GDST URN, or the URI as it is.
///
/// # Errors
/// [`NameError`] when the identifier cannot be a name.
pub fn location(id: &Identifier) -> Result<LocationId, NameError> {
    match id {
        Identifier::Location(locus) | Identifier::Party(locus) => LocationId::parse(&fit(&locus.to_string())),
        other => LocationId::parse(&fit(&other.to_string())),
    }
}

/// A party: the GLN, the GDST URN, or the URI as it is.
///
/// # Errors
/// [`NameError`] when the identifier cannot be a name.
pub fn party(id: &Identifier) -> Result<PartyId, NameError> {
    match id {
        Identifier::Location(locus) | Identifier::Party(locus) => PartyId::parse(&fit(&locus.to_string())),
        other => PartyId::parse(&fit(&other.to_string())),
    }
}

/// The text, or the hash of it when it is too long for a name.
pub(crate) fn fit(text: &str) -> String {
    let text = text.trim();
    if text.len() <= NAME_MAX { text.to_owned() } else { content::id_of_text(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn batch_of(text: &str) -> String {
        batch(&Identifier::parse(text).unwrap()).unwrap().to_string()
    }

    #[test]
    fn all_writings_of_a_batch_are_one_name() {
        let name = "00614141777778/987";
        assert_eq!(batch_of("urn:epc:class:lgtin:0614141.077777.987"), name);
        assert_eq!(batch_of("https://example.com/01/00614141777778/10/987"), name);
        assert_eq!(batch_of("(01)00614141777778(10)987"), name);
        assert_eq!(batch_of("urn:epc:id:sgtin:0614141.077777.987"), "00614141777778/(21)987");
        assert_eq!(batch_of("urn:epc:idpat:sgtin:0614141.077777.*"), "00614141777778/*");
        assert_eq!(
            batch_of("urn:gdst:example.org:product:lot:class:processor.2u.v1"),
            "urn:gdst:example.org:product:class:processor.2u/v1"
        );
    }

    #[test]
    fn what_is_too_long_becomes_its_hash() {
        let long = format!("urn:example:{}", "x".repeat(400));
        let name = party(&Identifier::Other(long.clone())).unwrap();
        assert!(name.as_str().starts_with("urn:lotline:blake3:"));
        assert_eq!(name, party(&Identifier::Other(long)).unwrap());
    }
}
