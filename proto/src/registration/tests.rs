use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::controller::discovery::Family;
use crate::controller::discovery::tests::entry;
use crate::host::{Payload, Step as HostStep};
use crate::pair::{Cut, OFFER, Pair, wishes};
use crate::queue::{Queue, Step};
use crate::sqe::Data;
use crate::status::Status;
use EntryFormat::{Basic, Extended};

const EID: &str = "nqn.2014-08.org.nvmexpress:uuid:0f01fb42-9f7f-4856-b0b3-51e60b8de349";
const MOST: u32 = 128 * 1024;

fn entity() -> Entity {
    Entity {
        eid: EID.parse().unwrap(),
        ename: "storage1".into(),
        ever: "nvmfd 0.1.0".into(),
    }
}

fn labelled(portid: u16) -> DiscoveryEntry {
    DiscoveryEntry {
        label: Some("rack 7".into()),
        ..entry(portid)
    }
}

/// The one command that does this.
fn command(task: Task<'_>, format: EntryFormat) -> Command {
    let mut commands = task.commands(&entity(), format, MOST).unwrap();
    assert_eq!(commands.len(), 1);
    commands.remove(0)
}

/// A command with a registration of an extended entry with a label.
fn registration() -> Command {
    command(Task::Register(&[labelled(1)]), Extended)
}

fn read(command: &Command) -> Result<Received, Status> {
    Received::read(&command.sqe, &command.data)
}

#[test]
fn a_registration_is_what_the_specification_wants() {
    let entries = [entry(1), labelled(2)];
    let command = command(Task::Register(&entries), Extended);
    assert_eq!(command.sqe.opcode, 0x21);
    assert_eq!(command.sqe.cdw10.get(), 0);
    assert_eq!((command.sqe.nsid.get(), command.entries), (0, 2));
    let data = command.data;
    assert_eq!(data.len(), 1024 + 1032 + 1044);
    assert_eq!(data[..4], [0x1c, 0x0c, 0, 0], "TDL 3100");
    assert_eq!(data[4..16], [0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0], "NUMENT");
    assert_eq!(data[16..24], [2, 0, 2, 0, 0, 0, 0x5f, 0]);
    assert_eq!(&data[24..24 + EID.len()], EID.as_bytes());
    assert!(data[24 + EID.len()..280].iter().all(|&byte| byte == 0));
    assert_eq!(&data[280..290], b"storage1  ", "spaces: a text in ASCII");
    assert_eq!(&data[536..549], b"nvmfd 0.1.0  ");
    assert!(data[600..1024].iter().all(|&byte| byte == 0));
    // The first entry, then its length, then the second and its label.
    assert_eq!(data[1024..1034], [3, 1, 2, 4, 1, 0, 0xff, 0xff, 32, 0]);
    assert_eq!(&data[1056..1061], b"4420\0");
    assert_eq!(&data[1024 + 512..1024 + 522], b"192.0.2.1\0");
    assert_eq!(data[2048..2056], [8, 4, 0, 0, 0, 0, 0, 0]);
    assert_eq!(data[2056..2062], [3, 1, 2, 4, 2, 0]);
    assert_eq!(data[3080..3088], [0x14, 4, 0, 0, 1, 0, 0, 0]);
    assert_eq!(&data[3088..], b"\x02\0\x08\0rack 7\0\0");
}

#[test]
fn basic_entries_have_1024_bytes_and_their_flags() {
    let flagged = DiscoveryEntry {
        subtype: Subtype::Referral,
        eflags: 2,
        ..labelled(1)
    };
    let entries = [flagged];
    let basic = command(Task::Register(&entries), Basic).data;
    assert_eq!((basic.len(), basic[16]), (2048, 1));
    assert_eq!((basic[1024 + 2], basic[1024 + 10]), (1, 2));
    let extended = command(Task::Register(&entries), Extended).data;
    assert_eq!(extended[1024 + 10], 0, "reserved there");
}

#[test]
fn tasks_have_their_numbers_and_an_update_its_two_entries() {
    let (old, new) = (entry(1), labelled(1));
    let deregistration = command(Task::Deregister(std::slice::from_ref(&old)), Basic);
    assert_eq!(deregistration.sqe.cdw10.get(), 1);
    let task = Task::Update {
        old: &old,
        new: &new,
    };
    let update = command(task, Extended);
    assert_eq!((update.sqe.cdw10.get(), update.entries), (2, 2));
    assert_eq!(read(&update).unwrap().task(), task);
    assert_eq!(
        Task::Register(&[]).commands(&entity(), Basic, MOST),
        Ok(vec![])
    );
}

