//! How a process of ours is confined: what is wanted, what is in force, and what happens if the two
//! differ.
//!
//! The monitor decides ([`Order`]) and stays as it was started; who meets peers obeys before it meets
//! any ([`enter`]), and says what came of it ([`Confinement`]). What the system can do for it is
//! [`crate::os`]'s: [`fence`](os::fence) and [`become_user`](os::become_user).

#![forbid(unsafe_code)]

use nix::unistd;
use serde::{Deserialize, Serialize};

use crate::error::StartupError;
use crate::os::{self, Fence, Profile, User};

/// Whether a process that meets peers is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confine {
    /// It is, or it does not serve.
    Required,
    /// It is as far as the system can.
    IfPossible,
    /// It is not.
    Off,
}

/// What the monitor wants of such a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Whether it is confined.
    pub confine: Confine,
    /// Who it is to be, if not who started us.
    pub user: Option<User>,
}

/// What keeps such a process in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Confinement {
    /// The fences that it is in.
    pub fences: Vec<Fence>,
    /// What it should have and has not, each with the reason; nothing, if it is not to be confined.
    pub lacks: Vec<String>,
    /// Who it is, if not who started us.
    pub user: Option<String>,
}

impl Confinement {
    /// Whether it can reach nothing but what it was handed.
    pub fn is_confined(&self) -> bool {
        self.fences.iter().any(|fence| fence.is_enough())
    }
}

impl Order {
    /// What to want: `user` is the name of who to be, if not the usual one. Only root can be another.
    ///
    /// # Errors
    /// [`StartupError::NoSuchUser`].
    pub fn new(confine: Confine, user: Option<&str>) -> Result<Self, StartupError> {
        let user = match unistd::geteuid().is_root() {
            true => named(user)?,
            false => None,
        };
        Ok(Self { confine, user })
    }
}

/// The user of that name; nobody else than before, if that is root.
fn named(name: Option<&str>) -> Result<Option<User>, StartupError> {
    let wanted = name.unwrap_or(USER);
    let found = unistd::User::from_name(wanted).ok().flatten();
    let user = match (found, name) {
        (Some(found), _) => User {
            name: found.name,
            uid: found.uid.as_raw(),
            gid: found.gid.as_raw(),
        },
        // Where there is no list of users there is still their number.
        (None, None) => User {
            name: USER.into(),
            uid: NOBODY,
            gid: NOBODY,
        },
        (None, Some(name)) => {
            let name = name.into();
            return Err(StartupError::NoSuchUser { name });
        }
    };
    Ok((user.uid != 0).then_some(user))
}

/// Confines this process for good. To be called before any thread is started, any peer is met, and any
/// descriptor taken in.
///
/// # Errors
/// What cannot be had and must be. The process is of no use then.
pub fn enter(profile: Profile, order: &Order) -> Result<Confinement, String> {
    let mut confinement = Confinement::default();
    let required = order.confine == Confine::Required;
    if let Some(user) = &order.user {
        match os::become_user(user) {
            Ok(()) => confinement.user = Some(user.name.clone()),
            Err(error) => {
                let lacks = format!("it cannot become the user {}: {error}", user.name);
                if required {
                    return Err(lacks);
                }
                confinement.lacks.push(lacks);
            }
        }
    }
    if order.confine == Confine::Off {
        return Ok(confinement);
    }
    for (fence, result) in os::fence(profile) {
        match result {
            Ok(()) => confinement.fences.push(fence),
            Err(error) => confinement.lacks.push(format!("{fence}: {error}")),
        }
    }
    match required && !confinement.is_confined() {
        true => Err(confinement.lacks.join("; ")),
        false => Ok(confinement),
    }
}

/// Who to be unless something else is said.
pub const USER: &str = "nobody";

/// The number of nobody, and of its group, on FreeBSD and Linux alike.
const NOBODY: u32 = 65534;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_fence_alone_is_not_enough() {
        let with = |fences: &[Fence]| Confinement {
            fences: fences.to_vec(),
            ..Confinement::default()
        };
        assert!(!with(&[]).is_confined() && !with(&[Fence::Landlock]).is_confined());
        assert!(with(&[Fence::SystemCallFilter]).is_confined());
        assert!(with(&[Fence::CapabilityMode]).is_confined());
    }

    #[test]
    fn a_user_is_found_by_name_and_root_is_no_other() {
        let nobody = named(None).unwrap().unwrap();
        assert_eq!(nobody.name, "nobody");
        assert_ne!(nobody.uid, 0);
        assert_eq!(named(Some("root")).unwrap(), None);
        let error = named(Some("no-such-user")).unwrap_err();
        assert!(error.report().contains("no-such-user"));
    }
}
