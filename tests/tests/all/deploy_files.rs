//! The files of `deploy/`: they are read as their programs read them, and name nothing that does not exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::{CommandFactory, Parser};
use lotline::args::Cli;
use serde_json::Value;
use tempfile::tempdir;
use yaml_rust2::{Yaml, YamlLoader};

use super::bus_metrics::documented;
use super::bus_server::{Server, program};
use super::cli_binary::{VARIABLES, binary};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Yaml {
    let mut all = YamlLoader::load_from_str(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert_eq!(all.len(), 1, "{path} is one document");
    all.remove(0)
}

fn texts(list: &Yaml) -> Vec<String> {
    list.as_vec().into_iter().flatten().filter_map(Yaml::as_str).map(str::to_owned).collect()
}

/// Panics unless the real parser takes these words behind `lotline`; `nats` is what NATS_URL says there.
#[track_caller]
fn parses(place: &str, words: &[String], nats: Option<&str>) {
    let mut line = vec!["lotline".to_owned()];
    line.extend(words.iter().cloned());
    if let Some(url) = nats
        && !words.iter().any(|word| word == "--nats")
    {
        line.extend(["--nats".to_owned(), url.to_owned()]);
    }
    if let Err(error) = Cli::try_parse_from(&line) {
        panic!("{place}: {line:?}: {error}");
    }
}

/// The variables that the command line reads.
fn variables() -> BTreeSet<String> {
    fn collect(command: &clap::Command, into: &mut BTreeSet<String>) {
        into.extend(
            command.get_arguments().filter_map(|arg| arg.get_env()).map(|name| name.to_string_lossy().into_owned()),
        );
        command.get_subcommands().for_each(|command| collect(command, into));
    }
    let mut found = BTreeSet::new();
    collect(&Cli::command(), &mut found);
    found
}

#[test]
fn the_tests_know_every_variable_that_the_command_line_reads() {
    let known: BTreeSet<String> = VARIABLES.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(variables(), known);
}

fn is_ours(variable: &str) -> bool {
    variable.starts_with("NATS_") || variable.starts_with("LOTLINE_")
}

#[test]
fn the_image_starts_a_service_and_looks_after_its_health() {
    let file = text("deploy/Dockerfile");
    let joined = file.replace("\\\n", " ");
    let list = |instruction: &str| -> Vec<String> {
        let line = joined.lines().rfind(|line| line.trim_start().starts_with(instruction)).expect(instruction);
        let (_, json) = line.split_once('[').expect("a list");
        serde_json::from_str(&format!("[{json}")).unwrap_or_else(|error| panic!("{line}: {error}"))
    };
    assert_eq!(list("ENTRYPOINT"), ["lotline"]);
    parses("Dockerfile", &list("CMD"), None);
    for line in joined.lines().filter_map(|line| line.strip_prefix("ENV ")) {
        let (name, _) = line.split_once('=').expect("a variable");
        assert!(variables().contains(name), "{name}");
    }
    let user = joined.lines().rfind(|line| line.starts_with("USER ")).expect("a user");
    assert!(!user.contains("root") && !user.contains(" 0"), "{user}");

    let check = list("HEALTHCHECK");
    if Command::new(&check[0]).arg("--version").output().is_err() {
        eprintln!("skipped: the health check needs {}", check[0]);
        return;
    }
    let folder = tempdir().expect("a folder");
    let serve = super::bus_metrics::Watched::start(folder.path(), &["serve", "--dir", "plant"]);
    let port = serve.address.rsplit(':').next().expect("a port").to_owned();
    let ends = |script: String| Command::new(&check[0]).args([&check[1], &script]).status().expect("it runs").success();
    assert!(ends(check[2].replace("9464", &port)), "{check:?}");
    assert!(!ends(check[2].replace("9464", &port).replace("/health", "/nowhere")), "404 is not well");
    assert_eq!(serve.service.interrupt("TERM").code, 0);
    assert!(!ends(check[2].replace("9464", &port)), "nobody is not well");
}

#[test]
fn the_containers_are_started_as_the_command_line_understands() {
    let mut started = BTreeSet::new();
    for path in ["deploy/compose.yaml", "deploy/compose.secured.yaml"] {
        let compose = yaml(path);
        let services = compose["services"].as_hash().expect("services");
        for (name, service) in services {
            let name = name.as_str().expect("a name");
            let command = texts(&service["command"]);
            if ["serve", "genealogy", "inventory", "recall"].contains(&name) {
                parses(&format!("{path}: {name}"), &command, None);
                started.insert(name.to_owned());
            }
            let environment = service["environment"].as_hash().into_iter().flatten();
            for (variable, _) in environment.filter_map(|(name, value)| Some((name.as_str()?, value))) {
                assert!(!is_ours(variable) || variables().contains(variable), "{path}: {name}: {variable}");
            }
            // What is mounted from here has to be here; keys are made there.
            let mounts = texts(&service["volumes"])
                .into_iter()
                .filter_map(|mount| mount.strip_prefix("./").and_then(|own| own.split(':').next()).map(str::to_owned));
            for own in mounts.filter(|own| !own.starts_with("keys")) {
                assert!(root().join("deploy").join(&own).exists(), "{path}: {name}: {own}");
            }
        }
    }
    assert_eq!(started.len(), 4, "{started:?}");
    let base = yaml("deploy/compose.yaml");
    for job in yaml("deploy/prometheus/prometheus.yml")["scrape_configs"].as_vec().expect("jobs") {
        for target in job["static_configs"].as_vec().into_iter().flatten().flat_map(|config| texts(&config["targets"]))
        {
            let (name, port) = target.split_once(':').expect("a port");
            assert!(!base["services"][name].is_badvalue(), "{name} is a service of compose.yaml");
            assert_eq!(port, "9464");
        }
    }
    for file in texts(&yaml("deploy/prometheus/prometheus.yml")["rule_files"]) {
        assert!(root().join("deploy/prometheus").join(&file).is_file(), "{file}");
    }
}

/// The metrics that a text names; those of a histogram's parts count as the histogram.
fn named(text: &str) -> BTreeSet<String> {
    let known = documented();
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("lotline_") {
        let name: String = text[at..].chars().take_while(|sign| sign.is_ascii_alphanumeric() || *sign == '_').collect();
        let base = ["_bucket", "_count", "_sum"].iter().find_map(|part| name.strip_suffix(part));
        found.insert(base.filter(|base| known.contains(*base)).map_or(name.clone(), str::to_owned));
    }
    found
}

#[test]
fn dashboard_and_alerts_name_metrics_that_exist_and_all_that_matter() {
    let dashboard: Value = serde_json::from_str(&text("deploy/grafana/dashboards/lotline.json")).expect("JSON");
    let mut shown = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{panel}");
        assert_eq!(panel["datasource"]["uid"], "lotline-prometheus", "{panel}");
        for target in panel["targets"].as_array().expect("targets") {
            let expression = target["expr"].as_str().expect("an expression");
            let names = named(expression);
            assert!(!names.is_empty(), "{expression}");
            shown.extend(names);
        }
    }
    let source = yaml("deploy/grafana/provisioning/datasources/prometheus.yaml");
    assert_eq!(source["datasources"][0]["uid"].as_str(), Some("lotline-prometheus"));
    let folder = yaml("deploy/grafana/provisioning/dashboards/lotline.yaml");
    let path = folder["providers"][0]["options"]["path"].as_str().expect("a path").to_owned();
    let mounts = texts(&yaml("deploy/compose.yaml")["services"]["grafana"]["volumes"]);
    assert!(mounts.iter().any(|mount| mount.contains(&format!(":{path}:"))), "{mounts:?}");

    let mut warned = BTreeSet::new();
    for rule in yaml("deploy/prometheus/alerts.yml")["groups"][0]["rules"].as_vec().expect("rules") {
        let expression = rule["expr"].as_str().expect("an expression");
        assert!(rule["annotations"]["summary"].as_str().is_some(), "{expression}");
        warned.extend(named(expression));
    }
    let known = documented();
    assert!(known.is_superset(&shown), "{:?}", shown.difference(&known));
    assert!(known.is_superset(&warned), "{:?}", warned.difference(&known));
    assert_eq!(shown, known, "each metric is on the dashboard");
}

