//! Which batch a text on the command line means.

use lotline_domain::book::{BatchIx, Book, FactIx};
use lotline_domain::id::{BatchCode, BatchId, BatchRef, Generation, ItemId, PartyId};
use lotline_domain::time::CommitNo;
use lotline_epcis::names;
use lotline_gs1::Identifier;

use crate::failure::{Exit, Failure};

/// The batch that is meant, as known at a commit.
///
/// # Errors
/// Where it is written wrongly, nothing was known of it, or it fits several batches; these are listed.
pub fn batch(text: &str, book: &Book, known: CommitNo) -> Result<BatchIx, Failure> {
    let found = any_batch(text, book, known)?;
    if is_known(found, book, known) { Ok(found) } else { Err(unknown(text, book, known)) }
}

/// The same, where facts may name it only later: what was refused names batches that are in no book.
///
/// # Errors
/// Where it is written wrongly, nothing was ever known of it, or it fits several batches; these are listed.
pub fn any_batch(text: &str, book: &Book, known: CommitNo) -> Result<BatchIx, Failure> {
    if is_gs1(text) {
        return by_identifier(text, book, known);
    }
    let mut exact = exactly(text, book);
    // What is known goes before what was named only later.
    if exact.len() > 1 && exact.iter().any(|batch| is_known(*batch, book, known)) {
        exact.retain(|batch| is_known(*batch, book, known));
    }
    match exact[..] {
        [] => by_code(text, book, known),
        [only] => Ok(only),
        _ => Err(ambiguous(text, &exact, book)),
    }
}

/// Whether a text is written as GS1 writes identifiers; an item that is a URN is followed by its code.
fn is_gs1(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let is_urn = lower.starts_with("urn:epc:") || lower.starts_with("urn:gdst:");
    text.starts_with('(')
        || lower.starts_with("https://")
        || lower.starts_with("http://")
        || (is_urn && !text.contains('/'))
}

/// Whether a fact of a commit up to that one names it, be it in force or not: what was taken back was known, too.
/// What is told of a bare code is told of the batch that it stands for.
fn is_known(batch: BatchIx, book: &Book, known: CommitNo) -> bool {
    let recorded = |fact: FactIx| book.fact(fact).commit <= known.0;
    let named = |batch: BatchIx| {
        book.flows_of_batch(batch).any(|flow| recorded(book.stated(flow).fact))
            || book.deeds_of_batch(batch).any(|deed| recorded(book.deed_row(deed).fact))
    };
    named(batch) || book.pseudo_of(book.code_of(batch)).is_some_and(named)
}

fn by_identifier(text: &str, book: &Book, known: CommitNo) -> Result<BatchIx, Failure> {
    let id = Identifier::parse(text)
        .map_err(|error| Failure::new(Exit::Input, format!("{text:?} is no GS1 identifier")).because(error))?;
    if !matches!(id, Identifier::Batch { .. } | Identifier::Serial { .. } | Identifier::Class { .. }) {
        return Err(Failure::new(Exit::Input, format!("{text} names no batch"))
            .advice("name one by its item and batch code, such as (01)04012345678901(10)L42"));
    }
    let named = names::batch(&id).map_err(|error| Failure::new(Exit::Input, format!("{text:?} {error}")))?;
    let (item, code) = (named.item.clone(), named.code.clone());
    if let Some(found) = book.find_batch(&BatchRef::Known(named)) {
        return Ok(found);
    }
    // The same code of the same item, given by an issuer or used again.
    let same = of_item(&item, &code, book, known);
    match same[..] {
        [] => Err(unknown(text, book, known)),
        [only] => Ok(only),
        _ => Err(ambiguous(text, &same, book)),
    }
}

