//! Cases, pallets, shipments, deliveries.

use lotline_domain::fact::{Destination, Fact};
use lotline_domain::id::{PartyId, Place, ShipmentId};

use super::Shift;
use super::catalogue::kilograms;
use super::milk::line;
use super::packing::pack_line;
use super::site::{Case, Consignment, Pack, Pallet};
use super::tell::{When, clock};

const CASES_ON_A_PALLET: usize = 12;

impl Shift<'_> {
    /// Every batch of packs goes into two cases, whose weights together are the batch's.
    pub(super) fn fill_cases(&mut self) {
        let packs = std::mem::take(&mut self.site.packs);
        if let Some(pack) = packs.first() {
            self.label(pack, clock(12, 0));
        }
        let seconds = (clock(3, 50) / (2 * packs.len().max(1)) as i64).min(100);
        let mut at = clock(11, 30);
        for pack in packs {
            let half = Pack { pieces: pack.pieces / 2, grams: pack.grams * (pack.pieces / 2) / pack.pieces, ..pack };
            let rest =
                Pack { batch: half.batch.clone(), pieces: pack.pieces - half.pieces, grams: pack.grams - half.grams };
            for content in [half, rest] {
                if content.pieces > 0 {
                    self.fill_case(content, at);
                    at += seconds;
                }
            }
        }
    }

    fn fill_case(&mut self, content: Pack, at: i64) {
        let id = self.site.container();
        let hall = self.site.places.packing.clone();
        let random = &mut self.site.random;
        // The packing slip may come in after the case has left.
        let when = if random.percent(1) { When::late(at, 1, random) } else { When::prompt(at, random) };
        let fact = Fact::Packed {
            container: id.clone(),
            lines: vec![pack_line(&content, Some(Place::Location(hall.clone())))],
            containers: Vec::new(),
            at: Some(hall),
        };
        self.tell.tell(&mut self.site.desks.store, when, fact);
        self.site.cases.push(Case { id, content });
    }

    pub(super) fn stack_and_ship(&mut self) {
        let cases = std::mem::take(&mut self.site.cases);
        let mut at = clock(15, 30);
        for cases in cases.chunks(CASES_ON_A_PALLET) {
            self.stack(cases.to_vec(), at);
            at += self.site.random.between(100, 190);
        }
        // What came last waits for tomorrow, more often than not.
        let keep = self.site.random.index(3);
        let mut at = clock(16, 45);
        while self.site.stock.len() > keep {
            let first = self.site.stock.pop_front().expect("the stock is not empty");
            let mut pallets = vec![first];
            if self.site.stock.len() > keep && self.site.random.percent(20) {
                pallets.extend(self.site.stock.pop_front());
            }
            self.ship(pallets, at);
            at += self.site.random.between(300, 700);
        }
    }

    fn stack(&mut self, cases: Vec<Case>, at: i64) {
        let id = self.site.container();
        let fact = Fact::Packed {
            container: id.clone(),
            lines: Vec::new(),
            containers: cases.iter().map(|case| case.id.clone()).collect(),
            at: Some(self.site.places.packing.clone()),
        };
        let when = self.prompt(at);
        self.tell.tell(&mut self.site.desks.store, when, fact);
        let to = Place::Location(self.site.places.cold_store.clone());
        let when = self.prompt(at + 600);
        let fact = Fact::ContainerMoved { containers: vec![id.clone()], to };
        self.tell.tell(&mut self.site.desks.store, when, fact);
        self.site.stock.push_back(Pallet { id, cases });
    }

    fn shipment(&mut self) -> ShipmentId {
        self.site.shipments += 1;
        let name = format!("SH-{}-{}", self.today.code, self.site.shipments);
        ShipmentId::parse(&name).expect("a generated name is a name")
    }

    fn ship(&mut self, pallets: Vec<Pallet>, at: i64) {
        let shipment = self.shipment();
        // The first customers buy more often.
        let customers = &self.catalogue.customers;
        let pick = self.site.random.index(customers.len()).min(self.site.random.index(customers.len()));
        let customer = customers[pick].clone();
        let fact = Fact::Shipped {
            shipment: shipment.clone(),
            to: Some(Destination::Party(customer.clone())),
            lines: Vec::new(),
            containers: pallets.iter().map(|pallet| pallet.id.clone()).collect(),
        };
        let when = self.prompt(at);
        self.tell.tell(&mut self.site.desks.store, when, fact);
        self.site.on_the_road.push(Consignment { shipment, customer, pallets });
    }

    /// Whey and buttermilk go off loose, by tanker.
    pub(super) fn ship_whey(&mut self) {
        let whey = std::mem::take(&mut self.site.whey);
        let tank = Place::Location(self.site.places.whey_tank.clone());
        let shipment = self.shipment();
        let lines = whey.iter().map(|(batch, grams)| line(batch, kilograms(*grams), Some(tank.clone()))).collect();
        let fact = Fact::Shipped {
            shipment: shipment.clone(),
            to: Some(Destination::Party(self.catalogue.whey_works.clone())),
            lines,
            containers: Vec::new(),
        };
        let when = self.prompt(clock(20, 0));
        self.tell.tell(&mut self.site.desks.store, when, fact);
        self.site.whey_on_the_road = Some(shipment);
    }

    /// What left yesterday arrives; some proofs of delivery name only the day, some come in days later.
    pub(super) fn deliver(&mut self) {
        let consignments = std::mem::take(&mut self.site.on_the_road);
        let mut candidates = Vec::new();
        for consignment in consignments {
            let at = clock(8, 0) + self.site.random.between(0, 4 * 3600);
            let random = &mut self.site.random;
            let late = random.percent(5);
            let days = random.between(1, 4);
            let mut when = if late { When::late(at, days, random) } else { When::prompt(at, random) };
            when.by_day = random.percent(12);
            self.delivered(&consignment.shipment, &consignment.customer, when);
            if !late {
                candidates.push(consignment);
            }
        }
        let keep = self.site.delivered.is_some() && self.goods_come_back_today();
        if !candidates.is_empty() && !keep {
            let pick = self.site.random.index(candidates.len());
            self.site.delivered = Some(candidates.swap_remove(pick));
        }
        if let Some(shipment) = self.site.whey_on_the_road.take() {
            let works = self.catalogue.whey_works.clone();
            let when = self.prompt(clock(6, 30));
            self.delivered(&shipment, &works, when);
        }
    }

    fn delivered(&mut self, shipment: &ShipmentId, to: &PartyId, when: When) {
        let fact = Fact::Delivered {
            shipment: Some(shipment.clone()),
            to: to.clone(),
            lines: Vec::new(),
            containers: Vec::new(),
        };
        self.tell.tell(&mut self.site.desks.office, when, fact);
    }
}
