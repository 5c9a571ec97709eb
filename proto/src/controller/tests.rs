use super::*;

pub(super) fn config(kind: Kind) -> Config {
    Config {
        kind,
        cntlid: 5,
        subnqn: "nqn.2014-08.org.example:vol0".parse().unwrap(),
        serial: "0123456789".into(),
        model: "nvmfd".into(),
        firmware: "0.1.0".into(),
        hostid: [7; 16],
        max_io_entries: 128,
        max_admin_entries: 32,
        max_io_queues: 8,
        max_transfer: 1 << 20,
        in_capsule: 8192,
        kato: Duration::from_secs(120),
    }
}
