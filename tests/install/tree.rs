//! What `make install` puts where, with each make that the system has, and what is left of it.

use std::fs;

use crate::place::{Place, good, present};

/// In FreeBSD's places.
pub(crate) const FREEBSD: [&str; 11] = [
    "644 etc/nvmfd.toml.sample",
    "755 etc/rc.d/nvmfd",
    "755 sbin/nvmfctl",
    "755 sbin/nvmfd",
    "644 share/bash-completion/completions/nvmfctl",
    "644 share/examples/nvmfd/grafana.json",
    "644 share/fish/vendor_completions.d/nvmfctl.fish",
    "644 share/man/man5/nvmfd.toml.5",
    "644 share/man/man8/nvmfctl.8",
    "644 share/man/man8/nvmfd.8",
    "644 share/zsh/site-functions/_nvmfctl",
];

/// The one that is there under Linux instead of the rc.d script.
const UNIT: &str = "644 lib/systemd/system/nvmfd.service";

/// GNU's and BSD's, under the names that they have here.
fn makes() -> Vec<&'static str> {
    let makes = present(&["make", "gmake", "bmake"]);
    assert!(!makes.is_empty(), "make is not installed");
    makes
}

/// Installs below a directory with a blank in its name.
fn install(place: &Place, make: &str, variables: &[&str]) -> String {
    let below = format!("DESTDIR={}", place.path("stage d").display());
    let all = [&[below.as_str()], variables].concat();
    good(&place.make(make, "install", &all))
}

#[test]
fn everything_is_in_freebsd_s_places() {
    for make in makes() {
        let place = Place::new();
        install(&place, make, &["PREFIX=/usr/local", "INIT=rc"]);
        assert_eq!(place.files("stage d/usr/local"), FREEBSD, "{make}");
        assert_eq!(place.files("stage d").len(), FREEBSD.len(), "{make}");
    }
}

#[test]
fn linux_has_the_unit_instead_of_the_script() {
    let mut expected: Vec<&str> = FREEBSD.to_vec();
    expected.retain(|file| !file.contains("rc.d"));
    for make in makes() {
        let place = Place::new();
        install(&place, make, &["INIT=none"]);
        assert_eq!(place.files("stage d/usr/local"), expected, "{make}");
        install(&place, make, &["INIT=systemd"]);
        let files = place.files("stage d/usr/local");
        assert_eq!(files.len(), expected.len() + 1, "{make}");
        assert!(files.iter().any(|file| file == UNIT), "{make}: {files:?}");
    }
}

#[test]
fn prefix_and_manual_go_where_they_are_wanted() {
    for make in makes() {
        let place = Place::new();
        let variables = ["PREFIX=/opt/nvmfd", "MANDIR=/usr/share/man", "INIT=rc"];
        install(&place, make, &variables);
        let files = place.files("stage d");
        let man = "644 usr/share/man/man8/nvmfd.8";
        assert!(files.iter().any(|file| file == man), "{make}: {files:?}");
        let script = fs::read_to_string(place.path("stage d/opt/nvmfd/etc/rc.d/nvmfd")).unwrap();
        assert!(
            script.contains("command=\"/opt/nvmfd/sbin/${name}\""),
            "{make}"
        );
        assert!(
            !script.contains("%%"),
            "{make}: a word of the template is left"
        );
    }
}

#[test]
fn the_operator_s_file_survives_everything() {
    for make in makes() {
        let place = Place::new();
        install(&place, make, &["INIT=rc"]);
        let mine = place.path("stage d/usr/local/etc/nvmfd.toml");
        fs::write(&mine, "mine").unwrap();
        install(&place, make, &["INIT=rc"]);
        let below = format!("DESTDIR={}", place.path("stage d").display());
        let said = good(&place.make(make, "uninstall", &[&below]));
        assert!(said.contains("your configuration stays"), "{make}: {said}");
        let left = place.files("stage d");
        assert_eq!(left.len(), 1, "{make}: {left:?}");
        assert_eq!(fs::read_to_string(&mine).unwrap(), "mine");
    }
}

/// Built for another system, nvmfctl cannot say what its completions are.
#[test]
fn completions_that_cannot_be_had_are_left_out_loudly() {
    let place = Place::new();
    place.program("built/nvmfctl", "#!/no/such/system\n");
    let below = format!("DESTDIR={}", place.path("stage").display());
    let output = place.make("make", "install", &[&below, "INIT=rc"]);
    good(&output);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.matches("NOT INSTALLED").count(), 3, "{said}");
    assert_eq!(place.files("stage").len(), FREEBSD.len() - 3);
}

#[test]
fn nonsense_installs_nothing() {
    let cases = [
        ("PREFIX=usr/local", "not an absolute path"),
        ("PREFIX=/usr/my local", "a character that"),
        ("INIT=launchd", "rc, systemd or none"),
    ];
    for (variable, word) in cases {
        let place = Place::new();
        let below = format!("DESTDIR={}", place.path("stage").display());
        let output = place.make("make", "install", &[&below, variable]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(word), "{said}");
        assert!(!place.path("stage").exists(), "{variable}");
    }
}
