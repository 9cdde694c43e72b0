//! What a `Cargo.toml` says about dependencies, with line numbers.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One package of the workspace.
#[derive(Debug)]
pub struct Manifest {
    /// Name of the package; empty where the manifest has none.
    pub package: String,
    pub dependencies: Vec<Dependency>,
}

#[derive(Debug)]
pub struct Dependency {
    /// The package depended on, whatever it is renamed to.
    pub package: String,
    pub kind: Kind,
    /// Version and source are those of the workspace's root.
    pub from_workspace: bool,
    pub line: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Normal,
    Development,
    Build,
}

impl Manifest {
    /// Reads a manifest; `root` resolves what was renamed in `[workspace.dependencies]`. The error is
    /// the parser's own message.
    pub fn parse(text: &str, root: &Renames) -> Result<Self, String> {
        let document = parse(text)?;
        let top = document.get_ref();
        let mut dependencies = Vec::new();
        read_tables(text, top, root, &mut dependencies);
        if let Some(targets) = table(top, "target") {
            for target in targets.values().filter_map(|target| as_table(target)) {
                read_tables(text, target, root, &mut dependencies);
            }
        }
        let package = table(top, "package").and_then(|package| string(package, "name")).unwrap_or_default();
        Ok(Self { package: package.to_owned(), dependencies })
    }
}

/// Names in `[workspace.dependencies]` that stand for a package of another name.
#[derive(Debug, Default)]
pub struct Renames(Vec<(String, String)>);

impl Renames {
    /// Reads them from the root's manifest; empty where that cannot be read, which cargo tells better.
    pub fn parse(text: &str) -> Self {
        let Ok(document) = parse(text) else {
            return Self::default();
        };
        let dependencies =
            table(document.get_ref(), "workspace").and_then(|workspace| table(workspace, "dependencies"));
        let renames = dependencies.into_iter().flatten().filter_map(|(name, value)| {
            let package = string(as_table(value)?, "package")?;
            Some((name.get_ref().to_string(), package.to_owned()))
        });
        Self(renames.collect())
    }

    fn resolve(&self, name: &str) -> String {
        let renamed = self.0.iter().find(|(renamed, _)| renamed == name);
        renamed.map_or_else(|| name.to_owned(), |(_, package)| package.clone())
    }
}

fn read_tables(text: &str, from: &DeTable<'_>, root: &Renames, into: &mut Vec<Dependency>) {
    for (key, kind) in
        [("dependencies", Kind::Normal), ("dev-dependencies", Kind::Development), ("build-dependencies", Kind::Build)]
    {
        for (name, value) in table(from, key).into_iter().flatten() {
            let options = as_table(value);
            let from_workspace = options
                .and_then(|options| options.get("workspace"))
                .is_some_and(|workspace| workspace.get_ref().as_bool() == Some(true));
            let own_name = options.and_then(|options| string(options, "package"));
            into.push(Dependency {
                package: own_name.map_or_else(|| root.resolve(name.get_ref()), str::to_owned),
                kind,
                from_workspace,
                line: line_of(text, name.span().start),
            });
        }
    }
}

fn parse(text: &str) -> Result<Spanned<DeTable<'_>>, String> {
    DeTable::parse(text).map_err(|error| error.to_string())
}

fn table<'t, 'd>(table: &'t DeTable<'d>, key: &str) -> Option<&'t DeTable<'d>> {
    as_table(table.get(key)?)
}

fn as_table<'t, 'd>(value: &'t Spanned<DeValue<'d>>) -> Option<&'t DeTable<'d>> {
    value.get_ref().as_table()
}

fn string<'t>(table: &'t DeTable<'_>, key: &str) -> Option<&'t str> {
    table.get(key)?.get_ref().as_str()
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text[..at].matches('\n').count()
}
