//! Who may use what: the only place that judges a Connect. Pure, and the same for discovery.

#![forbid(unsafe_code)]

use std::sync::Arc;

use nvmf_proto::connect::{Connect, ConnectReject};

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

/// Judges a Connect that came in at `portal`.
pub fn route(snapshot: &Snapshot, portal: &Portal, connect: &Connect) -> Route {
    if connect.subnqn.is_discovery() {
        // A discovery controller has no I/O queues.
        return if connect.qid == 0 {
            Route::Discovery
        } else {
            Route::Reject(ConnectReject::QID)
        };
    }
    match (portal.kind, snapshot.subsystem(&connect.subnqn)) {
        (PortalKind::Io, Some(subsystem)) => match subsystem.engine {
            Engine::Userspace(_) => Route::Userspace(Arc::clone(subsystem)),
            Engine::Kernel => Route::Kernel(Arc::clone(subsystem)),
        },
        (PortalKind::Discovery, _) if connect.qid != 0 => Route::Reject(ConnectReject::QID),
        (PortalKind::Discovery, _) | (PortalKind::Io, None) => Route::Reject(ConnectReject::SUBNQN),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::namespace::Namespaces;
    use crate::worker::snapshot::offer;

    fn connect(qid: u16, subnqn: &str) -> Connect {
        Connect {
            qid,
            entries: 32,
            sq_flow_control: true,
            kato: Duration::ZERO,
            hostid: [1; 16],
            cntlid: if qid == 0 { 0xffff } else { 1 },
            subnqn: subnqn.parse().unwrap(),
            hostnqn: "nqn.2014-08.org.example:host".parse().unwrap(),
        }
    }

    fn judged(kind: PortalKind, qid: u16, subnqn: &str) -> Result<&'static str, ConnectReject> {
        let subsystem = |nqn: &str, engine| {
            Arc::new(Subsystem {
                nqn: nqn.parse().unwrap(),
                serial: "1".into(),
                engine,
            })
        };
        let userspace = Engine::Userspace(Arc::new(Namespaces::default()));
        let portal = Portal {
            id: 1,
            kind,
            address: "0.0.0.0:4420".parse().unwrap(),
        };
        let snapshot = Snapshot {
            generation: 1,
            portals: vec![portal.clone()],
            subsystems: vec![subsystem(VOL0, userspace), subsystem(VOL1, Engine::Kernel)],
            offer: offer(true, true, 4096, true),
        };
        match route(&snapshot, &portal, &connect(qid, subnqn)) {
            Route::Reject(reject) => Err(reject),
            Route::Discovery => Ok("discovery"),
            Route::Userspace(_) => Ok("userspace"),
            Route::Kernel(_) => Ok("kernel"),
        }
    }

    const DISCOVERY: &str = nvmf_proto::nqn::DISCOVERY_NQN;
    const VOL0: &str = "nqn.2014-08.org.example:vol0";
    const VOL1: &str = "nqn.2014-08.org.example:vol1";

    #[test]
    fn discovery_is_answered_on_every_portal() {
        assert_eq!(judged(PortalKind::Discovery, 0, DISCOVERY), Ok("discovery"));
        assert_eq!(judged(PortalKind::Io, 0, DISCOVERY), Ok("discovery"));
        assert_eq!(
            judged(PortalKind::Io, 1, DISCOVERY),
            Err(ConnectReject::QID)
        );
        assert_eq!(
            judged(PortalKind::Discovery, 1, DISCOVERY),
            Err(ConnectReject::QID)
        );
    }

    #[test]
    fn subsystems_are_served_on_io_portals_by_their_exact_name() {
        assert_eq!(judged(PortalKind::Io, 0, VOL0), Ok("userspace"));
        assert_eq!(judged(PortalKind::Io, 3, VOL0), Ok("userspace"));
        assert_eq!(judged(PortalKind::Io, 0, VOL1), Ok("kernel"));
        assert_eq!(judged(PortalKind::Io, 3, VOL1), Ok("kernel"));
        let upper = "nqn.2014-08.org.example:VOL0";
        assert_eq!(judged(PortalKind::Io, 0, upper), Err(ConnectReject::SUBNQN));
        for nqn in [VOL0, VOL1] {
            let reject = Err(ConnectReject::SUBNQN);
            assert_eq!(judged(PortalKind::Discovery, 0, nqn), reject);
        }
    }
}
