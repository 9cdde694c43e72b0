//! One integration-test binary; one module per subject.

mod naive_generators;
mod naive_laws;
mod naive_rulings;
mod naive_scenarios;
mod naive_world;
mod ledger_basics;
mod ledger_crash;
mod ledger_damage;
mod ledger_group;
mod ledger_vectors;
mod engine;
mod laws;
mod epcis_capture;
mod epcis_chains;
mod epcis_data;
mod epcis_mapping;
mod ledger_keyring;
mod ledger_kill;
mod wire_any;
mod wire_commands;
mod wire_golden;
mod wire_payload;
mod wire_schemas;
