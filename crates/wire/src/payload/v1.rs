//! Version 1 of the stored payload. These structs exist for nothing else and are never edited: their
//! order of fields and variants is the format, written down in `schemas/payload-format.md`.

use std::borrow::Cow;

use bincode::{BorrowDecode, Encode};

#[derive(Debug, Encode, BorrowDecode)]
pub(super) struct V1Payload<'a> {
    pub(super) content: [u8; 32],
    pub(super) body: V1Body<'a>,
    pub(super) origin: V1Origin<'a>,
}

#[derive(Debug, Encode, BorrowDecode)]
pub(super) enum V1Body<'a> {
    Fact {
        mode: V1Mode,
        decided_on: Option<u64>,
        id: &'a str,
        /// `None`: the same text as the id.
        command: Option<&'a str>,
        source: &'a str,
        occurred_at: V1OccurredAt,
        sequence: Option<u64>,
        fact: V1Fact<'a>,
    },
    Refused {
        command: &'a str,
        source: &'a str,
        decided_on: u64,
        rejection: V1Rejection<'a>,
    },
}

#[derive(Debug, Encode, BorrowDecode)]
pub(super) enum V1Mode {
    Intent,
    Observation,
}

#[derive(Debug, Encode, BorrowDecode)]
pub(super) enum V1Origin<'a> {
    Native,
    Epcis { mapping_version: u32, original: Cow<'a, [u8]> },
    Refused { command: Cow<'a, [u8]> },
}

#[derive(Debug, Encode, BorrowDecode)]
pub(super) struct V1OccurredAt {
    pub(super) instant: i64,
    pub(super) offset_minutes: i32,
    /// Dated by day.
    pub(super) day: bool,
}

#[derive(Debug, Encode, BorrowDecode)]
pub(super) struct V1Decimal {
    pub(super) mantissa: i128,
    pub(super) scale: u8,
}

#[derive(Debug, Encode, BorrowDecode)]
pub(super) struct V1Quantity {
    pub(super) value: V1Decimal,
    pub(super) unit: [u8; 3],
}

#[derive(Debug, Encode, BorrowDecode)]
pub(super) struct V1BatchId<'a> {
    pub(super) item: &'a str,
    pub(super) issuer: Option<&'a str>,
    pub(super) code: &'a str,
    pub(super) generation: u32,
}

#[derive(Debug, Encode, BorrowDecode)]
pub(super) enum V1BatchRef<'a> {
    Known(V1BatchId<'a>),
    Code(&'a str),
}

#[derive(Debug, Encode, BorrowDecode)]
pub(super) enum V1Sink {
    Consumed,
    Loss,
    Sample,
    Destroyed,
    Adjustment,
    Unexplained,
}

#[derive(Debug, Encode, BorrowDecode)]
pub(super) enum V1Place<'a> {
    Location(&'a str),
    Vessel(&'a str),
    Container(&'a str),
    Transit(&'a str),
    Party(&'a str),
    Sink(V1Sink),
    Unplaced,
}

#[derive(Debug, Encode, BorrowDecode)]
pub(super) struct V1Line<'a> {
    pub(super) batch: V1BatchRef<'a>,
    pub(super) quantity: Option<V1Quantity>,
    pub(super) second: Option<V1Quantity>,
    pub(super) from: Option<V1Place<'a>>,
    pub(super) document: Option<&'a str>,
}

#[derive(Debug, Encode, BorrowDecode)]
pub(super) struct V1Window {
    pub(super) from: i64,
    pub(super) to: i64,
}

#[derive(Debug, Encode, BorrowDecode)]
pub(super) struct V1Input<'a> {
    pub(super) batch: Option<V1BatchRef<'a>>,
    pub(super) quantity: Option<V1Quantity>,
    pub(super) second: Option<V1Quantity>,
    pub(super) from: Option<V1Place<'a>>,
    pub(super) window: Option<V1Window>,
}

#[derive(Debug, Encode, BorrowDecode)]
pub(super) struct V1Output<'a> {
    pub(super) batch: V1BatchRef<'a>,
    pub(super) quantity: Option<V1Quantity>,
    pub(super) second: Option<V1Quantity>,
    pub(super) to: Option<V1Place<'a>>,
    pub(super) window: Option<V1Window>,
}

#[derive(Debug, Encode, BorrowDecode)]
pub(super) struct V1ByLoss {
    pub(super) sink: V1Sink,
    pub(super) quantity: V1Quantity,
}

#[derive(Debug, Encode, BorrowDecode)]
pub(super) enum V1RunKind {
    Production,
    Split,
    Merge,
    Repack,
}

#[derive(Debug, Encode, BorrowDecode)]
pub(super) struct V1RunId<'a> {
    pub(super) source: &'a str,
    pub(super) name: &'a str,
    pub(super) generation: u32,
}

#[derive(Debug, Encode, BorrowDecode)]
pub(super) struct V1RunReport<'a> {
    pub(super) run: V1RunId<'a>,
    pub(super) kind: V1RunKind,
    pub(super) inputs: Vec<V1Input<'a>>,
    pub(super) outputs: Vec<V1Output<'a>>,
    pub(super) losses: Vec<V1ByLoss>,
    pub(super) mapping: Vec<(V1BatchRef<'a>, V1BatchRef<'a>)>,
    pub(super) hold_up_micros: i64,
    pub(super) completed: bool,
    pub(super) at: Option<&'a str>,
}