#[test]
fn names_are_cut_and_may_be_missing() {
    let entity = Entity {
        ename: "n".repeat(300),
        ever: String::new(),
        ..entity()
    };
    let entries = [entry(1)];
    let commands = Task::Register(&entries).commands(&entity, Basic, MOST);
    let data = &commands.unwrap()[0].data;
    assert_eq!((data[535], data[536]), (b'n', 0));
    assert!(data[536..1024].iter().all(|&byte| byte == 0));
}

#[test]
fn many_entries_are_registered_by_as_many_commands_as_it_takes() {
    let entries: Vec<_> = (1..=10).map(labelled).collect();
    let commands = Task::Register(&entries).commands(&entity(), Extended, 8192);
    let commands = commands.unwrap();
    let counts: Vec<_> = commands.iter().map(|it| it.entries).collect();
    assert_eq!(counts, [6, 4]);
    let mut received = Vec::new();
    for command in &commands {
        assert!(command.data.len() <= 8192);
        match read(command).unwrap().task() {
            Task::Register(entries) => received.extend_from_slice(entries),
            other @ (Task::Deregister(_) | Task::Update { .. }) => panic!("{other:?}"),
        }
    }
    assert_eq!(received, entries);
}

#[test]
fn what_fits_no_command_is_refused_before_anything_is_sent() {
    let entries = [entry(1), labelled(2)];
    let too_large = |needed, most| Err(RegistrationError::TooLarge { needed, most });
    let register = |most| Task::Register(&entries).commands(&entity(), Extended, most);
    assert_eq!(register(2067), too_large(2068, 2067));
    assert_eq!(register(2068).unwrap().len(), 2);
    let update = Task::Update {
        old: &entries[0],
        new: &entries[1],
    };
    assert_eq!(
        update.commands(&entity(), Extended, 3099),
        too_large(3100, 3099)
    );
    let myself = [DiscoveryEntry {
        subtype: Subtype::CurrentDiscovery,
        ..entry(1)
    }];
    let refused = Err(RegistrationError::CurrentDiscovery);
    assert_eq!(
        Task::Register(&myself).commands(&entity(), Basic, MOST),
        refused
    );
}

#[test]
fn who_takes_registrations_says_so() {
    let mut identify = IdentifyController::new_zeroed();
    assert_eq!(Support::of(&identify), Support::Never);
    identify.cntrltype = 2;
    for (dctype, expected) in [
        (0, Support::Optional),
        (1, Support::Optional),
        (2, Support::Always),
        (3, Support::Optional),
    ] {
        identify.dctype = dctype;
        assert_eq!(Support::of(&identify), expected);
    }
    identify.cntrltype = 1;
    identify.dctype = 2;
    assert_eq!(Support::of(&identify), Support::Never);
    let mut effects = vec![0; 4096];
    assert!(!Support::is_named_by(&effects) && !Support::is_named_by(&[]));
    effects[132] = 1;
    assert!(Support::is_named_by(&effects));
}

#[test]
fn a_cdc_takes_what_libnvme_s_texts_look_like() {
    // NULs behind names instead of spaces, and an address left to the connection.
    let mut command = registration();
    command.data[288..536].fill(0);
    command.data[547..600].fill(0);
    command.data[1024 + 512..1024 + 768].fill(0);
    let received = read(&command).unwrap();
    assert_eq!(received.entity, entity());
    let entry = DiscoveryEntry {
        traddr: String::new(),
        ..labelled(1)
    };
    assert_eq!(received.task(), Task::Register(&[entry]));
}

#[test]
fn a_key_may_be_the_port_s_and_entries_a_port_s_own() {
    let mut command = registration();
    command.data[20] = 1;
    command.data[22] = 0x3f;
    let received = read(&command).unwrap();
    assert!(received.port_local && received.keyed_by_port);
    assert_eq!(received.format, Extended);
}