/// The command lines of `lotline` in a shell's text.
fn command_lines(text: &str) -> Vec<Vec<String>> {
    let joined = text.replace("\\\n", " ");
    let parts = joined.lines().filter(|line| !line.trim_start().starts_with('#')).flat_map(|line| line.split("&&"));
    let words = parts.map(|part| {
        let line = part.split(" > ").next().unwrap_or(part);
        // A command that is made while the line runs stands for one word.
        shlex::split(&line.replace("$(", "\\$(")).unwrap_or_else(|| panic!("{line:?} has an open quote"))
    });
    let own = words.filter_map(|words| {
        let at = words.iter().position(|word| word == "lotline")?;
        (at == 0 || words[at - 1] == "--").then(|| words[at + 1..].to_vec())
    });
    own.filter(|words| !words.is_empty()).collect()
}

#[test]
fn every_command_line_of_the_pages_is_one() {
    let mut count = 0;
    for path in ["README.md", "deploy/README.md"] {
        let page = text(path);
        for block in page.split("```sh\n").skip(1) {
            let (block, _) = block.split_once("```").expect("the block ends");
            for words in command_lines(block) {
                parses(path, &words, None);
                count += 1;
            }
        }
    }
    assert!(count >= 15, "{count} were found");
    let comments: String = text("deploy/nats/secured.conf")
        .lines()
        .filter_map(|line| line.strip_prefix("#   lotline "))
        .map(|line| format!("lotline {line}\n"))
        .collect();
    let lines = command_lines(&comments);
    assert_eq!(lines.len(), 1, "{comments}");
    parses("secured.conf", &lines[0], None);
}

