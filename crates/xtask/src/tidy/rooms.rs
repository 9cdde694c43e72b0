//! Which room may use which: the edges between packages, and the crates that one room alone may name.

use super::manifest::{Dependency, Kind, Manifest, Renames};
use super::{File, Finding, Tree};

const EDGE: &str = "room-edge";
const UNKNOWN: &str = "unknown-room";
const GUARDED: &str = "guarded-crate";
const PINNED: &str = "pinned-at-root";
const PURE: &str = "pure-room";
const MANIFEST: &str = "manifest";

const TESTKIT: &str = "testkit";

/// A folder below `crates/` and the rooms that it may use.
struct Room {
    name: &'static str,
    uses: Uses,
}

enum Uses {
    Only(&'static [&'static str]),
    All,
}

/// The whole table; an edge that it lacks does not exist.
const ROOMS: [Room; 14] = [
    room("domain", &[]),
    room("gs1", &[]),
    room("epcis", &["domain", "gs1"]),
    room("wire", &["domain"]),
    room("ledger", &[]),
    room("audit", &["ledger", "wire"]),
    room("handler", &["domain", "wire", "ledger"]),
    room("projections", &["domain", "wire"]),
    room("bus", &["wire", "ledger"]),
    room("api", &["handler", "projections", "wire", "epcis"]),
    room("dashboard", &["projections", "wire"]),
    Room { name: "lotline", uses: Uses::All },
    Room { name: TESTKIT, uses: Uses::All },
    // Only to write the generated schemas.
    room("xtask", &["wire"]),
];

const fn room(name: &'static str, uses: &'static [&'static str]) -> Room {
    Room { name, uses: Uses::Only(uses) }
}

/// A crate that has one owner among the rooms, so that replacing it touches one room.
struct Guarded {
    package: &'static str,
    rooms: &'static [&'static str],
}

const GUARDED_CRATES: [Guarded; 6] = [
    Guarded { package: "async-nats", rooms: &["bus"] },
    Guarded { package: "sled", rooms: &["projections"] },
    // Projections encode their own pages, which a rebuild can make again.
    Guarded { package: "bincode", rooms: &["wire", "projections"] },
    // The others count in plain values.
    Guarded { package: "metrics", rooms: &["lotline"] },
    Guarded { package: "metrics-exporter-prometheus", rooms: &["lotline"] },
    Guarded { package: "axum", rooms: &["lotline"] },
];

/// What would give a room without I/O, clock, async or serialisation one of them.
const IMPURE: [&str; 9] =
    ["serde", "serde_json", "schemars", "tokio", "futures-util", "rand", "getrandom", "tracing", "fs4"];
const PURE_ROOMS: [&str; 1] = ["domain"];

pub fn check(tree: &Tree) -> Vec<Finding> {
    let root = tree.file("Cargo.toml");
    let renames = root.map_or_else(Renames::default, |file| Renames::parse(&file.text));
    let mut findings = Vec::new();
    for file in &tree.files {
        let Some(folder) = file.path.strip_suffix("/Cargo.toml") else {
            continue;
        };
        match Manifest::parse(&file.text, &renames) {
            Ok(manifest) => check_package(file, folder, &manifest, &mut findings),
            Err(message) => findings.push(Finding {
                path: file.path.clone(),
                line: 1,
                rule: MANIFEST,
                advice: format!("cannot be read: {}", message.trim()),
            }),
        }
    }
    findings
}

fn check_package(file: &File, folder: &str, manifest: &Manifest, findings: &mut Vec<Finding>) {
    let mut find = |line, rule, advice| {
        findings.push(Finding { path: file.path.clone(), line, rule, advice });
    };
    for dependency in manifest.dependencies.iter().filter(|d| !d.from_workspace) {
        let advice = format!(
            "`{}` has a version of its own; write it in the root's [workspace.dependencies] and `{0}.workspace = true` here",
            dependency.package
        );
        find(dependency.line, PINNED, advice);
    }
    let Some(name) = folder.strip_prefix("crates/") else {
        return;
    };
    let Some(room) = ROOMS.iter().find(|room| room.name == name) else {
        let advice = format!(
            "`{name}` is not in the table of rooms; a room needs 500 lines of its own and a line in xtask's tidy/rooms.rs"
        );
        find(1, UNKNOWN, advice);
        return;
    };
    if manifest.package != package_of(name) {
        let advice =
            format!("the package is named `{}`; name it `{}` after its folder", manifest.package, package_of(name));
        find(1, UNKNOWN, advice);
    }
    for dependency in &manifest.dependencies {
        if let Some((rule, advice)) = forbidden(room, dependency) {
            find(dependency.line, rule, advice);
        }
    }
}

fn package_of(room: &str) -> String {
    match room {
        "lotline" | "xtask" => room.to_owned(),
        _ => format!("lotline-{room}"),
    }
}

/// Why this room may not have this dependency, if so.
fn forbidden(room: &Room, dependency: &Dependency) -> Option<(&'static str, String)> {
    let package = dependency.package.as_str();
    if let Some(other) = ROOMS.iter().find(|room| package_of(room.name) == package) {
        return forbidden_edge(room, other, dependency.kind).map(|advice| (EDGE, advice));
    }
    if let Some(guarded) = GUARDED_CRATES.iter().find(|g| g.package == package)
        && !guarded.rooms.contains(&room.name)
    {
        let owners = guarded.rooms.join(" and ");
        let advice = format!("only {owners} may name `{package}`; use what that room offers instead");
        return Some((GUARDED, advice));
    }
    if PURE_ROOMS.contains(&room.name) && dependency.kind != Kind::Development && IMPURE.contains(&package) {
        let advice = format!(
            "`{}` has no I/O, clock, async or serialisation, so no `{package}`; do that in wire or in the caller",
            room.name
        );
        return Some((PURE, advice));
    }
    None
}

