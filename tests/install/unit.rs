//! systemd's unit, from where `make install` put it: systemd takes it where there is one to ask, and
//! everywhere what it starts is there.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::place::{Place, good, present};

#[test]
fn it_starts_what_is_installed_and_systemd_takes_it() {
    let place = Place::new();
    let prefix = format!("PREFIX={}", place.path("usr").display());
    good(&place.make("make", "install", &[&prefix, "INIT=systemd"]));
    place.write("usr/etc/nvmfd.toml", "");
    let path = place.path("usr/lib/systemd/system/nvmfd.service");
    let unit = fs::read_to_string(&path).unwrap();
    assert!(!unit.contains("%%"), "a word of the template is left");
    for key in ["ExecStart=", "ExecReload="] {
        let mut commands = unit.lines().filter_map(|line| line.strip_prefix(key));
        let command = commands.next().unwrap();
        assert_eq!(commands.next(), None, "{key}");
        for word in command.split(' ').filter(|word| word.starts_with('/')) {
            assert!(Path::new(word).exists(), "{key} {word}");
        }
    }
    // scripts/test.sh says so when there is none.
    for verify in present(&["systemd-analyze"]) {
        let output = Command::new(verify)
            .args(["verify", "--man=no", "--recursive-errors=no"])
            .arg(&path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let ours = said.lines().filter(|line| line.contains("nvmfd"));
        assert_eq!(ours.collect::<Vec<_>>(), Vec::<&str>::new());
        assert!(output.status.success(), "{said}");
    }
}