#[test]
fn the_units_are_what_systemd_and_the_command_line_take() {
    let folder = tempdir().expect("a folder");
    let units = ["lotline-serve.service", "lotline-projector@.service", "nats-lotline.service"];
    for name in units {
        let unit = text(&format!("deploy/systemd/{name}"));
        let value = |key: &str| unit.lines().find_map(|line| line.strip_prefix(&format!("{key}="))).map(str::to_owned);
        let nats = unit
            .lines()
            .filter(|line| line.starts_with("Environment="))
            .find_map(|line| line.split([' ', '=']).skip_while(|word| *word != "NATS_URL").nth(1).map(str::to_owned));
        let start = value("ExecStart").expect("a command");
        if let Some(line) = start.strip_prefix("/usr/bin/lotline ") {
            for kind in ["genealogy", "inventory", "recall"] {
                let words = shlex::split(&line.replace("%i", kind)).expect("words");
                parses(name, &words, nats.as_deref());
            }
        }
        for key in ["ProtectSystem=strict", "NoNewPrivileges=yes", "CapabilityBoundingSet=", "PrivateDevices=yes"] {
            assert!(unit.lines().any(|line| line == key), "{name}: {key}");
        }
        assert!(value("User").is_some_and(|user| user != "root"), "{name}");
        // The programs stand somewhere else here.
        let here = unit
            .replace("/usr/bin/lotline", &binary().display().to_string())
            .replace("/usr/bin/nats-server", "/bin/sh");
        fs::write(folder.path().join(name.replace('@', "@recall")), here).expect("written");
    }
    for line in text("deploy/systemd/secured.conf").lines().filter_map(|line| line.strip_prefix("Environment=")) {
        let (variable, _) = line.split_once('=').expect("a variable");
        assert!(variables().contains(variable), "{variable}");
    }
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("skipped: systemd-analyze is not here");
        return;
    }
    for name in units {
        let path = folder.path().join(name.replace('@', "@recall"));
        let told = Command::new("systemd-analyze").arg("verify").arg(&path).output().expect("it runs");
        let words = String::from_utf8_lossy(&told.stderr);
        let own: Vec<&str> =
            words.lines().filter(|line| line.contains(name.split(['@', '.']).next().expect("a name"))).collect();
        assert!(told.status.success() && own.is_empty(), "{name}: {words}");
    }
}

#[test]
fn the_server_takes_the_plain_configuration() {
    let Some(program) = program() else { return };
    let told = Command::new(program).arg("-t").arg("--config").arg(Server::deployed()).output().expect("it runs");
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
}