fn forbidden_edge(room: &Room, other: &Room, kind: Kind) -> Option<String> {
    if other.name == TESTKIT {
        return (kind != Kind::Development)
            .then(|| "testkit is for tests only; move it to [dev-dependencies]".to_owned());
    }
    let allowed = match room.uses {
        Uses::All => other.name != "xtask",
        Uses::Only(rooms) => rooms.contains(&other.name),
    };
    (!allowed).then(|| {
        format!(
            "`{}` may not use `{}`; pass the value in, or move the code to a room that may use both",
            room.name, other.name
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{breaks, passes, rules};
    use super::{EDGE, GUARDED, MANIFEST, PINNED, PURE, UNKNOWN};

    #[test]
    fn edges_are_those_of_the_table() {
        passes(
            "crates/epcis/Cargo.toml",
            "[package]\nname = \"lotline-epcis\"\n[dependencies]\nlotline-domain.workspace = true\nlotline-gs1.workspace = true\n",
        );
        breaks(
            EDGE,
            "crates/ledger/Cargo.toml",
            "[package]\nname = \"lotline-ledger\"\n[dependencies]\nblake3.workspace = true\nlotline-wire.workspace = true\n",
            &[5],
        );
        breaks(
            EDGE,
            "crates/domain/Cargo.toml",
            "[package]\nname = \"lotline-domain\"\n[dev-dependencies.lotline-ledger]\nworkspace = true\n",
            &[3],
        );
        breaks(
            EDGE,
            "crates/gs1/Cargo.toml",
            "[package]\nname = \"lotline-gs1\"\n[target.'cfg(unix)'.dependencies]\nlotline-domain = { workspace = true }\n",
            &[4],
        );
        breaks(
            EDGE,
            "crates/lotline/Cargo.toml",
            "[package]\nname = \"lotline\"\n[dependencies]\nlotline-bus.workspace = true\nxtask.workspace = true\n",
            &[5],
        );
    }

    #[test]
    fn a_renamed_dependency_is_the_same_edge() {
        let root = "[workspace.dependencies]\nstore = { package = \"lotline-ledger\", path = \"crates/ledger\" }\n";
        let gs1 = "[package]\nname = \"lotline-gs1\"\n[dependencies]\nstore.workspace = true\n";
        let found = rules(&[("Cargo.toml", root), ("crates/gs1/Cargo.toml", gs1)]);
        assert_eq!(found, [("crates/gs1/Cargo.toml".to_owned(), 4, EDGE)]);
    }

    #[test]
    fn testkit_is_for_tests_only() {
        passes(
            "crates/domain/Cargo.toml",
            "[package]\nname = \"lotline-domain\"\n[dev-dependencies]\nlotline-testkit.workspace = true\n",
        );
        breaks(
            EDGE,
            "crates/lotline/Cargo.toml",
            "[package]\nname = \"lotline\"\n[dependencies]\nlotline-testkit.workspace = true\n",
            &[4],
        );
    }

    #[test]
    fn a_guarded_crate_has_its_owners() {
        passes(
            "crates/projections/Cargo.toml",
            "[package]\nname = \"lotline-projections\"\n[dependencies]\nsled.workspace = true\nbincode.workspace = true\n",
        );
        breaks(
            GUARDED,
            "crates/handler/Cargo.toml",
            "[package]\nname = \"lotline-handler\"\n[dependencies]\nasync-nats.workspace = true\nbincode.workspace = true\nsled.workspace = true\n",
            &[4, 5, 6],
        );
    }

    #[test]
    fn domain_stays_pure() {
        let manifest =
            |section: &str| format!("[package]\nname = \"lotline-domain\"\n[{section}]\nserde_json.workspace = true\n");
        passes("crates/domain/Cargo.toml", &manifest("dev-dependencies"));
        breaks(PURE, "crates/domain/Cargo.toml", &manifest("dependencies"), &[4]);
    }

    #[test]
    fn versions_stand_at_the_root() {
        passes(
            "tests/Cargo.toml",
            "[package]\nname = \"lotline-tests\"\n[dependencies]\ncsv = { workspace = true, features = [] }\n",
        );
        breaks(PINNED, "tests/Cargo.toml", "[package]\nname = \"lotline-tests\"\n[dependencies]\ncsv = \"1\"\n", &[4]);
    }

    #[test]
    fn rooms_are_known_and_named_after_their_folder() {
        passes(
            "crates/xtask/Cargo.toml",
            "[package]\nname = \"xtask\"\n[dependencies]\nlotline-wire.workspace = true\n",
        );
        breaks(UNKNOWN, "crates/utils/Cargo.toml", "[package]\nname = \"lotline-utils\"\n", &[1]);
        breaks(UNKNOWN, "crates/gs1/Cargo.toml", "[package]\nname = \"gs1\"\n", &[1]);
        breaks(MANIFEST, "crates/gs1/Cargo.toml", "[package\n", &[1]);
    }
}
