//! What a finding is called.
//!
//! Sockets, gRPC clients and HTTP connections are different views of the same connections. Which of them the numbers are
//! taken from may change while a verdict stands; its name is that of the most telling view, and stays.

use super::input::Resource;
use super::series::Series;
use super::view::View;

/// A member that counts at least this part of what the primary counts, counts the same.
const SAME: f64 = 0.5;

/// The resource that a finding goes by. What it went by before gives way only to what tells more.
pub(crate) fn resource(view: &View<'_>, before: Option<&Resource>) -> Resource {
    let own = &view.primary.subject.resource;
    if !is_view(own) {
        return own.clone();
    }
    let least = SAME * view.primary.open_now().max(1.0);
    let members = view.members.iter().filter(|m| view.fresh(m) && m.open_now() >= least);
    let names = members.map(|m| &m.subject.resource).chain(before).filter(|name| is_view(name));
    // The order of resources is that of how much they tell.
    names.chain([own]).min().unwrap_or(own).clone()
}

/// Whether a series is a view of connections, one by one.
pub(crate) fn is_connection(series: &Series) -> bool {
    is_view(&series.subject.resource)
}

fn is_view(resource: &Resource) -> bool {
    matches!(
        resource,
        Resource::GrpcClient
            | Resource::GrpcConnection
            | Resource::HttpTransport
            | Resource::HttpConnection
            | Resource::Socket
    )
}
