//! The laws that planted bugs must break: modules of the test binary proper, without all the rest of
//! it, so that a planted bug is built in seconds.

#[expect(dead_code, reason = "some of it serves other tests only")]
#[path = "../tests/all/engine.rs"]
mod engine;
#[path = "../tests/all/handler_commits.rs"]
mod handler_commits;
#[path = "../tests/all/handler_overdraw.rs"]
mod handler_overdraw;
#[expect(dead_code, reason = "some of it serves other tests only")]
#[path = "../tests/all/handler_plant.rs"]
mod handler_plant;
#[path = "../tests/all/laws.rs"]
mod laws;
#[path = "../tests/all/ledger_crash.rs"]
mod ledger_crash;
#[path = "../tests/all/ledger_damage.rs"]
mod ledger_damage;
#[path = "../tests/all/ledger_group.rs"]
mod ledger_group;
#[path = "../tests/all/projections_feed.rs"]
mod projections_feed;
#[path = "../tests/all/projections_keep.rs"]
mod projections_keep;
#[path = "../tests/all/projections_settlements.rs"]
mod projections_settlements;
