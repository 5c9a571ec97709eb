//! Who may use what: the only place that judges a Connect. Pure, and the same for discovery.

#![forbid(unsafe_code)]

use std::sync::Arc;

use nvmf_proto::connect::{Connect, ConnectReject};
use nvmf_proto::nqn::Nqn;

use super::close::CloseReason;
use super::snapshot::{Engine, Portal, PortalKind, Snapshot, Subsystem};

/// Where a Connect leads.
#[derive(Debug)]
pub enum Route {
    /// Nowhere.
    Reject(ConnectReject),
    /// To a discovery controller.
    Discovery,
    /// To a controller of ours of this subsystem: a new one (QID 0), or one that is there already.
    Userspace(Arc<Subsystem>),
    /// To a controller of this subsystem in FreeBSD's kernel, likewise.
    Kernel(Arc<Subsystem>),
}

/// Judges a Connect that came in at `portal`. While we are draining no new controllers are made, but
/// those that live get their I/O queues, or their hosts would lose them.
pub fn route(snapshot: &Snapshot, portal: &Portal, connect: &Connect, draining: bool) -> Route {
    if is_discovery(portal, &connect.subnqn) {
        // A discovery controller has no I/O queues.
        return if connect.qid == 0 {
            Route::Discovery
        } else {
            Route::Reject(ConnectReject::QID)
        };
    }
    if portal.kind == PortalKind::Discovery && connect.qid != 0 {
        return Route::Reject(ConnectReject::QID);
    }
    let Some(subsystem) = snapshot
        .subsystem(&connect.subnqn)
        .filter(|subsystem| is_served(subsystem, portal))
    else {
        return Route::Reject(ConnectReject::SUBNQN);
    };
    if !subsystem.hosts.allow(&connect.hostnqn) {
        return Route::Reject(ConnectReject::HOST);
    }
    if draining && connect.qid == 0 {
        return Route::Reject(ConnectReject::BUSY);
    }
    match subsystem.engine {
        Engine::Userspace(_) => Route::Userspace(Arc::clone(subsystem)),
        Engine::Kernel => Route::Kernel(Arc::clone(subsystem)),
    }
}

/// Whether this is a name of discovery at this portal. Another portal's is nobody's.
fn is_discovery(portal: &Portal, subnqn: &Nqn) -> bool {
    subnqn.is_discovery() || *subnqn == portal.discovery_nqn
}

/// The name of the discovery subsystem that is asked at this portal, by whatever name; the portal may
/// be gone.
pub fn discovery_name(snapshot: &Snapshot, portal: u16) -> &Nqn {
    let portal = snapshot.portal(portal);
    portal.map_or(&snapshot.discovery.nqn, |portal| &portal.discovery_nqn)
}

/// Why a host cannot go on that connected to discovery at this portal by this name; `None` if it can.
pub fn renamed(snapshot: &Snapshot, portal: u16, subnqn: &Nqn) -> Option<CloseReason> {
    let portal = snapshot.portal(portal)?;
    (!is_discovery(portal, subnqn)).then_some(CloseReason::SubsystemRemoved)
}

/// Whether hosts may use this subsystem there.
pub fn is_served(subsystem: &Subsystem, portal: &Portal) -> bool {
    portal.kind == PortalKind::Io && subsystem.portals.contains(&portal.id)
}

