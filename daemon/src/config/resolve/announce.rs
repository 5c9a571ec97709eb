//! What discovery is announced by, and to whom.

#![forbid(unsafe_code)]

use super::super::model::Announce;
use super::super::raw;
use super::Resolver;

impl Resolver<'_> {
    /// What the file asks for.
    pub(super) fn announce(&mut self, file: &raw::File) -> Announce {
        let Some(discovery) = file.discovery.given() else {
            return Announce::default();
        };
        let mut register = Vec::new();
        for address in discovery.register.items() {
            let cdc = address.get_ref().0;
            self.conflicts.cdc(cdc, address.span(), self.findings);
            register.push(cdc);
        }
        Announce {
            mdns: discovery.mdns.or(false),
            register,
        }
    }
}
