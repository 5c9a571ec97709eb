//! A byte stream cut into PDUs.
//!
//! The deframer keeps a PDU's header and nothing else: data passes through to whoever owns the
//! command's buffer, so that no length of the peer's is ever allocated here. Every length is judged
//! by the PDU's type and the connection's state before a byte behind it is awaited, in the order
//! and with the answers of FreeBSD's `nvmf_tcp_validate_pdu_header`: the lowest wrong field counts.
//! After an error the deframer is dead: it says the same again for ever (CVE-2026-52989).

use zerocopy::FromBytes;

use crate::pdu::{
    COMMON_HEADER_SIZE, CommonHeader, DIGEST_SIZE, Fes, Framing, Header, PduError, PduType,
    TERM_MAX_LENGTH, flags,
};

/// Which half of the protocol reads this stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A controller: it receives what hosts send.
    Controller,
    /// A host: it receives what controllers send.
    Host,
}

/// What a deframer holds its stream to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Who reads.
    pub side: Side,
    /// Digests and alignment.
    pub framing: Framing,
    /// Bytes of data that a command capsule may carry.
    pub max_capsule_data: u32,
    /// Bytes of data that a data PDU may carry: MAXH2CDATA, or what a host asked for.
    pub max_data: u32,
    /// Whether the connection is set up: before, only ICReq (ICResp) and termination are legal.
    pub initialized: bool,
}

/// What was found in the stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A header, whole and legal. With `data_length` 0 the PDU ends here; else data and an end follow.
    Header {
        /// The header.
        header: Header,
        /// Bytes of data behind it.
        data_length: u32,
    },
    /// The next piece of the data.
    Data(&'a [u8]),
    /// The data is complete.
    End {
        /// Whether its digest was right, or there is none.
        intact: bool,
    },
}

/// Where in a PDU the stream stands.
#[derive(Clone, Copy, Debug)]
enum State {
    /// Collecting `have` of `need` bytes of the header and its digest.
    Header {
        have: usize,
        need: usize,
    },
    /// Passing over `left` bytes of padding.
    Padding {
        left: usize,
    },
    /// Passing `left` bytes of data through.
    Data {
        left: usize,
    },
    /// Collecting the digest of the data, or, without digests, saying that the data is complete.
    Digest {
        have: usize,
        need: usize,
    },
    Dead(PduError),
}

/// Cuts a stream into PDUs. See the module's description.
#[derive(Debug)]
pub struct Deframer {
    rules: Rules,
    state: State,
    /// The current header and its digest; at most 128 + 4 bytes.
    header: [u8; HEADER_MAX],
    header_length: usize,
    data_length: u32,
    /// Whether a digest follows the data of the current PDU.
    data_digest: bool,
    /// Of the data so far.
    crc: u32,
    digest: [u8; DIGEST_SIZE],
}

const HEADER_MAX: usize = 128 + DIGEST_SIZE;
const START: State = State::Header {
    have: 0,
    need: COMMON_HEADER_SIZE,
};