/// All batches whose full name this is. Names may contain the signs that part them, so each way to part
/// them is tried.
fn exactly(text: &str, book: &Book) -> Vec<BatchIx> {
    let mut found: Vec<BatchIx> = Vec::new();
    for (at, _) in text.match_indices('/') {
        let (item, rest) = (&text[..at], &text[at + 1..]);
        let Ok(item) = ItemId::parse(item) else { continue };
        let numbered = rest.rsplit_once('#').and_then(|(head, number)| Some((head, number.parse().ok()?)));
        for (rest, generation) in
            [Some((rest, Generation::default())), numbered.map(|(head, n)| (head, Generation(n)))].into_iter().flatten()
        {
            let issued = rest.match_indices('@').map(|(at, _)| (&rest[..at], Some(&rest[at + 1..])));
            for (code, issuer) in issued.chain([(rest, None)]) {
                let Ok(code) = BatchCode::parse(code) else { continue };
                let Ok(issuer) = issuer.map(PartyId::parse).transpose() else { continue };
                let id = BatchId { item: item.clone(), issuer, code, generation };
                found.extend(book.find_batch(&BatchRef::Known(id)));
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn by_code(text: &str, book: &Book, known: CommitNo) -> Result<BatchIx, Failure> {
    let bare = text.strip_prefix("?/").unwrap_or(text);
    let code =
        BatchCode::parse(bare).map_err(|error| Failure::new(Exit::Input, format!("the batch {bare:?} {error}")))?;
    let found = book.batches_with_code(&code, known);
    match found[..] {
        [] => match book.find_batch(&BatchRef::Code(code)) {
            Some(found) => Ok(found),
            None => by_item_and_code(text, book, known),
        },
        [only] => Ok(only),
        _ if text != bare => book.find_batch(&BatchRef::Code(code)).ok_or_else(|| ambiguous(text, &found, book)),
        _ => Err(ambiguous(text, &found, book)),
    }
}

/// A batch whose issuer, or which use of the code is meant, was left out.
fn by_item_and_code(text: &str, book: &Book, known: CommitNo) -> Result<BatchIx, Failure> {
    let mut found: Vec<BatchIx> = Vec::new();
    for (at, _) in text.match_indices('/') {
        let (Ok(item), Ok(code)) = (ItemId::parse(&text[..at]), BatchCode::parse(&text[at + 1..])) else { continue };
        found.extend(of_item(&item, &code, book, known));
    }
    found.sort_unstable();
    found.dedup();
    match found[..] {
        [] => Err(unknown(text, book, known)),
        [only] => Ok(only),
        _ => Err(ambiguous(text, &found, book)),
    }
}

/// The batches of an item with a code, whoever gave it.
fn of_item(item: &ItemId, code: &BatchCode, book: &Book, known: CommitNo) -> Vec<BatchIx> {
    let is_of = |batch: &BatchIx| matches!(book.batch(*batch), BatchRef::Known(id) if id.item == *item);
    book.batches_with_code(code, known).into_iter().filter(is_of).collect()
}

/// Nothing is known of a batch as known at a commit.
pub fn unknown(text: &str, book: &Book, known: CommitNo) -> Failure {
    let message = match known == book.head() {
        true => format!("nothing is recorded of a batch {text}"),
        false => format!("as known at commit {}, nothing was recorded of a batch {text}", known.0),
    };
    Failure::new(Exit::No, message).advice(
        "a batch is named ITEM/CODE, ITEM/CODE@ISSUER or by its code alone; `lotline on-hand` lists what is there",
    )
}

fn ambiguous(text: &str, candidates: &[BatchIx], book: &Book) -> Failure {
    let mut named: Vec<BatchRef> = candidates.iter().map(|batch| book.batch(*batch)).collect();
    named.sort_by_cached_key(ToString::to_string);
    let listed: Vec<String> = named.iter().map(|name| format!("    {name}")).collect();
    Failure::new(
        Exit::Input,
        format!("{text} fits {} batches; name one of them in full:\n{}", named.len(), listed.join("\n")),
    )
    .candidates(named)
}
