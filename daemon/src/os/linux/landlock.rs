//! Landlock: no file by its name, no port, and nothing that belongs to other processes.
//!
//! The second fence: the filter ([`super::filter`]) already leaves no call that takes a name. This one
//! does not know calls but what they lead to, so it holds where a list of calls has a gap. What the
//! running kernel does not know yet is left out; descriptors that are open are not touched.

use std::io;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetError,
    RulesetStatus, Scope,
};

use super::super::Profile;

/// The newest interface that this was written for: later ones may forbid what we need.
const KNOWN: ABI = ABI::V7;

/// Denies everything that Landlock can deny, to this thread and whatever it starts.
pub(super) fn deny(profile: Profile) -> io::Result<()> {
    match restrict(profile) {
        Ok(RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced) => Ok(()),
        Ok(RulesetStatus::NotEnforced) => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this kernel has none (CONFIG_SECURITY_LANDLOCK, and landlock in its lsm= list)",
        )),
        Err(error) => Err(io::Error::other(error)),
    }
}

fn restrict(profile: Profile) -> Result<RulesetStatus, RulesetError> {
    let ports = match profile {
        Profile::Worker => AccessNet::from_all(KNOWN),
        Profile::Announcer => AccessNet::BindTcp.into(),
    };
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(ports)?
        .scope(Scope::from_all(KNOWN))?
        .create()?
        .restrict_self()?;
    Ok(status.ruleset)
}