impl Deframer {
    /// A deframer at the start of a PDU.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            state: START,
            header: [0; HEADER_MAX],
            header_length: 0,
            data_length: 0,
            data_digest: false,
            crc: 0,
            digest: [0; DIGEST_SIZE],
        }
    }

    /// Bytes that may be read from the stream without reading beyond the next event. A driver that
    /// never feeds more than this holds no byte back when the connection changes hands. 0 once dead.
    pub fn wants(&self) -> usize {
        match self.state {
            State::Header { have, need } | State::Digest { have, need } => need - have,
            State::Padding { left } | State::Data { left } => left,
            State::Dead(_) => 0,
        }
    }

    /// The header bytes of the current PDU, as far as they came: what a termination sends back.
    pub fn header_bytes(&self) -> &[u8] {
        self.header.get(..self.header_length).unwrap_or_default()
    }

    /// Takes bytes from the front of `input` up to the next event. `None`: `input` is used up and
    /// more is needed.
    ///
    /// # Errors
    /// The peer's violation; the same again at every later call.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, PduError> {
        self.step(input)
            .inspect_err(|&error| self.state = State::Dead(error))
    }

    fn step<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, PduError> {
        loop {
            match self.state {
                State::Header { have, need } => {
                    let taken = fill(&mut self.header, have, need, input);
                    self.header_length = taken;
                    if taken < need {
                        self.state = State::Header { have: taken, need };
                        return Ok(None);
                    }
                    if let Some(event) = self.header_reached(taken)? {
                        return Ok(Some(event));
                    }
                }
                State::Padding { left } => {
                    let skipped = take(input, left).len();
                    if skipped < left {
                        self.state = State::Padding {
                            left: left - skipped,
                        };
                        return Ok(None);
                    }
                    self.state = State::Data {
                        left: self.data_length as usize,
                    };
                }
                State::Data { left } => {
                    let piece = take(input, left);
                    if piece.is_empty() {
                        return Ok(None);
                    }
                    if self.data_digest {
                        self.crc = crc32c::crc32c_append(self.crc, piece);
                    }
                    self.state = match left - piece.len() {
                        0 => {
                            let need = if self.data_digest { DIGEST_SIZE } else { 0 };
                            State::Digest { have: 0, need }
                        }
                        left => State::Data { left },
                    };
                    return Ok(Some(Event::Data(piece)));
                }
                State::Digest { have, need } => {
                    let taken = fill(&mut self.digest, have, need, input);
                    if taken < need {
                        self.state = State::Digest { have: taken, need };
                        return Ok(None);
                    }
                    self.state = START;
                    let intact = need == 0 || u32::from_le_bytes(self.digest) == self.crc;
                    return Ok(Some(Event::End { intact }));
                }
                State::Dead(error) => return Err(error),
            }
        }
    }

    /// All of what was awaited of the header is here: first the common part, then the rest.
    fn header_reached<'a>(&mut self, have: usize) -> Result<Option<Event<'a>>, PduError> {
        let Ok((common, _)) = CommonHeader::read_from_prefix(&self.header) else {
            return Err(PduError::field(0));
        };
        if have == COMMON_HEADER_SIZE {
            let (pdu_type, data_length) = self.rules.judge(&common)?;
            self.data_length = data_length;
            let need = header_with_digest(pdu_type, &self.rules.framing);
            self.state = State::Header { have, need };
            return Ok(None);
        }
        let pdu_type = PduType::from_wire(common.pdu_type).ok_or(PduError::field(0))?;
        let (header, digest) = self
            .header
            .split_at_checked(usize::from(common.hlen))
            .ok_or(PduError::field(2))?;
        if self.rules.framing.header_digest && pdu_type.has_digests() {
            let received = digest
                .first_chunk()
                .map_or(0, |bytes| u32::from_le_bytes(*bytes));
            if received != crc32c::crc32c(header) {
                return Err(PduError::Fatal {
                    fes: Fes::HeaderDigestError,
                    fei: received,
                });
            }
        }
        let header = Header::read(pdu_type, header).ok_or(PduError::field(2))?;
        self.crc = 0;
        self.data_digest = self.rules.framing.data_digest && pdu_type.has_digests();
        self.state = if self.data_length == 0 {
            START
        } else {
            // Termination has its data behind the header, with PDO 0.
            let padding = usize::from(common.pdo).saturating_sub(have);
            State::Padding { left: padding }
        };
        Ok(Some(Event::Header {
            header,
            data_length: self.data_length,
        }))
    }
}

impl Rules {
    /// Judges a common header: its type and the bytes of data that follow it.
    fn judge(&self, common: &CommonHeader) -> Result<(PduType, u32), PduError> {
        let pdu_type = PduType::from_wire(common.pdu_type)
            .filter(|pdu_type| pdu_type.is_to_controller() == (self.side == Side::Controller))
            .ok_or(PduError::field(0))?;
        match pdu_type {
            PduType::H2cTermReq | PduType::C2hTermReq => {
                return judge_termination(common, pdu_type);
            }
            PduType::IcReq | PduType::IcResp if self.initialized => {
                return Err(PduError::sequence(0));
            }
            PduType::IcReq | PduType::IcResp => {}
            PduType::CapsuleCmd
            | PduType::CapsuleResp
            | PduType::H2cData
            | PduType::C2hData
            | PduType::R2t => {
                if !self.initialized {
                    return Err(PduError::field(0));
                }
            }
        }
        let framing = &self.framing;
        let data_length = judge_lengths(common, pdu_type, framing);
        self.judge_flags(common, pdu_type, data_length)?;
        if common.hlen != pdu_type.header_length() {
            return Err(PduError::field(2));
        }
        let data_length = data_length?;
        let limit = match pdu_type {
            PduType::CapsuleCmd => self.max_capsule_data,
            PduType::H2cData | PduType::C2hData => self.max_data,
            PduType::IcReq
            | PduType::IcResp
            | PduType::H2cTermReq
            | PduType::C2hTermReq
            | PduType::CapsuleResp
            | PduType::R2t => 0,
        };
        if data_length > limit {
            return Err(PduError::Fatal {
                fes: Fes::LimitExceeded,
                fei: 4,
            });
        }
        Ok((pdu_type, data_length))
    }