#[derive(Debug, Encode, BorrowDecode)]
pub(super) enum V1Destination<'a> {
    Party(&'a str),
    Location(&'a str),
}

#[derive(Debug, Encode, BorrowDecode)]
pub(super) enum V1HoldTarget<'a> {
    Batch(V1BatchRef<'a>),
    Slice(V1BatchRef<'a>, V1Place<'a>),
}

#[derive(Debug, Encode, BorrowDecode)]
pub(super) enum V1ReleaseTarget<'a> {
    Hold(&'a str),
    Batch(V1BatchRef<'a>),
}

#[derive(Debug, Encode, BorrowDecode)]
pub(super) enum V1MixModel {
    Full,
    FirstInFirstOut,
}

#[derive(Debug, Encode, BorrowDecode)]
pub(super) enum V1FactorScope<'a> {
    Item(&'a str),
    Batch(V1BatchId<'a>),
}

#[derive(Debug, Encode, BorrowDecode)]
pub(super) enum V1Correction<'a> {
    Void,
    Supersede {
        occurred_at: V1OccurredAt,
        /// A whole `V1Fact` of its own, so that the depth of nesting is checked before it is entered.
        fact: Cow<'a, [u8]>,
    },
}

/// A sealed value, laid out as in `schemas/ledger-format.md`.
pub(super) type V1Sealed<'a> = Cow<'a, [u8]>;

#[derive(Debug, Encode, BorrowDecode)]
pub(super) enum V1Fact<'a> {
    Received {
        lines: Vec<V1Line<'a>>,
        containers: Vec<&'a str>,
        from: Option<&'a str>,
        shipment: Option<&'a str>,
        by: Option<&'a str>,
        to: V1Place<'a>,
    },
    Produced(V1RunReport<'a>),
    Moved {
        lines: Vec<V1Line<'a>>,
        to: V1Place<'a>,
    },
    Packed {
        container: &'a str,
        lines: Vec<V1Line<'a>>,
        containers: Vec<&'a str>,
        at: Option<&'a str>,
    },
    Unpacked {
        container: &'a str,
        lines: Vec<V1Line<'a>>,
        containers: Vec<&'a str>,
        to: Option<&'a str>,
    },
    ContainerMoved {
        containers: Vec<&'a str>,
        to: V1Place<'a>,
    },
    ContainerEmptied {
        container: &'a str,
    },
    Shipped {
        shipment: &'a str,
        to: Option<V1Destination<'a>>,
        lines: Vec<V1Line<'a>>,
        containers: Vec<&'a str>,
    },
    Delivered {
        shipment: Option<&'a str>,
        to: &'a str,
        lines: Vec<V1Line<'a>>,
        containers: Vec<&'a str>,
    },
    Returned {
        from: &'a str,
        lines: Vec<V1Line<'a>>,
        containers: Vec<&'a str>,
        to: V1Place<'a>,
    },
    Seen {
        lines: Vec<V1Line<'a>>,
        containers: Vec<&'a str>,
        at: V1Place<'a>,
    },
    Held {
        hold: &'a str,
        target: V1HoldTarget<'a>,
        reason: Option<V1Sealed<'a>>,
    },
    Released {
        target: V1ReleaseTarget<'a>,
        reason: Option<V1Sealed<'a>>,
    },
    Counted {
        at: V1Place<'a>,
        lines: Vec<V1Line<'a>>,
    },
    Adjusted {
        at: V1Place<'a>,
        batch: V1BatchRef<'a>,
        difference: V1Quantity,
        reason: Option<V1Sealed<'a>>,
    },
    Disposed {
        lines: Vec<V1Line<'a>>,
        sink: V1Sink,
    },
    VesselFilled {
        vessel: &'a str,
        lines: Vec<V1Line<'a>>,
    },
    VesselDrawn {
        vessel: &'a str,
        batch: Option<V1BatchRef<'a>>,
        quantity: Option<V1Quantity>,
        to: Option<V1Place<'a>>,
    },
    VesselCleaned {
        vessel: &'a str,
        grade: u8,
    },
    ItemDefined {
        item: &'a str,
        base: [u8; 3],
        name: Option<V1Sealed<'a>>,
    },
    PlaceDefined {
        place: &'a str,
        parent: Option<&'a str>,
        time_zone: Option<&'a str>,
        name: Option<V1Sealed<'a>>,
    },
    VesselDefined {
        vessel: &'a str,
        mix: V1MixModel,
        at: Option<&'a str>,
    },
    PartyDefined {
        party: &'a str,
        name: Option<V1Sealed<'a>>,
    },
    FactorDefined {
        scope: V1FactorScope<'a>,
        one: V1Quantity,
        equals: V1Quantity,
    },
    Labelled {
        batch: V1BatchRef<'a>,
        label: &'a str,
    },
    PolicySet {
        holds_pass_runs: bool,
    },
    Corrected {
        target: &'a str,
        correction: V1Correction<'a>,
        reason: Option<V1Sealed<'a>>,
        actor: Option<V1Sealed<'a>>,
    },
    Noted {
        batches: Vec<V1BatchRef<'a>>,
        containers: Vec<&'a str>,
        what: V1Sealed<'a>,
    },
}

#[derive(Debug, Encode, BorrowDecode)]
pub(super) struct V1Amount {
    pub(super) num: i128,
    pub(super) den: i128,
    pub(super) unit: [u8; 3],
}

#[derive(Debug, Encode, BorrowDecode)]
pub(super) struct V1Rejection<'a> {
    pub(super) rule: V1Rule<'a>,
    pub(super) batch: Option<V1BatchRef<'a>>,
    pub(super) place: Option<V1Place<'a>>,
}

#[derive(Debug, Encode, BorrowDecode)]
pub(super) enum V1Rule<'a> {
    UnknownBatch,
    AmbiguousCode { candidates: Vec<V1BatchRef<'a>> },
    NotEnough { available: V1Amount, asked: V1Amount },
    QuantityUnknown,
    AmbiguousSource { candidates: Vec<V1Place<'a>> },
    UnderHold { holds: Vec<&'a str> },
    FutureDate { now: i64 },
    UnknownTarget { target: &'a str },
    NothingToRelease,
    UnknownPlace,
    RunClosed,
    NeverSent { available: V1Amount, asked: V1Amount },
    Conflict { first: u64 },
}
