//! The commands of a queue that are not yet answered.

use crate::cqe::Completion;
use crate::sqe::{DataPointer, Sqe};

/// Names one outstanding command of a queue. Never the same for two commands in a row, so that an
/// answer that comes late cannot hit another command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tag(u32);

impl Tag {
    fn new(index: u16, generation: u16) -> Self {
        Self(u32::from(generation) << 16 | u32::from(index))
    }

    /// The place in the table, which is also the transfer tag of the command's R2T.
    pub(super) fn index(self) -> u16 {
        (self.0 & 0xffff) as u16
    }

    fn generation(self) -> u16 {
        (self.0 >> 16) as u16
    }
}

impl From<Tag> for u32 {
    fn from(tag: Tag) -> Self {
        tag.0
    }
}

impl From<u32> for Tag {
    fn from(raw: u32) -> Self {
        Self(raw)
    }
}

/// How far a command has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its capsule is here; the caller has not judged it yet.
    Undecided,
    /// Its data is awaited.
    Receiving,
    /// Everything is here; it waits for the other half of its fused pair.
    Complete,
    /// The caller has it.
    Executing,
    /// The caller keeps it until something happens.
    Held,
}

/// One outstanding command.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) sqe: Sqe,
    pub(super) pointer: DataPointer,
    /// Bytes of data in the capsule itself.
    pub(super) in_capsule: u32,
    /// Bytes that the caller wants from the host.
    pub(super) expected: u32,
    /// Bytes that came, wanted or not.
    pub(super) received: u32,
    /// Bytes that are promised to the host.
    pub(super) to_host: u32,
    pub(super) data: Vec<u8>,
    pub(super) phase: Phase,
    /// How the command ends as soon as its data has been swallowed: it will not be executed.
    pub(super) failure: Option<Completion>,
    /// The other half of a fused pair.
    pub(super) partner: Option<Tag>,
    /// Whether an R2T for its data is out.
    pub(super) solicited: bool,
    /// Whether there is memory for what it moves.
    pub(super) begun: bool,
}

impl Slot {
    pub(super) fn new(sqe: Sqe, pointer: DataPointer, in_capsule: u32) -> Self {
        Self {
            sqe,
            pointer,
            in_capsule,
            expected: 0,
            received: 0,
            to_host: 0,
            data: Vec::new(),
            phase: Phase::Undecided,
            failure: None,
            partner: None,
            solicited: false,
            begun: false,
        }
    }
}

impl Slot {
    /// Bytes that the command moves, whichever way.
    pub(super) fn moves(&self) -> u64 {
        u64::from(self.expected) + u64::from(self.to_host)
    }
}

/// A table of slots that grows with use and never beyond what its owner admits.
#[derive(Debug, Default)]
pub(super) struct Inflight {
    slots: Vec<Entry>,
    /// CID by index, or [`FREE`]: a dense row that is quick to search.
    cids: Vec<u32>,
    free: Vec<u16>,
}

#[derive(Debug)]
struct Entry {
    generation: u16,
    slot: Option<Box<Slot>>,
}

const FREE: u32 = u32::MAX;

/// Bytes that the table keeps for a place in it, taken or not.
pub(super) const PLACE: u64 = (size_of::<Entry>() + size_of::<u32>() + size_of::<u16>()) as u64;

/// Bytes that an outstanding command has besides.
pub(super) const COMMAND: u64 = size_of::<Slot>() as u64;

impl Inflight {
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether a command with this identifier is outstanding.
    pub(super) fn find(&self, cid: u16) -> Option<Tag> {
        let index = self.cids.iter().position(|&live| live == u32::from(cid))?;
        let entry = self.slots.get(index)?;
        Some(Tag::new(u16::try_from(index).ok()?, entry.generation))
    }

    /// Takes a command in; `None` when there are 65,536 already.
    pub(super) fn insert(&mut self, slot: Slot) -> Option<Tag> {
        let cid = u32::from(slot.sqe.cid.get());
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let index = u16::try_from(self.slots.len()).ok()?;
                self.slots.push(Entry {
                    generation: 0,
                    slot: None,
                });
                self.cids.push(FREE);
                index
            }
        };
        let place = usize::from(index);
        let entry = self.slots.get_mut(place)?;
        *self.cids.get_mut(place)? = cid;
        entry.generation = entry.generation.wrapping_add(1);
        entry.slot = Some(Box::new(slot));
        Some(Tag::new(index, entry.generation))
    }

    pub(super) fn get(&self, tag: Tag) -> Option<&Slot> {
        let entry = self.slots.get(usize::from(tag.index()))?;
        if entry.generation == tag.generation() {
            entry.slot.as_deref()
        } else {
            None
        }
    }

    pub(super) fn get_mut(&mut self, tag: Tag) -> Option<&mut Slot> {
        let entry = self.slots.get_mut(usize::from(tag.index()))?;
        if entry.generation == tag.generation() {
            entry.slot.as_deref_mut()
        } else {
            None
        }
    }

    /// The command at a place, whatever its generation: what a transfer tag names.
    pub(super) fn at(&self, index: u16) -> Option<(Tag, &Slot)> {
        let entry = self.slots.get(usize::from(index))?;
        Some((Tag::new(index, entry.generation), entry.slot.as_deref()?))
    }

    pub(super) fn remove(&mut self, tag: Tag) -> Option<Box<Slot>> {
        let index = tag.index();
        let entry = self.slots.get_mut(usize::from(index))?;
        if entry.generation != tag.generation() {
            return None;
        }
        let slot = entry.slot.take()?;
        if let Some(live) = self.cids.get_mut(usize::from(index)) {
            *live = FREE;
        }
        self.free.push(index);
        Some(slot)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter_map(|entry| entry.slot.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opcode;

    fn slot(cid: u16) -> Slot {
        Slot::new(
            Sqe::new(opcode::nvm::FLUSH, cid),
            DataPointer::Transport(0),
            0,
        )
    }

    #[test]
    fn a_tag_of_an_ended_command_names_nothing_even_when_its_place_is_taken_again() {
        let mut inflight = Inflight::default();
        let first = inflight.insert(slot(7)).unwrap();
        assert_eq!(inflight.find(7), Some(first));
        assert!(inflight.remove(first).is_some() && inflight.remove(first).is_none());
        let second = inflight.insert(slot(8)).unwrap();
        assert_eq!(first.index(), second.index());
        assert!(inflight.get(first).is_none() && inflight.get(second).is_some());
        assert_eq!((inflight.find(7), inflight.len()), (None, 1));
    }
}
