//! The established queue: the host's half against the controller's, and hostile hosts.

mod choreography;
mod golden;
mod hostile_commands;
mod hostile_data;
mod room;
mod target;
