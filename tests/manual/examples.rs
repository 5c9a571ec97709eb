//! The EXAMPLES of the pages, run: each as it stands on the page, on a stage.

use std::fs;

use nvmf_kmod::request::{NewLun, Storage};
use nvmfd::config;
use nvmfd_tests::kernel::Kernel;
use nvmfd_tests::peer::{Host, HostOptions};
use nvmfd_tests::target::{Setup, Target};

use crate::page::{Page, repository};
use crate::stage::{Said, Stage, address};

const NQN: &str = "nqn.2014-08.org.example:vol0";

/// A RAM disk for any host, and a second one of so many MiB.
fn configuration(second: u32) -> String {
    format!(
        "[discovery]\nlisten = [\"127.0.0.1:0\"]\n\
         [[portal]]\nname = \"front\"\nlisten = [\"127.0.0.1:0\"]\n\
         [[subsystem]]\nnqn = \"{NQN}\"\nmode = \"user\"\nportals = [\"front\"]\n\
         allow-any-host = true\n\
         [[subsystem.namespace]]\nnsid = 1\nram = \"64m\"\n\
         [[subsystem.namespace]]\nnsid = 2\nram = \"{second}m\"\n"
    )
}

fn serving() -> Target {
    Target::with(&Setup {
        config: Some(configuration(1)),
        ..Setup::default()
    })
}

fn stage_of(target: &Target) -> Stage {
    Stage::new(&target.socket(), &target.directory().join("nvmfd.toml"))
}

/// Has the file say something else than what is served.
fn change(target: &Target, second: u32) {
    fs::write(target.directory().join("nvmfd.toml"), configuration(second)).unwrap();
}

/// An example's beginning, and what it prints among other things when it is run.
const OF_NVMFCTL: [(&str, &str); 10] = [
    ("nvmfctl check\n", ": good\n"),
    ("nvmfctl plan --exit-code\n", "are told, and go on"),
    ("nvmfctl refusals -n 5", "nqn.2014-08.org.example:elsewhere"),
    (
        "nvmfctl --json sessions | jq",
        "nqn.2014-08.org.example:host\n",
    ),
    ("nvmfctl top -i 10 -n 1", NQN),
    ("nvmfctl completions zsh", ""),
    ("nvmfctl host discover", "64.00 MiB"),
    ("nvmfctl host verify", ""),
    ("nvmfctl host bench", ""),
    ("timeout 600 nvmfctl drain --wait", "no session is left\n"),
];

#[test]
fn examples_of_nvmfctl_do_what_is_said_of_them() {
    let target = serving();
    let mut stage = stage_of(&target);
    let (io, discovery) = (target.io().to_string(), target.discovery().to_string());
    stage.replace("discover 192.0.2.1", &format!("discover {discovery}"));
    stage.replace("192.0.2.1", &io);
    stage.replace("/usr/local/share/zsh/site-functions/", "");
    for (long, short) in [("top -i 10", "top -i 0.1"), ("--time 30s", "--time 100ms")] {
        stage.replace(long, short);
    }
    let nqn = NQN.parse().unwrap();
    let mut host = Some(Host::connect(target.io(), &nqn, &HostOptions::default()).unwrap());
    let refused = format!("nvmfctl host identify -n nqn.2014-08.org.example:elsewhere {io}");
    assert!(!stage.run(&refused).is_good());

    let mut examples = Page::read("nvmfctl.8").examples();
    // Last, because nobody new gets in afterwards.
    examples.sort_by_key(|example| example.contains("drain"));
    let mut left = OF_NVMFCTL.to_vec();
    for (example, second) in examples.iter().zip(2..) {
        let known = left.iter().position(|(it, _)| example.starts_with(it));
        let known = known.unwrap_or_else(|| panic!("nothing is known of {example}"));
        let (_, words) = left.remove(known);
        if example.contains("jq") && !stage.run("command -v jq").is_good() {
            eprintln!("NOT RUN: {example}: jq is not installed");
            continue;
        }
        if example.contains("drain") {
            host = None;
        }
        change(&target, second);
        let said = stage.run(example);
        assert!(said.is_good(), "{example}: {said}");
        assert!(said.out.contains(words), "{example}: {said}");
        if example.contains("reload") {
            // It was done: the file and what is served agree.
            let plan = target.plan(&configuration(second)).unwrap();
            assert_eq!(plan.steps, [], "{example}");
        }
    }
    assert_eq!(left, [], "examples that are not on the page");
    assert!(host.is_none());
    let completions = fs::read_to_string(stage.path("_nvmfctl")).unwrap();
    assert!(completions.starts_with("#compdef nvmfctl"));
}

