//! Kernel sockets by netlink `sock_diag` as evidence of leaking connections.
//!
//! What the kernel shows is read and counted by `weir-kernel`; this is the receiver around it.

mod alive;
mod config;
mod publish;
mod receiver;

pub use config::FACTORY;
