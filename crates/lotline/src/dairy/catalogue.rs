//! What all sites share: items, suppliers, customers. All names are invented from generic words.

use lotline_domain::fact::{Fact, FactorScope};
use lotline_domain::id::{ItemId, LocationId, PartyId};
use lotline_domain::quantity::Stated;
use lotline_domain::unit::Unit;
use rust_decimal::Decimal;

use super::TIME_ZONE;
use super::tell::{Desk, Teller, When};

/// Grams as kilograms.
pub(super) fn kilograms(grams: i64) -> Stated {
    Stated::new(Decimal::new(grams, 3), Unit::KILOGRAM).expect("a simulated weight is small and not negative")
}

pub(super) fn pieces(count: i64) -> Stated {
    Stated::new(Decimal::from(count), Unit::PIECE).expect("a simulated count is small and not negative")
}

pub(super) fn litres(count: i64) -> Stated {
    Stated::new(Decimal::from(count), Unit::LITRE).expect("a simulated volume is small and not negative")
}

/// A sort of cheese: how it is made, how long it ripens, how it is sold.
#[derive(Debug)]
pub(super) struct Sort {
    pub(super) item: ItemId,
    pub(super) pack: ItemId,
    /// Thousandths of the milk that become cheese.
    pub(super) yields: (i64, i64),
    pub(super) ripening_days: u32,
    /// Thousandths that dry off while it ripens.
    pub(super) drying: (i64, i64),
    pub(super) wheel_grams: i64,
    pub(super) pack_grams: i64,
}

#[derive(Debug)]
pub(super) struct Items {
    pub(super) raw: ItemId,
    pub(super) milk: ItemId,
    pub(super) cream: ItemId,
    pub(super) churning: ItemId,
    pub(super) culture: ItemId,
    pub(super) rennet: ItemId,
    pub(super) salt: ItemId,
    pub(super) whey: ItemId,
    pub(super) buttermilk: ItemId,
    pub(super) butter: ItemId,
    pub(super) trimmings: ItemId,
    pub(super) melt: ItemId,
    pub(super) melt_pack: ItemId,
}

#[derive(Debug)]
pub(super) struct Catalogue {
    pub(super) company: LocationId,
    pub(super) items: Items,
    pub(super) sorts: [Sort; 3],
    pub(super) farms: Vec<PartyId>,
    pub(super) customers: Vec<PartyId>,
    pub(super) ingredients: PartyId,
    pub(super) whey_works: PartyId,
    office: (Desk, Vec<(PartyId, String)>),
}

const FARM_FIRST: [&str; 6] = ["Upper", "Lower", "Long", "Stony", "Clover", "Willow"];
const FARM_LAST: [&str; 4] = ["Meadow Farm", "Brook Farm", "Ridge Farm", "Field Farm"];
const SHOP_FIRST: [&str; 6] = ["Harbour", "Market Square", "Old Mill", "Station", "Hilltop", "Riverside"];
const SHOP_LAST: [&str; 5] = ["Grocers", "Deli", "Foods", "Canteen", "Wholesale"];

fn item(text: &str) -> ItemId {
    ItemId::parse(text).expect("an item of the catalogue is a name")
}

pub(super) fn party(text: &str) -> PartyId {
    PartyId::parse(text).expect("a party of the catalogue is a name")
}

fn slug(name: &str) -> String {
    name.to_lowercase().replace(' ', "-")
}

fn pairs(first: &[&str], last: &[&str]) -> Vec<(PartyId, String)> {
    let join = |f: &&str, l: &&str| format!("{f} {l}");
    let names = first.iter().flat_map(|f| last.iter().map(move |l| join(f, l)));
    names.map(|name| (party(&slug(&name)), name)).collect()
}

impl Catalogue {
    pub(super) fn new() -> Self {
        let items = Items {
            raw: item("raw-milk"),
            milk: item("pasteurised-milk"),
            cream: item("cream"),
            churning: item("churning-cream"),
            culture: item("starter-culture"),
            rennet: item("rennet"),
            salt: item("salt"),
            whey: item("whey"),
            buttermilk: item("buttermilk"),
            butter: item("butter-250g"),
            trimmings: item("trimmings"),
            melt: item("processed-cheese"),
            melt_pack: item("processed-slices-200g"),
        };
        let sort = |name: &str, pack_grams, yields, ripening_days, drying, wheel_grams| Sort {
            item: item(name),
            pack: item(&format!("{name}-{pack_grams}g")),
            yields,
            ripening_days,
            drying,
            wheel_grams,
            pack_grams,
        };
        let sorts = [
            sort("meadow-mature", 300, (95, 103), 8, (14, 30), 6_000),
            sort("valley-semi-hard", 250, (100, 108), 5, (8, 18), 4_000),
            sort("brook-young", 200, (110, 122), 2, (2, 6), 1_500),
        ];
        let mut names = pairs(&FARM_FIRST, &FARM_LAST);
        let shops = pairs(&SHOP_FIRST, &SHOP_LAST);
        let farms = names.iter().map(|(id, _)| id.clone()).collect();
        let customers = shops.iter().map(|(id, _)| id.clone()).collect();
        names.extend(shops);
        names.push((party("bright-ferments"), "Bright Ferments".to_owned()));
        names.push((party("lowland-whey-works"), "Lowland Whey Works".to_owned()));
        Self {
            company: LocationId::parse("tarnbrook-dairy").expect("a word is a name"),
            items,
            sorts,
            farms,
            customers,
            ingredients: party("bright-ferments"),
            whey_works: party("lowland-whey-works"),
            office: (Desk::new("head-office", false), names),
        }
    }

    /// Tells the master data that all sites share.
    pub(super) fn define(&mut self, tell: &mut Teller) {
        let (desk, names) = &mut self.office;
        let when = When { at: 1, paper: 1, by_day: false };
        let place = self.company.clone();
        let zone = Some(TIME_ZONE.to_owned());
        let name = Some("Tarnbrook Dairy".to_owned());
        tell.tell(desk, when, Fact::PlaceDefined { place, parent: None, time_zone: zone, name });
        tell.tell(desk, when, Fact::PolicySet { holds_pass_runs: true });
        for (party, name) in names.drain(..) {
            tell.tell(desk, when, Fact::PartyDefined { party, name: Some(name) });
        }
        let i = &self.items;
        let by_weight = [
            &i.raw,
            &i.milk,
            &i.cream,
            &i.churning,
            &i.culture,
            &i.rennet,
            &i.salt,
            &i.whey,
            &i.buttermilk,
            &i.trimmings,
            &i.melt,
        ];
        let cheeses = self.sorts.iter().map(|sort| &sort.item);
        for item in by_weight.into_iter().chain(cheeses) {
            tell.tell(desk, when, defined(item, Unit::KILOGRAM));
        }
        let by_piece = [&i.butter, &i.melt_pack].into_iter().chain(self.sorts.iter().map(|sort| &sort.pack));
        for item in by_piece {
            tell.tell(desk, when, defined(item, Unit::PIECE));
        }
        // A tanker's own density goes before this one.
        let scope = FactorScope::Item(self.items.raw.clone());
        tell.tell(desk, when, Fact::FactorDefined { scope, one: litres(1), equals: kilograms(1_030) });
    }
}

fn defined(item: &ItemId, base: Unit) -> Fact {
    Fact::ItemDefined { item: item.clone(), base, name: Some(item.as_str().replace('-', " ")) }
}