#[test]
fn a_cdc_takes_nothing_that_is_not_right() {
    // Where the extension and its attribute begin.
    let (extension, attribute) = (2048, 2056);
    let cases: &[(&str, usize, &[u8], Status)] = &[
        ("TDL that is less", 0, &[0x13], Status::INVALID_FIELD),
        ("TDL that is more", 0, &[0x15], Status::INVALID_FIELD),
        ("reserved", 4, &[1], Status::INVALID_FIELD),
        ("no entry", 8, &[0], Status::INVALID_FIELD),
        (
            "an entry more than there are",
            8,
            &[2],
            Status::INVALID_FIELD,
        ),
        (
            "more than there can be",
            8,
            &[0xff; 8],
            Status::INVALID_FIELD,
        ),
        ("no format", 16, &[0], Status::INVALID_FIELD),
        ("another format", 16, &[1], Status::INVALID_FIELD),
        ("an unknown format", 16, &[3], Status::INVALID_FIELD),
        ("a host", 18, &[1], Status::INVALID_FIELD),
        ("a CDC", 18, &[3], Status::INVALID_FIELD),
        ("PORTLCL 2", 20, &[2], Status::INVALID_FIELD),
        ("reserved", 21, &[1], Status::INVALID_FIELD),
        ("an unknown key", 22, &[0x7f], Status::INVALID_FIELD),
        ("no EID", 24, &[0], Status::INVALID_FIELD),
        (
            "another EID",
            24,
            b"nqn.2014-08.org.example:a\0",
            Status::INVALID_FIELD,
        ),
        ("no UUID", 24 + 32, b"g", Status::INVALID_FIELD),
        ("a UUID that is cut", 24 + 67, &[0], Status::INVALID_FIELD),
        (
            "an EID without end",
            24,
            &[b'a'; 256],
            Status::INVALID_FIELD,
        ),
        ("an escape in ENAME", 280, &[0x1b], Status::INVALID_FIELD),
        ("bytes behind NUL", 300, &[0], Status::INVALID_FIELD),
        ("an escape in EVER", 536, &[0x1b], Status::INVALID_FIELD),
        ("reserved", 1023, &[1], Status::INVALID_FIELD),
        ("another transport", 1024, &[1], Status::INVALID_FIELD),
        ("IPv6, says ADRFAM", 1025, &[2], Status::INVALID_FIELD),
        ("Fibre Channel", 1025, &[4], Status::INVALID_FIELD),
        (
            "no subtype",
            1026,
            &[0],
            Status::INVALID_DISCOVERY_INFORMATION,
        ),
        ("itself", 1026, &[3], Status::INVALID_DISCOVERY_INFORMATION),
        ("no such CNTLID", 1030, &[0xf0, 0xff], Status::INVALID_FIELD),
        ("ASQSZ 31", 1032, &[31], Status::INVALID_FIELD),
        ("flags", 1034, &[1], Status::INVALID_FIELD),
        ("reserved", 1036, &[1], Status::INVALID_FIELD),
        ("no port", 1056, &[0; 4], Status::INVALID_FIELD),
        ("port 0", 1056, b"0\0\0\0", Status::INVALID_FIELD),
        ("port 65536", 1056, b"65536", Status::INVALID_FIELD),
        ("port +420", 1056, b"+", Status::INVALID_FIELD),
        ("reserved", 1088, &[1], Status::INVALID_FIELD),
        ("no NQN", 1280, &[0], Status::INVALID_FIELD),
        ("no address", 1536, b"x", Status::INVALID_FIELD),
        ("a wildcard", 1536, b"0.0.0.0\0\0", Status::INVALID_FIELD),
        ("a multicast", 1536, b"224", Status::INVALID_FIELD),
        ("reserved", 1793, &[1], Status::INVALID_FIELD),
        (
            "TEL that is less",
            extension,
            &[0x10],
            Status::INVALID_FIELD,
        ),
        (
            "TEL of half a head",
            extension,
            &[0x04, 4],
            Status::INVALID_FIELD,
        ),
        ("TEL 0", extension, &[0, 0], Status::INVALID_FIELD),
        (
            "TEL beyond the data",
            extension,
            &[0x18],
            Status::INVALID_FIELD,
        ),
        (
            "the largest TEL",
            extension,
            &[0xff; 4],
            Status::INVALID_FIELD,
        ),
        ("no attribute", extension + 4, &[0], Status::INVALID_FIELD),
        ("two attributes", extension + 4, &[2], Status::INVALID_FIELD),
        ("reserved", extension + 6, &[1], Status::INVALID_FIELD),
        ("no attribute type", attribute, &[0], Status::INVALID_FIELD),
        (
            "a host's identifier",
            attribute,
            &[1],
            Status::INVALID_DISCOVERY_INFORMATION,
        ),
        ("a reserved type", attribute, &[4], Status::INVALID_FIELD),
        ("EXATLEN 0", attribute + 2, &[0], Status::INVALID_FIELD),
        ("EXATLEN 6", attribute + 2, &[6], Status::INVALID_FIELD),
        (
            "EXATLEN beyond the entry",
            attribute + 2,
            &[12],
            Status::INVALID_FIELD,
        ),
        (
            "the largest EXATLEN",
            attribute + 2,
            &[0xfc, 0xff],
            Status::INVALID_FIELD,
        ),
        (
            "an escape in the label",
            attribute + 4,
            &[0x1b],
            Status::INVALID_FIELD,
        ),
        (
            "ASCII that is none",
            attribute + 4,
            "ä".as_bytes(),
            Status::INVALID_FIELD,
        ),
        (
            "bytes behind NUL",
            attribute + 4,
            &[0],
            Status::INVALID_FIELD,
        ),
    ];
    assert!(read(&registration()).is_ok());
    for (name, at, bytes, status) in cases {
        let mut command = registration();
        command.data[*at..at + bytes.len()].copy_from_slice(bytes);
        assert_eq!(read(&command), Err(status.dnr()), "{name} at {at}");
    }
    let mut update = registration();
    update.sqe.cdw10 = 2.into();
    assert_eq!(read(&update), Err(Status::INVALID_FIELD.dnr()), "one entry");
    update.sqe.cdw10 = 3.into();
    assert_eq!(read(&update), Err(Status::INVALID_FIELD.dnr()), "no task");
}