/// What the service's script in rc.d has.
fn is_of_the_service(call: &str) -> bool {
    let script = fs::read_to_string(repository("rc.d/nvmfd")).unwrap();
    match call.split_whitespace().collect::<Vec<_>>()[..] {
        ["sysrc", setting] => {
            let (variable, _) = setting.split_once('=').unwrap();
            script.contains(&format!("#   {variable} "))
        }
        ["service", "nvmfd", "start" | "stop" | "restart" | "status"] => true,
        ["service", "nvmfd", verb] => {
            let extra = script
                .lines()
                .find_map(|it| it.strip_prefix("extra_commands="));
            extra
                .unwrap()
                .trim_matches('"')
                .split(' ')
                .any(|it| it == verb)
        }
        _ => false,
    }
}

#[test]
fn examples_of_nvmfd_do_what_is_said_of_them() {
    let target = serving();
    let mut stage = stage_of(&target);
    let kernel = Kernel::start();
    // 0 to 3, and so the LUN 3 that the page speaks of.
    for number in 0..4 {
        let name = format!("somebody-else-s-{number}");
        let lun = NewLun {
            storage: Storage::Ramdisk { size: 16 << 20 },
            blocksize: 512,
            read_only: false,
            serial: name.clone(),
            device_id: name,
            eui: None,
            uuid: None,
            options: Vec::new(),
        };
        kernel.ctl().create_lun(&lun).unwrap();
    }
    stage.has_kernel(kernel.socket());
    stage.replace("192.0.2.1", "127.0.0.1");
    for (path, name) in [
        ("/var/tmp/vol0.img", "image"),
        ("/dev/zvol/tank/vol0", "vol0"),
    ] {
        let file = stage.path(name);
        fs::File::create(&file).unwrap().set_len(16 << 20).unwrap();
        stage.replace(path, file.to_str().unwrap());
    }

    let (mut hosts, mut banners) = (Vec::new(), Vec::new());
    let examples = Page::read("nvmfd.8").examples();
    for (example, second) in examples.iter().zip(2..) {
        let served_by = |example: &str| -> Said {
            let said = stage.run(example);
            stage.end_daemon();
            said
        };
        let is_of_hosts = |line: &str| OF_HOSTS.iter().any(|it| line.starts_with(it));
        if example.lines().all(is_of_hosts) {
            hosts.extend(example.lines().map(String::from));
            continue;
        }
        change(&target, second);
        let said = if example.starts_with("nvmfd -d ") {
            stage.run_until_interrupted(example)
        } else if example.starts_with("nvmfd --check\n") || example.starts_with("nvmfctl ") {
            stage.run(example)
        } else {
            served_by(example)
        };
        assert!(said.is_good(), "{example}: {said}");
        if said.out.starts_with("nvmfd serves ") {
            banners.push(said.out);
        }
    }
    assert_eq!(banners.len(), 4, "{banners:?}");
    let kernel_s = banners.iter().filter(|it| it.contains("from the kernel"));
    assert_eq!(kernel_s.count(), 1);
    kernel.is_well();
    let calls = stage.calls();
    assert_eq!(calls.lines().count(), 3, "{calls}");
    for call in calls.lines() {
        assert!(is_of_the_service(call), "{call}");
    }

    // The commands for hosts are those that the daemon itself prints.
    let of_both_digests = banners.iter().find(|it| it.contains(NQN)).unwrap();
    let printed = commands_for_hosts(of_both_digests);
    assert_eq!(printed.len(), 6, "{printed:?}");
    for command in printed {
        assert!(hosts.contains(&command), "{command:?} is not in {hosts:?}");
    }
}

/// How commands begin that are a host's, which only a Linux or a FreeBSD kernel can run.
const OF_HOSTS: [&str; 4] = ["modprobe ", "kldload ", "nvme ", "nvmecontrol "];

/// What a banner has one type on a host, with the address and the ports of the page.
fn commands_for_hosts(banner: &str) -> Vec<String> {
    let io = address(banner, "I/O on ");
    let discovery = address(banner, "Discovery on ");
    let as_on_the_page = |line: &str| {
        let mut line = line.replace("127.0.0.1", "192.0.2.1");
        for (address, port) in [(io, "4420"), (discovery, "8009")] {
            for before in [":", "-s "] {
                let here = format!("{before}{}", address.port());
                line = line.replace(&here, &format!("{before}{port}"));
            }
        }
        line
    };
    let lines = banner.lines().map(|line| {
        let line = line.trim();
        // "Linux (modprobe nvme-tcp):"
        let within = line
            .split_once('(')
            .and_then(|(_, it)| it.strip_suffix("):"));
        within.unwrap_or(line)
    });
    let commands = lines.filter(|line| OF_HOSTS.iter().any(|it| line.starts_with(it)));
    commands.map(as_on_the_page).collect()
}

/// Addresses in examples are nobody's, on purpose, so that they are warned of.
#[test]
fn examples_of_the_file_load() {
    let texts = Page::read("nvmfd.toml.5").examples();
    assert_eq!(texts.len(), 4);
    for text in texts {
        let loaded = config::parse(&text, "example").unwrap_or_else(|it| panic!("{it}\n{text}"));
        for warning in loaded.warnings.iter() {
            let meant = warning.what.ends_with("is not an address of this machine");
            assert!(meant, "{}", loaded.warnings);
        }
    }
}
