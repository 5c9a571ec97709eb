//! Targets that serve what a configuration file says, in either mode.

use nvmfd_tests::target::{NQN, Setup};

use crate::scene::{Mode, Result, Scene};

/// What a file says beside the one subsystem that all targets have.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Served<'a> {
    /// Lines of the table `limits`.
    pub(crate) limits: &'a str,
    /// Further tables.
    pub(crate) more: &'a str,
}

/// A target that serves this.
pub(crate) fn scene(mode: Mode, served: &Served<'_>) -> Result<Scene> {
    Scene::in_mode(
        mode,
        &Setup {
            config: Some(text(mode, served)),
            ..Setup::default()
        },
    )
}

/// The text of its file.
pub(crate) fn text(mode: Mode, served: &Served<'_>) -> String {
    let Served { limits, more } = served;
    let mode = match mode {
        Mode::Userspace => "user",
        Mode::Kernel => "kernel",
    };
    format!(
        r#"
[discovery]
listen = ["127.0.0.1:0"]

[[portal]]
name = "front"
listen = ["127.0.0.1:0"]
header-digest = "allow"
data-digest = "allow"
sq-flow-control = "optional"

[[subsystem]]
nqn = "{NQN}"
mode = "{mode}"
portals = ["front"]
allow-any-host = true

[[subsystem.namespace]]
nsid = 1
ram = "64m"

[limits]
{limits}
{more}
"#
    )
}
