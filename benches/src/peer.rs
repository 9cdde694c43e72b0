//! What else could answer a recall question: a plain walk over adjacency arrays, which is the limit, and
//! SQLite with a recursive query.

use lotline::dairy::shape::Genealogy;
use rusqlite::Connection;

use crate::Outcome;

/// How many lots descend from a raw lot, itself among them, and how many customers got some of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Found {
    /// Lots, the first among them.
    pub lots: usize,
    /// Customers.
    pub customers: usize,
}

/// Numbers by what they belong to, in one array.
struct Lists {
    begins: Vec<u32>,
    members: Vec<u32>,
}

impl Lists {
    fn of(owners: usize, pairs: impl Iterator<Item = (u32, u32)> + Clone) -> Self {
        let mut begins = vec![0u32; owners + 1];
        for (owner, _) in pairs.clone() {
            begins[owner as usize + 1] += 1;
        }
        for at in 0..owners {
            begins[at + 1] += begins[at];
        }
        let mut next = begins.clone();
        let mut members = vec![0; begins[owners] as usize];
        for (owner, member) in pairs {
            let at = &mut next[owner as usize];
            members[*at as usize] = member;
            *at += 1;
        }
        Self { begins, members }
    }

    fn of_owner(&self, owner: u32) -> &[u32] {
        &self.members[self.begins[owner as usize] as usize..self.begins[owner as usize + 1] as usize]
    }
}

/// A breadth-first walk over adjacency arrays: no names, no time, no quantities.
pub struct Walk {
    children: Lists,
    customers: Lists,
    /// The number of the question that reached it last.
    lots_seen: Vec<u32>,
    customers_seen: Vec<u32>,
    question: u32,
    queue: Vec<u32>,
}

impl Walk {
    /// Over a genealogy.
    pub fn over(genealogy: &Genealogy) -> Self {
        let lots = genealogy.lots.len();
        let deliveries = genealogy.deliveries.iter();
        let customers = deliveries.clone().map(|delivery| delivery.customer as usize + 1).max().unwrap_or(0);
        Self {
            children: Lists::of(lots, genealogy.edges.iter().map(|edge| (edge.parent, edge.child))),
            customers: Lists::of(lots, deliveries.map(|delivery| (delivery.lot, delivery.customer))),
            lots_seen: vec![0; lots],
            customers_seen: vec![0; customers],
            question: 0,
            queue: Vec::new(),
        }
    }

    /// What descends from a lot.
    pub fn ask(&mut self, lot: u32) -> Found {
        self.question += 1;
        let mut customers = 0;
        self.queue.clear();
        self.queue.push(lot);
        self.lots_seen[lot as usize] = self.question;
        let mut at = 0;
        while let Some(lot) = self.queue.get(at).copied() {
            at += 1;
            for child in self.children.of_owner(lot) {
                let seen = &mut self.lots_seen[*child as usize];
                if *seen != self.question {
                    *seen = self.question;
                    self.queue.push(*child);
                }
            }
            for customer in self.customers.of_owner(lot) {
                let seen = &mut self.customers_seen[*customer as usize];
                customers += usize::from(*seen != self.question);
                *seen = self.question;
            }
        }
        Found { lots: at, customers }
    }
}

/// SQLite in memory, with covering indexes.
pub struct Sqlite(Connection);

impl Sqlite {
    /// With a genealogy.
    pub fn with(genealogy: &Genealogy) -> Outcome<Self> {
        let mut connection = Connection::open_in_memory()?;
        connection.execute_batch(
            "create table edges(p int, c int, q int, h int); create table ship(lot int, cust int, q int, h int)",
        )?;
        let transaction = connection.transaction()?;
        {
            let mut edges = transaction.prepare("insert into edges values(?, ?, ?, ?)")?;
            for edge in &genealogy.edges {
                edges.execute((edge.parent, edge.child, edge.quantity, genealogy.lots[edge.child as usize].hour))?;
            }
            let mut ship = transaction.prepare("insert into ship values(?, ?, ?, ?)")?;
            for delivery in &genealogy.deliveries {
                ship.execute((delivery.lot, delivery.customer, delivery.quantity, delivery.hour))?;
            }
        }
        transaction.commit()?;
        connection.execute_batch("create index ep on edges(p, c); create index sl on ship(lot, cust); analyze")?;
        Ok(Self(connection))
    }

    /// What descends from a lot.
    pub fn ask(&self, lot: u32) -> Outcome<Found> {
        let mut question = self.0.prepare_cached(
            "with recursive d(id) as (select ? union select e.c from d join edges e on e.p = d.id) \
             select count(*), (select count(distinct cust) from d join ship on ship.lot = d.id) from d",
        )?;
        let (lots, customers): (u32, u32) = question.query_row([lot], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Found { lots: lots as usize, customers: customers as usize })
    }
}
