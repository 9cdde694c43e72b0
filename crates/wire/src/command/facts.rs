//! One form per type of fact: with a head it is a command, without one it stands inside of a correction.

use lotline_domain::id::{
    ActorId, BatchCode, CommandId, ContainerId, EventId, HoldId, ItemId, LocationId, PartyId, ShipmentId, SourceId,
    VesselId,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::form::{
    BatchForm, BatchIdForm, DestinationText, DifferenceForm, ExpiresText, InstantText, MixWord, ModeWord, Named,
    Object, PlaceText, QuantityForm, RunForm, Several, SinkWord, Text, TimeText, UnitText, ZoneText,
};
use super::{CommandError, Head, read};

/// Some of one batch.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "line")]
pub(crate) struct LineForm {
    /// Which batch.
    pub(super) batch: BatchForm,
    /// How much; left out: unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) quantity: Option<QuantityForm>,
    /// A second measure of the same goods (catch weight: pieces and kilograms).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) second: Option<QuantityForm>,
    /// Where it was, if the source says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<PlaceText>,
    /// The document line that it stands on, such as a delivery note's; finds suspected duplicates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) document: Option<String>,
}

/// Some of one batch that came in.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "received-line")]
pub(crate) struct ReceivedLineForm {
    /// Which batch.
    pub(super) batch: BatchForm,
    /// How much; left out: unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) quantity: Option<QuantityForm>,
    /// A second measure of the same goods (catch weight: pieces and kilograms).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) second: Option<QuantityForm>,
    /// Where it was, if the source says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<PlaceText>,
    /// The document line that it stands on, such as a delivery note's; finds suspected duplicates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) document: Option<String>,
    /// Until when the batch is good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expires: Option<ExpiresText>,
}

/// A declared time window, from and up to but without.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "window")]
pub(crate) struct WindowForm {
    /// First instant inside.
    pub(super) from: InstantText,
    /// First instant after.
    pub(super) to: InstantText,
}

/// What went into a run.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "input")]
pub(crate) struct InputForm {
    /// The batch; left out only with `from` a vessel: an anonymous blend, drawn straight into the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) batch: Option<BatchForm>,
    /// How much; left out: unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) quantity: Option<QuantityForm>,
    /// A second measure of the same goods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) second: Option<QuantityForm>,
    /// Where it was taken from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<PlaceText>,
    /// When it was going in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) window: Option<Object<WindowForm>>,
}

/// What came out of a run.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "output")]
pub(crate) struct OutputForm {
    /// The batch.
    pub(super) batch: BatchForm,
    /// How much; left out: unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) quantity: Option<QuantityForm>,
    /// A second measure of the same goods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) second: Option<QuantityForm>,
    /// Where it lies; left out: where the run is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) to: Option<PlaceText>,
    /// When it was coming out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) window: Option<Object<WindowForm>>,
    /// Until when the batch is good; a split, merge or re-pack passes on what it was made of where it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expires: Option<ExpiresText>,
}

/// What left a run as no batch.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "loss")]
pub(crate) struct LossForm {
    /// How it went.
    pub(super) sink: SinkWord,
    /// How much.
    pub(super) quantity: QuantityForm,
}

/// An input and an output of a run that are connected.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "pair")]
pub(crate) struct PairForm {
    /// What went in.
    pub(super) input: BatchForm,
    /// What came of it.
    pub(super) output: BatchForm,
}

/// What really happened, and when.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "supersession")]
pub(crate) struct SupersedeForm {
    /// When it really happened.
    pub(super) occurred_at: TimeText,
    /// What really happened: a fact of any type, without a head.
    #[schemars(with = "AnyFact")]
    pub(super) fact: Box<RawValue>,
}

/// How a fact was wrong.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", rename = "correction")]
pub(crate) enum CorrectionForm {
    /// It did not happen.
    Void,
    /// It happened otherwise.
    Supersede(Object<SupersedeForm>),
}

/// The word behind `type`; it was read before.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
struct TypeWord(#[allow(dead_code, reason = "read before, and kept so that it is a known field")] String);

/// Alternatives of a schema: at least one of these fields says something.
fn some_of(fields: &[&str]) -> Vec<serde_json::Value> {
    let says = |field: &str| match field {
        "shipment" => json!({"type": "string"}),
        "hold_up_micros" => json!({"type": "integer", "not": {"const": 0}}),
        "completed" => json!({"const": true}),
        _ => json!({"type": "array", "minItems": 1}),
    };
    fields.iter().map(|field| json!({"required": [field], "properties": {*field: says(field)}})).collect()
}

macro_rules! facts {
    ($(
        $(#[$doc:meta])*
        $word:literal $fact:ident / $command:ident {$(
            $(#[$attribute:meta])*
            $field:ident: $form:ty,
        )*}
    )+) => {
        $(
            #[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
            #[serde(deny_unknown_fields, rename = $word)]
            $(#[$doc])*
            pub(crate) struct $fact {
                #[serde(rename = "type", skip_serializing)]
                #[schemars(required, extend("const" = $word))]
                #[allow(dead_code, reason = "read before, and kept so that it is a known field")]
                word: TypeWord,
                $($(#[$attribute])* pub(super) $field: $form,)*
            }

            impl $fact {
                #[allow(clippy::too_many_arguments, reason = "one per field of the fact")]
                pub(super) fn new($($field: $form),*) -> Self {
                    Self { word: TypeWord::default(), $($field),* }
                }
            }

            #[derive(Debug, Clone, Deserialize, JsonSchema)]
            #[serde(deny_unknown_fields, rename = $word)]
            $(#[$doc])*
            pub(crate) struct $command {
                /// What happened.
                #[serde(rename = "type")]
                #[schemars(extend("const" = $word))]
                word: TypeWord,
                /// The event's own id. An observation without one gets one from its content; an intent needs one.
                id: Option<Text<EventId>>,
                /// The command's id; left out: the event's.
                command: Option<Text<CommandId>>,
                /// Whether it may be refused for business reasons; left out: an observation.
                #[serde(default)]
                mode: ModeWord,
                /// Who reports it; may be left out where the receiver knows.
                source: Option<Text<SourceId>>,
                /// When it happened.
                occurred_at: TimeText,
                /// The source's own sequence number; orders what happened at one instant.
                sequence: Option<u64>,
                $($(#[$attribute])* $field: $form,)*
            }

            impl From<$command> for (Head, FactForm) {
                fn from(form: $command) -> Self {
                    let head = Head {
                        id: form.id.map(|id| id.0),
                        command: form.command.map(|id| id.0),
                        mode: form.mode.0,
                        source: form.source.map(|id| id.0),
                        occurred_at: form.occurred_at.0,
                        sequence: form.sequence,
                    };
                    (head, FactForm::$fact($fact { word: form.word, $($field: form.$field),* }))
                }
            }
        )+

        /// All types, as they are written.
        pub(crate) const WORDS: &[&str] = &[$($word),+];

        /// A fact in its JSON form.
        #[derive(Debug, Clone, Serialize)]
        #[serde(untagged)]
        pub(crate) enum FactForm {
            $($fact($fact),)+
        }

        impl FactForm {
            /// Its type.
            pub(crate) fn word(&self) -> &'static str {
                match self {
                    $(Self::$fact(_) => $word,)+
                }
            }

            /// Reads a command of this type; `None` for an unknown type.
            pub(super) fn read_command(word: &str, text: &str) -> Option<Result<(Head, Self), CommandError>> {
                match word {
                    $($word => Some(read::<$command>(text).map(Into::into)),)+
                    _ => None,
                }
            }

            /// Reads a fact of this type, without a head; `None` for an unknown type.
            pub(super) fn read_fact(word: &str, text: &str) -> Option<Result<Self, CommandError>> {
                match word {
                    $($word => Some(read::<$fact>(text).map(Self::$fact)),)+
                    _ => None,
                }
            }
        }

        /// Any fact, for the schema of corrections.
        #[derive(JsonSchema)]
        #[serde(untagged, rename = "fact")]
        #[allow(dead_code, reason = "exists for its schema")]
        pub(crate) enum AnyFact {
            $($fact($fact),)+
        }

        /// The schema of each command, by its type.
        pub(crate) fn command_schemas() -> Vec<(&'static str, schemars::Schema)> {
            vec![$(($word, schemars::generate::SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<$command>())),+]
        }
    };
}

facts! {
    /// Goods came in.
    #[schemars(extend("anyOf" = some_of(&["lines", "containers", "shipment"])))]
    "received" Received / ReceivedCommand {
        /// How much of what.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lines: Vec<Object<ReceivedLineForm>>,
        /// Containers that came in with all they hold.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        containers: Vec<Named<ContainerId>>,
        /// The supplier.
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<Named<PartyId>>,
        /// The shipment it came by.
        #[serde(skip_serializing_if = "Option::is_none")]
        shipment: Option<Named<ShipmentId>>,
        /// The receiving company, where the place is not the ledger's own.
        #[serde(skip_serializing_if = "Option::is_none")]
        by: Option<Named<PartyId>>,
        /// Where it lies now.
        to: PlaceText,
    }
    /// Goods became other goods: a run, or a part of one.
    #[schemars(extend("anyOf" = some_of(&["inputs", "outputs", "losses", "mapping", "hold_up_micros", "completed"])))]
    "produced" Produced / ProducedCommand {
        /// The run.
        run: RunForm,
        /// What went in.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        inputs: Vec<Object<InputForm>>,
        /// What came out.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        outputs: Vec<Object<OutputForm>>,
        /// What was lost.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        losses: Vec<Object<LossForm>>,
        /// The pairs that alone are connected; left out: every input reaches every output.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        mapping: Vec<Object<PairForm>>,
        /// Extends the end of every input's window, in microseconds.
        #[serde(default, skip_serializing_if = "is_default")]
        hold_up_micros: i64,
        /// Nothing more will come.
        #[serde(default, skip_serializing_if = "is_default")]
        completed: bool,
        /// Where it ran: the place of inputs and outputs that name none.
        #[serde(skip_serializing_if = "Option::is_none")]
        at: Option<Named<LocationId>>,
    }
    /// One batch became several of the same goods.
    #[schemars(extend("anyOf" = some_of(&["inputs", "outputs", "losses", "mapping", "hold_up_micros", "completed"])))]
    "split" Split / SplitCommand {
        /// The run.
        run: RunForm,
        /// What went in.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        inputs: Vec<Object<InputForm>>,
        /// What came out.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        outputs: Vec<Object<OutputForm>>,
        /// What was lost.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        losses: Vec<Object<LossForm>>,
        /// The pairs that alone are connected; left out: every input reaches every output.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        mapping: Vec<Object<PairForm>>,
        /// Extends the end of every input's window, in microseconds.
        #[serde(default, skip_serializing_if = "is_default")]
        hold_up_micros: i64,
        /// Nothing more will come.
        #[serde(default, skip_serializing_if = "is_default")]
        completed: bool,
        /// Where it ran: the place of inputs and outputs that name none.
        #[serde(skip_serializing_if = "Option::is_none")]
        at: Option<Named<LocationId>>,
    }
    /// Several batches became one.
    #[schemars(extend("anyOf" = some_of(&["inputs", "outputs", "losses", "mapping", "hold_up_micros", "completed"])))]
    "merged" Merged / MergedCommand {
        /// The run.
        run: RunForm,
        /// What went in.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        inputs: Vec<Object<InputForm>>,
        /// What came out.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        outputs: Vec<Object<OutputForm>>,
        /// What was lost.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        losses: Vec<Object<LossForm>>,
        /// The pairs that alone are connected; left out: every input reaches every output.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        mapping: Vec<Object<PairForm>>,
        /// Extends the end of every input's window, in microseconds.
        #[serde(default, skip_serializing_if = "is_default")]
        hold_up_micros: i64,
        /// Nothing more will come.
        #[serde(default, skip_serializing_if = "is_default")]
        completed: bool,
        /// Where it ran: the place of inputs and outputs that name none.
        #[serde(skip_serializing_if = "Option::is_none")]
        at: Option<Named<LocationId>>,
    }
    /// The same goods under a new batch, packed otherwise.
    #[schemars(extend("anyOf" = some_of(&["inputs", "outputs", "losses", "mapping", "hold_up_micros", "completed"])))]
    "repacked" Repacked / RepackedCommand {
        /// The run.
        run: RunForm,
        /// What went in.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        inputs: Vec<Object<InputForm>>,
        /// What came out.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        outputs: Vec<Object<OutputForm>>,
        /// What was lost.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        losses: Vec<Object<LossForm>>,
        /// The pairs that alone are connected; left out: every input reaches every output.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        mapping: Vec<Object<PairForm>>,
        /// Extends the end of every input's window, in microseconds.
        #[serde(default, skip_serializing_if = "is_default")]
        hold_up_micros: i64,
        /// Nothing more will come.
        #[serde(default, skip_serializing_if = "is_default")]
        completed: bool,
        /// Where it ran: the place of inputs and outputs that name none.
        #[serde(skip_serializing_if = "Option::is_none")]
        at: Option<Named<LocationId>>,
    }
    /// Goods went from place to place inside the walls.
    "moved" Moved / MovedCommand {
        /// How much of what.
        lines: Several<Object<LineForm>>,
        /// Where to.
        to: PlaceText,
    }
    /// Goods or containers were put into a container.
    #[schemars(extend("anyOf" = some_of(&["lines", "containers"])))]
    "packed" Packed / PackedCommand {
        /// Into which.
        container: Named<ContainerId>,
        /// Loose goods.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lines: Vec<Object<LineForm>>,
        /// Smaller containers.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        containers: Vec<Named<ContainerId>>,
        /// Where that was done.
        #[serde(skip_serializing_if = "Option::is_none")]
        at: Option<Named<LocationId>>,
    }
    /// Goods or containers were taken out of a container; nothing named means all.
    "unpacked" Unpacked / UnpackedCommand {
        /// Out of which.
        container: Named<ContainerId>,
        /// Loose goods.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lines: Vec<Object<LineForm>>,
        /// Smaller containers.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        containers: Vec<Named<ContainerId>>,
        /// Where they lie now; left out: where the container stands.
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<Named<LocationId>>,
    }
    /// Containers were moved, with all they hold.
    "container_moved" ContainerMoved / ContainerMovedCommand {
        /// Which.
        containers: Several<Named<ContainerId>>,
        /// Where to.
        to: PlaceText,
    }
    /// A container was seen empty.
    "container_emptied" ContainerEmptied / ContainerEmptiedCommand {
        /// Which.
        container: Named<ContainerId>,
    }
    /// Goods left on a shipment.
    #[schemars(extend("anyOf" = some_of(&["lines", "containers"])))]
    "shipped" Shipped / ShippedCommand {
        /// The shipment.
        shipment: Named<ShipmentId>,
        /// Where to: `party:NAME` or a location.
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<DestinationText>,
        /// Loose goods.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lines: Vec<Object<LineForm>>,
        /// Containers, with all they hold.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        containers: Vec<Named<ContainerId>>,
    }
    /// Goods arrived at a party; nothing named means the whole shipment.
    #[schemars(extend("anyOf" = some_of(&["lines", "containers", "shipment"])))]
    "delivered" Delivered / DeliveredCommand {
        /// The shipment.
        #[serde(skip_serializing_if = "Option::is_none")]
        shipment: Option<Named<ShipmentId>>,
        /// Who has them now.
        to: Named<PartyId>,
        /// Loose goods.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lines: Vec<Object<LineForm>>,
        /// Containers, with all they hold.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        containers: Vec<Named<ContainerId>>,
    }
    /// Goods came back from a party.
    #[schemars(extend("anyOf" = some_of(&["lines", "containers"])))]
    "returned" Returned / ReturnedCommand {
        /// Who gave them back.
        from: Named<PartyId>,
        /// Loose goods.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lines: Vec<Object<LineForm>>,
        /// Containers, with all they hold.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        containers: Vec<Named<ContainerId>>,
        /// Where they lie now.
        to: PlaceText,
    }
    /// Goods were seen at a place; nobody says that they moved.
    #[schemars(extend("anyOf" = some_of(&["lines", "containers"])))]
    "seen" Seen / SeenCommand {
        /// How much of what.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lines: Vec<Object<LineForm>>,
        /// Containers.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        containers: Vec<Named<ContainerId>>,
        /// Where.
        at: PlaceText,
    }
    /// A hold was set.
    "held" Held / HeldCommand {
        /// Its id.
        hold: Text<HoldId>,
        /// The batch it covers.
        batch: BatchForm,
        /// Only what lies at this place now, wherever it goes; left out: the batch everywhere.
        #[serde(skip_serializing_if = "Option::is_none")]
        at: Option<PlaceText>,
        /// Why; stored sealed.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    }
    /// Holds were lifted: one by its id, or all of a batch.
    #[schemars(extend("oneOf" = [{"required": ["hold"]}, {"required": ["batch"]}]))]
    "released" Released / ReleasedCommand {
        /// One hold.
        #[serde(skip_serializing_if = "Option::is_none")]
        hold: Option<Text<HoldId>>,
        /// All holds of a batch.
        #[serde(skip_serializing_if = "Option::is_none")]
        batch: Option<BatchForm>,
        /// Why; stored sealed.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    }
    /// Goods were counted: so much was there at that moment.
    "counted" Counted / CountedCommand {
        /// Where.
        at: PlaceText,
        /// How much of what.
        lines: Several<Object<LineForm>>,
    }
    /// The book was changed by a difference.
    "adjusted" Adjusted / AdjustedCommand {
        /// Where.
        at: PlaceText,
        /// Which batch.
        batch: BatchForm,
        /// By how much, signed.
        difference: DifferenceForm,
        /// Why; stored sealed.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    }
    /// Goods went out of the book.
    "disposed" Disposed / DisposedCommand {
        /// How much of what.
        lines: Several<Object<LineForm>>,
        /// How.
        sink: SinkWord,
    }
    /// Goods went into a vessel.
    "vessel_filled" VesselFilled / VesselFilledCommand {
        /// Which.
        vessel: Named<VesselId>,
        /// How much of what.
        lines: Several<Object<LineForm>>,
    }
    /// Goods were drawn from a vessel.
    "vessel_drawn" VesselDrawn / VesselDrawnCommand {
        /// Which.
        vessel: Named<VesselId>,
        /// The batch drawn; left out: an anonymous blend.
        #[serde(skip_serializing_if = "Option::is_none")]
        batch: Option<BatchForm>,
        /// How much; left out: unknown.
        #[serde(skip_serializing_if = "Option::is_none")]
        quantity: Option<QuantityForm>,
        /// Where it lies now.
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<PlaceText>,
        /// Until when the batch is good.
        #[serde(skip_serializing_if = "Option::is_none")]
        expires: Option<ExpiresText>,
    }
    /// A vessel was cleaned.
    "vessel_cleaned" VesselCleaned / VesselCleanedCommand {
        /// Which.
        vessel: Named<VesselId>,
        /// How thoroughly; a hazard asks for at least some grade.
        grade: u8,
    }
    /// Master data of an item.
    "item_defined" ItemDefined / ItemDefinedCommand {
        /// Which.
        item: Text<ItemId>,
        /// The unit its balances are kept in.
        base: UnitText,
        /// Its name; stored sealed.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    }
    /// Master data of a place.
    "place_defined" PlaceDefined / PlaceDefinedCommand {
        /// Which.
        place: Named<LocationId>,
        /// The place it is part of.
        #[serde(skip_serializing_if = "Option::is_none")]
        parent: Option<Named<LocationId>>,
        /// IANA time zone of a site; what is inside of it has the same, if it says nothing.
        #[serde(skip_serializing_if = "Option::is_none")]
        time_zone: Option<ZoneText>,
        /// Its name; stored sealed.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    }
    /// Master data of a vessel.
    "vessel_defined" VesselDefined / VesselDefinedCommand {
        /// Which.
        vessel: Named<VesselId>,
        /// How its contents mix.
        mix: MixWord,
        /// Where it stands.
        #[serde(skip_serializing_if = "Option::is_none")]
        at: Option<Named<LocationId>>,
    }
    /// Master data of a party.
    "party_defined" PartyDefined / PartyDefinedCommand {
        /// Which.
        party: Named<PartyId>,
        /// Its name; stored sealed.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    }
    /// `one` of a unit is `equals` of another, for an item or for one batch.
    #[schemars(extend("oneOf" = [{"required": ["item"]}, {"required": ["batch"]}]))]
    "factor_defined" FactorDefined / FactorDefinedCommand {
        /// Every batch of an item.
        #[serde(skip_serializing_if = "Option::is_none")]
        item: Option<Text<ItemId>>,
        /// One batch; goes before the item's.
        #[serde(skip_serializing_if = "Option::is_none")]
        batch: Option<BatchIdForm>,
        /// So much, not zero …
        one: QuantityForm,
        /// … is so much, not zero.
        equals: QuantityForm,
    }
    /// A further code was put on a batch; the batch stays what it is.
    "labelled" Labelled / LabelledCommand {
        /// Which.
        batch: BatchForm,
        /// The further code.
        label: Text<BatchCode>,
    }
    /// Which rules hold here.
    "policy_set" PolicySet / PolicySetCommand {
        /// Whether holds pass through production runs.
        holds_pass_runs: bool,
    }
    /// An earlier fact was wrong.
    "corrected" Corrected / CorrectedCommand {
        /// The id of the wrong event.
        target: Text<EventId>,
        /// How it was wrong.
        correction: CorrectionForm,
        /// Why; stored sealed.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Who says so; stored sealed.
        #[serde(skip_serializing_if = "Option::is_none")]
        actor: Option<Text<ActorId>>,
    }
    /// Kept for the history of what it mentions.
    "noted" Noted / NotedCommand {
        /// Batches it speaks of.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        batches: Vec<BatchForm>,
        /// Containers it speaks of.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        containers: Vec<Named<ContainerId>>,
        /// What it says; stored sealed.
        what: String,
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
