//! TCP conversations out of a packet capture: just enough for captures of our own, made on a quiet
//! loopback interface, where segments are whole and in order.

use std::collections::BTreeMap;

/// One TCP connection, both directions put together.
#[derive(Debug, Default)]
pub struct Conversation {
    /// Port of the side that was connected to.
    pub port: u16,
    /// What the side that connected has sent.
    pub to_port: Vec<u8>,
    /// What it was sent.
    pub from_port: Vec<u8>,
}

/// Bytes of a pcap file's header, of a packet's, and of Ethernet's.
const FILE_HEADER: usize = 24;
const PACKET_HEADER: usize = 16;
const ETHERNET: usize = 14;

/// The conversations with `ports` in a little-endian pcap of Ethernet frames, in the order in which
/// they began.
///
/// # Panics
/// On a file of another form: it is a fixture.
pub fn conversations(file: &[u8], ports: &[u16]) -> Vec<Conversation> {
    assert_eq!(
        file[..4],
        [0xd4, 0xc3, 0xb2, 0xa1],
        "a little-endian pcap file"
    );
    let mut order = Vec::new();
    let mut found = BTreeMap::<(u16, u16), Conversation>::new();
    let mut next = BTreeMap::<(u16, u16), u32>::new();
    let mut rest = &file[FILE_HEADER..];
    while rest.len() >= PACKET_HEADER {
        let length = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
        let packet = &rest[PACKET_HEADER..PACKET_HEADER + length];
        rest = &rest[PACKET_HEADER + length..];
        let Some(segment) = Segment::parse(&packet[ETHERNET..]) else {
            continue;
        };
        let to_port = ports.contains(&segment.destination);
        let (port, peer) = match to_port {
            true => (segment.destination, segment.source),
            false => (segment.source, segment.destination),
        };
        let direction = (segment.source, segment.destination);
        if segment.is_syn {
            next.insert(direction, segment.sequence.wrapping_add(1));
            continue;
        }
        if segment.payload.is_empty() {
            continue;
        }
        let expected = next
            .get_mut(&direction)
            .expect("the capture saw the connection begin");
        if segment.sequence != *expected {
            // Sent again: it is here already.
            continue;
        }
        *expected = expected.wrapping_add(u32::try_from(segment.payload.len()).unwrap());
        let conversation = found.entry((port, peer)).or_insert_with(|| {
            order.push((port, peer));
            Conversation {
                port,
                ..Conversation::default()
            }
        });
        match to_port {
            true => conversation.to_port.extend_from_slice(segment.payload),
            false => conversation.from_port.extend_from_slice(segment.payload),
        }
    }
    order.iter().filter_map(|key| found.remove(key)).collect()
}

struct Segment<'a> {
    source: u16,
    destination: u16,
    sequence: u32,
    is_syn: bool,
    payload: &'a [u8],
}

impl<'a> Segment<'a> {
    /// The TCP segment in an IPv4 packet.
    fn parse(packet: &'a [u8]) -> Option<Self> {
        if packet[0] >> 4 != 4 || packet[9] != 6 {
            return None;
        }
        let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
        let tcp = &packet[usize::from(packet[0] & 0xf) * 4..total];
        Some(Self {
            source: u16::from_be_bytes([tcp[0], tcp[1]]),
            destination: u16::from_be_bytes([tcp[2], tcp[3]]),
            sequence: u32::from_be_bytes(tcp[4..8].try_into().ok()?),
            is_syn: tcp[13] & 0x02 != 0,
            payload: &tcp[usize::from(tcp[12] >> 4) * 4..],
        })
    }
}