#[test]
fn only_one_entry_may_leave_its_address_to_the_connection() {
    let addressless = |portid| DiscoveryEntry {
        traddr: String::new(),
        ..entry(portid)
    };
    let one = [addressless(1), entry(2)];
    assert!(read(&command(Task::Register(&one), Basic)).is_ok());
    let two = [addressless(1), addressless(2)];
    let refused = Err(Status::INVALID_FIELD.dnr());
    assert_eq!(read(&command(Task::Register(&two), Basic)), refused);
}

#[test]
fn other_attributes_are_passed_over_where_they_may_stand() {
    let mut command = registration();
    // A vendor's attribute behind the label.
    command.data.extend([0, 0xff, 4, 0, 1, 2, 3, 4]);
    command.data[0] += 8;
    command.data[2048] += 8;
    command.data[2052] = 2;
    let received = read(&command).unwrap();
    assert_eq!(received.task(), Task::Register(&[labelled(1)]));
    // A second label.
    command.data[2068] = 3;
    command.data[2069] = 0;
    assert_eq!(read(&command), Err(Status::INVALID_FIELD.dnr()));
}

#[test]
fn how_much_data_comes_is_known_before_it_does() {
    let mut sqe = registration().sqe;
    let invalid = Err(Status::INVALID_FIELD.dnr());
    for (length, expected) in [
        (0, invalid),
        (1023, invalid),
        (1024, Ok(Data::FromHost(1024))),
        (4096, Ok(Data::FromHost(4096))),
        (4097, invalid),
        (u32::MAX, invalid),
    ] {
        sqe.sgl.length = length.into();
        assert_eq!(Received::data(&sqe, 4096), expected, "{length}");
    }
    sqe.sgl.length = 4096.into();
    sqe.cdw10 = 3.into();
    assert_eq!(Received::data(&sqe, 4096), invalid);
    sqe.cdw10 = 0x10.into();
    assert_eq!(Received::data(&sqe, 4096), invalid, "reserved bits");
    sqe.opcode = admin::KEEP_ALIVE;
    assert_eq!(
        Received::data(&sqe, 4096),
        Err(Status::INVALID_OPCODE.dnr())
    );
}

