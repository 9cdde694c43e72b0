//! One seam over the domain's name types, so that stored and sent forms treat them alike.

use lotline_domain::id::{
    ActorId, BatchCode, CommandId, ContainerId, EventId, HoldId, ItemId, LocationId, NameError, PartyId, RunName,
    ShipmentId, SourceId, VesselId,
};

/// A name type of the domain.
pub(crate) trait Name: Sized {
    /// What it names, for messages and schemas.
    const WHAT: &'static str;
    /// The domain's own parse.
    fn from_text(text: &str) -> Result<Self, NameError>;
    /// The text as it was given.
    fn text(&self) -> &str;
}

macro_rules! names {
    ($($name:ident: $what:literal),+ $(,)?) => {$(
        impl Name for $name {
            const WHAT: &'static str = $what;

            fn from_text(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }

            fn text(&self) -> &str {
                self.as_str()
            }
        }
    )+};
}

names! {
    ActorId: "actor",
    BatchCode: "batch code",
    CommandId: "command id",
    ContainerId: "container",
    EventId: "event id",
    HoldId: "hold",
    ItemId: "item",
    LocationId: "location",
    PartyId: "party",
    RunName: "run name",
    ShipmentId: "shipment",
    SourceId: "source",
    VesselId: "vessel",
}