/// Why an association of `subsystem`, as an earlier snapshot had it, cannot go on; `None` if it can.
/// That a portal is gone is no reason: who came through it is in.
pub fn revoked(snapshot: &Snapshot, subsystem: &Subsystem, host: &Nqn) -> Option<CloseReason> {
    let now = snapshot.subsystem(&subsystem.nqn);
    match now.filter(|now| now.is_still(subsystem)) {
        None => Some(CloseReason::SubsystemRemoved),
        Some(now) if now.terminate_on_revoke && !now.hosts.allow(host) => {
            Some(CloseReason::HostRevoked)
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::model::Hosts;
    use crate::engine::namespace::Namespaces;
    use crate::worker::snapshot::tests::{portal, snapshot, subsystem};

    const DISCOVERY: &str = nvmf_proto::nqn::DISCOVERY_NQN;
    const VOL0: &str = "nqn.2014-08.org.example:vol0";
    const VOL1: &str = "nqn.2014-08.org.example:vol1";
    const HOST: &str = "nqn.2014-08.org.example:host";
    const GUEST: &str = "nqn.2014-08.org.example:guest";

    fn connect(qid: u16, subnqn: &str) -> Connect {
        Connect {
            qid,
            entries: 32,
            sq_flow_control: true,
            kato: Duration::ZERO,
            hostid: [1; 16],
            cntlid: if qid == 0 { 0xffff } else { 1 },
            subnqn: subnqn.parse().unwrap(),
            hostnqn: HOST.parse().unwrap(),
        }
    }

    fn only(host: &str) -> Hosts {
        Hosts::Listed([host.parse().unwrap()].into())
    }

    /// Two I/O portals (1 and 2) and one of discovery (3); `VOL0` is ours, `VOL1` the kernel's, and both
    /// are served on the first portal.
    fn scene() -> Snapshot {
        let portals = [
            portal(1, PortalKind::Io, "0.0.0.0:4420"),
            portal(2, PortalKind::Io, "0.0.0.0:4421"),
            portal(3, PortalKind::Discovery, "0.0.0.0:8009"),
        ];
        let mut kernel = subsystem(VOL1, [1]);
        kernel.engine = Engine::Kernel;
        snapshot(portals, [subsystem(VOL0, [1]), kernel])
    }

    fn judged(
        snapshot: &Snapshot,
        portal: u16,
        connect: &Connect,
        draining: bool,
    ) -> Result<&'static str, ConnectReject> {
        let portal = snapshot.portal(portal).unwrap();
        match route(snapshot, portal, connect, draining) {
            Route::Reject(reject) => Err(reject),
            Route::Discovery => Ok("discovery"),
            Route::Userspace(_) => Ok("userspace"),
            Route::Kernel(_) => Ok("kernel"),
        }
    }

    #[test]
    fn discovery_is_answered_on_every_portal() {
        for portal in [1, 2, 3] {
            let judged = |qid| judged(&scene(), portal, &connect(qid, DISCOVERY), true);
            assert_eq!(judged(0), Ok("discovery"));
            assert_eq!(judged(1), Err(ConnectReject::QID));
        }
    }

    #[test]
    fn discovery_has_the_name_of_its_portal_besides_the_well_known_one() {
        const FRONT: &str = "nqn.2014-08.org.example:front";
        const REST: &str = "nqn.2014-08.org.example:rest";
        let mut scene = scene();
        for (portal, name) in scene.portals.iter_mut().zip([FRONT, REST, REST]) {
            Arc::make_mut(portal).discovery_nqn = name.parse().unwrap();
        }
        let judged = |portal, qid, nqn| judged(&scene, portal, &connect(qid, nqn), false);
        for (portal, name, other) in [(1, FRONT, REST), (2, REST, FRONT), (3, REST, FRONT)] {
            assert_eq!(judged(portal, 0, DISCOVERY), Ok("discovery"));
            assert_eq!(judged(portal, 0, name), Ok("discovery"));
            assert_eq!(judged(portal, 1, name), Err(ConnectReject::QID));
            assert_eq!(judged(portal, 0, other), Err(ConnectReject::SUBNQN));
            assert_eq!(discovery_name(&scene, portal).as_str(), name);
            let goes_on = |by: &str| renamed(&scene, portal, &by.parse().unwrap()).is_none();
            assert!(goes_on(DISCOVERY) && goes_on(name) && !goes_on(other));
        }
        let gone = renamed(&scene, 9, &FRONT.parse().unwrap());
        assert!(gone.is_none(), "who came through a portal is in");
    }

    #[test]
    fn subsystems_are_served_on_their_portals_by_their_exact_name() {
        let judged = |portal, qid, nqn| judged(&scene(), portal, &connect(qid, nqn), false);
        assert_eq!(judged(1, 0, VOL0), Ok("userspace"));
        assert_eq!(judged(1, 3, VOL0), Ok("userspace"));
        assert_eq!(judged(1, 0, VOL1), Ok("kernel"));
        assert_eq!(judged(1, 3, VOL1), Ok("kernel"));
        let upper = "nqn.2014-08.org.example:VOL0";
        assert_eq!(judged(1, 0, upper), Err(ConnectReject::SUBNQN));
        for nqn in [VOL0, VOL1] {
            assert_eq!(judged(2, 0, nqn), Err(ConnectReject::SUBNQN), "elsewhere");
            assert_eq!(judged(2, 1, nqn), Err(ConnectReject::SUBNQN), "elsewhere");
            assert_eq!(judged(3, 0, nqn), Err(ConnectReject::SUBNQN));
            assert_eq!(judged(3, 1, nqn), Err(ConnectReject::QID));
        }
    }

    #[test]
    fn hosts_that_are_not_listed_get_neither_an_admin_queue_nor_another() {
        let mut ours = subsystem(VOL0, [1]);
        let mut kernels = subsystem(VOL1, [1]);
        (ours.hosts, kernels.hosts) = (only(GUEST), only(GUEST));
        kernels.engine = Engine::Kernel;
        let snapshot = snapshot([portal(1, PortalKind::Io, "0.0.0.0:4420")], [ours, kernels]);
        for (qid, nqn) in [(0, VOL0), (1, VOL0), (0, VOL1), (1, VOL1)] {
            let mut connect = connect(qid, nqn);
            let refused = judged(&snapshot, 1, &connect, true);
            assert_eq!(refused, Err(ConnectReject::HOST));
            connect.hostnqn = GUEST.parse().unwrap();
            assert!(judged(&snapshot, 1, &connect, false).is_ok());
        }
    }

    #[test]
    fn while_draining_hosts_get_no_new_controllers_but_the_queues_of_those_they_have() {
        let judged = |qid, nqn| judged(&scene(), 1, &connect(qid, nqn), true);
        for (nqn, engine) in [(VOL0, "userspace"), (VOL1, "kernel")] {
            assert_eq!(judged(0, nqn), Err(ConnectReject::BUSY));
            assert_eq!(judged(1, nqn), Ok(engine));
        }
    }

    #[test]
    fn associations_go_on_as_long_as_their_subsystem_does() {
        let before = subsystem(VOL0, [1]);
        let again = |change: fn(&mut Subsystem)| {
            let mut after = subsystem(VOL0, [2]);
            after.engine = Engine::Userspace(Arc::clone(before.namespaces().unwrap()));
            change(&mut after);
            let snapshot = snapshot([], [after]);
            revoked(&snapshot, &before, &HOST.parse().unwrap()).map(|reason| reason.to_string())
        };
        let removed = CloseReason::SubsystemRemoved.to_string();
        assert_eq!(again(|_| {}), None, "on another portal");
        assert_eq!(again(|it| it.hosts = only(GUEST)), None);
        assert_eq!(again(|it| it.terminate_on_revoke = true), None);
        let ended = again(|it| (it.hosts, it.terminate_on_revoke) = (only(GUEST), true));
        assert_eq!(ended, Some(CloseReason::HostRevoked.to_string()));
        assert_eq!(
            again(|it| it.engine = Engine::Kernel),
            Some(removed.clone())
        );
        let another = again(|it| it.engine = Engine::Userspace(Arc::new(Namespaces::default())));
        assert_eq!(another, Some(removed), "of the same name, and another");
    }
}