#[test]
fn a_cdc_hears_of_us_over_a_queue() {
    for cut in [Cut::Whole, Cut::Random, Cut::Wanted] {
        let mut pair = Pair::connect(wishes(), OFFER, cut, 7);
        let mut known = Vec::new();
        let entries: Vec<_> = (1..=20).map(labelled).collect();
        // Data in the capsule, and data that R2Ts ask for.
        for most in [4096, MOST] {
            for command in Task::Register(&entries)
                .commands(&entity(), Extended, most)
                .unwrap()
            {
                let data = Payload::FromHost(Arc::new(command.data));
                pair.host.submit(command.sqe, data).unwrap();
                let mut status = None;
                while status.is_none() {
                    pair.carry_up(|_| {}, |queue, step| hear(queue, step, &mut known));
                    pair.carry_down(
                        |_| {},
                        |step| match step {
                            HostStep::Completed(answer) => status = Some(answer.completion.status),
                            HostStep::Terminated { fes, fei } => panic!("{fes} {fei}"),
                        },
                    );
                }
                assert_eq!(status, Some(Status::SUCCESS));
            }
            assert_eq!(std::mem::take(&mut known), entries);
        }
    }
}

/// A CDC that remembers what it hears.
fn hear(queue: &mut Queue, step: Step, known: &mut Vec<DiscoveryEntry>) {
    match step {
        Step::Capsule(tag) => match Received::data(queue.sqe(tag).unwrap(), MOST) {
            Ok(data) => queue.accept(tag, data),
            Err(status) => queue.refuse(tag, status.into()),
        },
        Step::Ready(tag) => {
            let data = queue.take_data(tag);
            let received = Received::read(queue.sqe(tag).unwrap(), &data);
            let status = match received.as_ref().map(Received::task) {
                Ok(Task::Register(entries)) => {
                    known.extend_from_slice(entries);
                    Status::SUCCESS
                }
                Ok(Task::Deregister(_) | Task::Update { .. }) => Status::INVALID_FIELD,
                Err(status) => *status,
            };
            queue.complete(tag, status.into());
        }
        other @ (Step::Failed { .. } | Step::Terminated { .. }) => panic!("{other:?}"),
    }
}

fn any_entry() -> impl Strategy<Value = DiscoveryEntry> {
    let address = prop_oneof![
        Just((Family::V4, "192.0.2.7")),
        Just((Family::V6, "2001:db8::7")),
    ];
    let subtype = prop_oneof![Just(Subtype::Nvm), Just(Subtype::Referral)];
    let label = proptest::option::of("[^\\pC]{1,64}");
    (address, subtype, label, any::<u16>(), 1_u16..).prop_map(
        |((family, traddr), subtype, label, portid, port)| DiscoveryEntry {
            subtype,
            family,
            traddr: traddr.into(),
            trsvcid: port.to_string(),
            label,
            ..entry(portid)
        },
    )
}

proptest! {
    #[test]
    fn what_is_made_is_what_is_read(
        entries in proptest::collection::vec(any_entry(), 1..12),
        most in 4096_u32..20_000,
        deregister in any::<bool>(),
    ) {
        let task = match deregister {
            true => Task::Deregister(&entries),
            false => Task::Register(&entries),
        };
        let mut received = Vec::new();
        for command in task.commands(&entity(), Extended, most).unwrap() {
            prop_assert!(command.data.len() <= most as usize);
            let read = read(&command).unwrap();
            prop_assert_eq!(&read.entity, &entity());
            match read.task() {
                Task::Register(entries) if !deregister => received.extend_from_slice(entries),
                Task::Deregister(entries) if deregister => received.extend_from_slice(entries),
                other @ (Task::Register(_) | Task::Deregister(_) | Task::Update { .. }) => {
                    prop_assert!(false, "{:?}", other);
                }
            }
        }
        prop_assert_eq!(received, entries);
    }

    #[test]
    fn garbage_is_refused_without_a_panic(
        at in proptest::collection::vec((0_usize..2068, any::<u8>()), 1..8),
        cut in 0_usize..2069,
        tas in 0_u32..4,
    ) {
        let mut command = registration();
        command.sqe.cdw10 = tas.into();
        for (at, byte) in at {
            command.data[at] = byte;
        }
        let _ = read(&command);
        command.data.truncate(cut);
        let length = u32::try_from(cut).unwrap().to_le_bytes();
        for (to, from) in command.data.iter_mut().zip(length) {
            *to = from;
        }
        let _ = read(&command);
    }
}
