//! Questions from a NATS server to whoever knows, and the answers back.
//!
//! Each kind has a subject of its own, and all that answer it share the questions. A question changes nothing: one
//! without an answer can be asked again, of anybody.

use lotline_ledger::LedgerId;
use lotline_wire::channel;

use crate::connect::Bus;
use crate::intake::requests::Offered;
use crate::intake::{Intake, IntakeError, IntakeOptions, TakenIn, Taker};
use crate::stop::Stop;

/// How much is answered at once.
#[derive(Debug, Clone)]
pub struct QuestionOptions {
    /// So many questions may wait for their answers; further ones are told when to come again.
    pub waiting: usize,
    /// A version that tools show beside the service.
    pub version: String,
}

impl Bus {
    /// Takes questions of some kinds about a ledger until it is stopped; then what was asked is still answered. The
    /// kind of each stands in [`Incoming::source`](crate::Incoming). A server that goes away is waited for.
    ///
    /// # Errors
    /// When the server does not take the service.
    pub fn take_questions(
        &self,
        ledger: LedgerId,
        kinds: &[&'static str],
        taker: &impl Taker,
        options: &QuestionOptions,
        stop: &Stop,
    ) -> Result<TakenIn, IntakeError> {
        let ledger = ledger.to_string();
        let offered = Offered {
            name: channel::ASK_SERVICE,
            description: "answers questions about a Lotline ledger; the last token of the subject is the kind",
            endpoints: kinds.iter().map(|kind| (*kind, channel::ask_subject(&ledger, kind))).collect(),
            only_answers: true,
        };
        let QuestionOptions { waiting, version } = options.clone();
        let options = IntakeOptions { waiting, version, ..IntakeOptions::default() };
        let intake = Intake { bus: self, ledger, taker, options: &options, stop };
        self.block_on(intake.requests(&offered))
    }
}
