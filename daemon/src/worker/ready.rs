//! Which connection has the next turn.
//!
//! Those that ask for no more than they get at once are *light*, and go first; those that have more to do
//! after their turn than they had time or room for are *heavy*, and one of them has a turn between the
//! light ones' looks at their sockets. So a host with a few small commands waits for one turn of others
//! at most, however much they ask for, and the others go on. Of each class the one is next that has
//! had least, counted in bytes; who comes back after a rest is as good as that one, and no better:
//! nobody saves turns up.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use super::connection::SHORT_TURN;

/// What a connection has had. Of the list alone.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Had {
    bytes: u64,
    class: Class,
    queued: bool,
}

/// How much a connection asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Class {
    /// What it gets at once.
    #[default]
    Light,
    /// More.
    Heavy,
}

impl Had {
    /// It has had a turn of so many bytes, and is of this class now.
    pub(super) fn add(&mut self, bytes: usize, class: Class) {
        if class != self.class {
            // What the others of this class have had is not known here: it comes back like after a rest.
            self.bytes = 0;
        }
        // Heavy turns are few, and one that moves little takes another's place all the same.
        let least = match class {
            Class::Light => 0,
            Class::Heavy => SHORT_TURN,
        };
        self.bytes = self.bytes.saturating_add(bytes.max(least) as u64);
        self.class = class;
    }

    /// Whether it waits for a turn.
    pub(super) fn is_queued(&self) -> bool {
        self.queued
    }

    /// It has its turn.
    pub(super) fn begins(&mut self) {
        self.queued = false;
    }
}

/// Those that have something to do without a further event, by their places.
#[derive(Debug, Default)]
pub(super) struct Ready {
    light: Line,
    heavy: Line,
}

#[derive(Debug, Default)]
struct Line {
    list: BTreeSet<(u64, usize)>,
    /// What the last one had that had its turn.
    level: u64,
}

impl Ready {
    /// Lets the connection at this place run, once.
    pub(super) fn add(&mut self, place: usize, had: &mut Had) {
        if !std::mem::replace(&mut had.queued, true) {
            let line = self.line(had.class);
            had.bytes = had.bytes.max(line.level);
            line.list.insert((had.bytes, place));
        }
    }

    /// Whose turn it is among these.
    pub(super) fn next(&mut self, class: Class) -> Option<usize> {
        let line = self.line(class);
        let (bytes, place) = line.list.pop_first()?;
        line.level = bytes;
        Some(place)
    }

    /// The connection at this place is looked at now, or gone.
    pub(super) fn remove(&mut self, place: usize, had: &Had) {
        self.line(had.class).list.remove(&(had.bytes, place));
    }

    /// How many of this class wait.
    pub(super) fn len(&self, class: Class) -> usize {
        match class {
            Class::Light => self.light.list.len(),
            Class::Heavy => self.heavy.list.len(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.light.list.is_empty() && self.heavy.list.is_empty()
    }

    fn line(&mut self, class: Class) -> &mut Line {
        match class {
            Class::Light => &mut self.light,
            Class::Heavy => &mut self.heavy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_had_least_is_next_and_nobody_saves_turns_up() {
        let (mut ready, mut much, mut little) = (Ready::default(), Had::default(), Had::default());
        let turn = |ready: &mut Ready, had: &mut Had, bytes| {
            had.begins();
            had.add(bytes, Class::Light);
            ready.next(Class::Light)
        };
        for _ in 0..100 {
            ready.add(1, &mut much);
            assert_eq!(turn(&mut ready, &mut much, 1000), Some(1));
        }
        ready.add(1, &mut much);
        ready.add(2, &mut little);
        ready.add(2, &mut little);
        assert_eq!(ready.len(Class::Light), 2);
        assert_eq!(turn(&mut ready, &mut little, 2000), Some(2));
        // It has slept through the first hundred turns of the other, and they are forgotten.
        ready.add(2, &mut little);
        assert_eq!(ready.next(Class::Light), Some(1));
        assert_eq!(ready.next(Class::Light), Some(2));
        assert!(ready.is_empty());
    }

    #[test]
    fn a_heavy_turn_costs_a_turn_however_little_it_moves() {
        let (mut ready, mut drip, mut honest) = (Ready::default(), Had::default(), Had::default());
        drip.add(0, Class::Heavy);
        honest.add(0, Class::Heavy);
        let mut turns = [0; 2];
        for _ in 0..100 {
            ready.add(0, &mut drip);
            ready.add(1, &mut honest);
            let place = ready.next(Class::Heavy).unwrap();
            turns[place] += 1;
            let (had, bytes) = match place {
                0 => (&mut drip, 1),
                _ => (&mut honest, SHORT_TURN),
            };
            had.begins();
            had.add(bytes, Class::Heavy);
        }
        assert_eq!(turns, [50, 50]);
    }

    #[test]
    fn who_asks_for_more_is_in_another_line() {
        let (mut ready, mut hog) = (Ready::default(), Had::default());
        hog.add(1000, Class::Heavy);
        ready.add(1, &mut hog);
        assert_eq!(
            (ready.next(Class::Light), ready.len(Class::Heavy)),
            (None, 1)
        );
        ready.remove(1, &hog);
        assert!(ready.is_empty());
    }
}