    /// Digest flags say what was negotiated, neither more nor less; no unknown flag is set. Where
    /// lengths are wrong, whether there is data is not known, and the flag of its digest not judged.
    fn judge_flags(
        &self,
        common: &CommonHeader,
        pdu_type: PduType,
        data_length: Result<u32, PduError>,
    ) -> Result<(), PduError> {
        let mut optional = match pdu_type {
            PduType::H2cData => flags::LAST_PDU,
            PduType::C2hData => flags::LAST_PDU | flags::SUCCESS,
            PduType::IcReq
            | PduType::IcResp
            | PduType::H2cTermReq
            | PduType::C2hTermReq
            | PduType::CapsuleCmd
            | PduType::CapsuleResp
            | PduType::R2t => 0,
        };
        let mut expected = 0;
        if pdu_type.has_digests() && self.framing.header_digest {
            expected |= flags::HEADER_DIGEST;
        }
        if pdu_type.may_carry_data() && self.framing.data_digest {
            match data_length {
                Ok(0) => {}
                Ok(_) => expected |= flags::DATA_DIGEST,
                Err(_) => optional |= flags::DATA_DIGEST,
            }
        }
        if common.flags & !optional == expected {
            Ok(())
        } else {
            Err(PduError::field(1))
        }
    }
}

/// Bytes of data that PDO and PLEN promise, once both are legal.
fn judge_lengths(
    common: &CommonHeader,
    pdu_type: PduType,
    framing: &Framing,
) -> Result<u32, PduError> {
    const PDO: PduError = PduError::field(3);
    const PLEN: PduError = PduError::field(4);
    let header = header_with_digest(pdu_type, framing);
    let plen = common.plen.get() as usize;
    let pdo = usize::from(common.pdo);
    if !pdu_type.may_carry_data() {
        return match (pdo, plen == header) {
            (0, true) => Ok(0),
            (0, false) => Err(PLEN),
            _ => Err(PDO),
        };
    }
    if pdo == 0 {
        // No data: the PDU is its header.
        return match plen.cmp(&header) {
            std::cmp::Ordering::Less => Err(PLEN),
            std::cmp::Ordering::Equal => Ok(0),
            std::cmp::Ordering::Greater => Err(PDO),
        };
    }
    if pdo < header || pdo > plen || !pdo.is_multiple_of(framing.receive_alignment as usize) {
        return Err(PDO);
    }
    if plen == header {
        return Ok(0);
    }
    let digest = if framing.data_digest { DIGEST_SIZE } else { 0 };
    match plen
        .checked_sub(pdo)
        .and_then(|rest| rest.checked_sub(digest))
    {
        None | Some(0) => Err(PLEN),
        Some(data_length) => u32::try_from(data_length).map_err(|_| PLEN),
    }
}

/// A termination of impossible shape is not worth an answer.
fn judge_termination(common: &CommonHeader, pdu_type: PduType) -> Result<(PduType, u32), PduError> {
    let hlen = pdu_type.header_length();
    let length = common.plen.get();
    if common.hlen != hlen || !(u32::from(hlen)..=TERM_MAX_LENGTH).contains(&length) {
        return Err(PduError::MalformedTermination);
    }
    Ok((pdu_type, length - u32::from(hlen)))
}

/// Bytes of a type's header with the digest that follows it.
fn header_with_digest(pdu_type: PduType, framing: &Framing) -> usize {
    let digest = framing.header_digest && pdu_type.has_digests();
    usize::from(pdu_type.header_length()) + if digest { DIGEST_SIZE } else { 0 }
}

/// Takes at most `most` bytes from the front of `input`.
fn take<'a>(input: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (front, rest) = input.split_at(input.len().min(most));
    *input = rest;
    front
}

/// Fills `to` from `have` towards `need`; how far it came.
fn fill(to: &mut [u8], have: usize, need: usize, input: &mut &[u8]) -> usize {
    let piece = take(input, need - have);
    let end = have + piece.len();
    if let Some(place) = to.get_mut(have..end) {
        place.copy_from_slice(piece);
    }
    end
}

#[cfg(test)]
mod tests;
