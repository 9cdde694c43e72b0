//! Metrics and health over HTTP, on a thread of its own: it answers whatever the others do.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use lotline_bus::Stop;
use lotline_ledger::{CommitNumber, LedgerId};
use serde::Serialize;

use super::board::{Board, Role};
use crate::args;
use crate::failure::{Exit, Failure};

/// How often the server is asked how far its stream is.
const LOOK: Duration = Duration::from_secs(1);
/// At every so manieth look the dead letters are counted, and at once when there is a new one.
const LETTERS: u64 = 10;

/// Answers, if that is asked for, until the process ends.
///
/// # Errors
/// Where the address cannot be listened to.
pub fn listen(board: &Board, asked: &args::Metrics) -> Result<(), Failure> {
    let Some(address) = asked.metrics else { return Ok(()) };
    let failed = |error| {
        Failure::new(Exit::Busy, format!("--metrics {address} cannot be listened to"))
            .because(error)
            .advice("another process may have it: name another address")
    };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let own: SocketAddr = listener.local_addr().map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .with_state(board.clone());
    let answering = std::thread::Builder::new().name("lotline-http".to_owned()).spawn(move || {
        let served =
            runtime.block_on(async move { axum::serve(tokio::net::TcpListener::from_std(listener)?, router).await });
        if let Err(error) = served {
            tracing::error!(%error, "metrics and health are not told any more");
        }
    });
    answering.map_err(failed)?;
    eprintln!("note: metrics and health at http://{own}/metrics, /health and /ready");
    Ok(())
}

async fn metrics(State(board): State<Board>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], board.metrics()).into_response()
}

async fn health(State(board): State<Board>) -> Response {
    let health = board.health();
    json(health.healthy, &health)
}

async fn ready(State(board): State<Board>) -> Response {
    let readiness = board.readiness();
    json(readiness.ready, &readiness)
}

fn json(is_well: bool, answer: &impl Serialize) -> Response {
    let status = if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = serde_json::to_vec(answer).expect("it has text keys only");
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Asks the server now and then what only it knows, until the stop.
pub fn look(board: &Board, ledger: LedgerId, stop: &Stop) {
    let (mut round, mut dead) = (0, 0);
    loop {
        if let Some(bus) = board.bus().filter(lotline_bus::Bus::is_connected) {
            if board.role() == Role::Projector {
                let at = CommitNumber::new(board.least().unwrap_or(0));
                match bus.backlog(ledger, at) {
                    Ok(Some(backlog)) => board.behind(backlog.end.get(), at, backlog.oldest),
                    Ok(None) => {}
                    Err(error) => tracing::debug!(%error, "how far the stream is, is not known now"),
                }
            } else if round % LETTERS == 0 || bus.tally().dead != dead {
                dead = bus.tally().dead;
                match bus.open_letters(ledger) {
                    Ok(count) => board.open_letters(count),
                    Err(error) => tracing::debug!(%error, "dead letters cannot be counted now"),
                }
            }
        }
        round += 1;
        if stop.wait(LOOK) {
            return;
        }
    }
}
