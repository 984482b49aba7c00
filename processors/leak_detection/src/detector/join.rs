//! Which series of a process speak of the same: by side and address, else by growing equally.

use super::address::Address;
use super::input::{Resource, Side, Source};
use super::series::Series;
use weir_connection::report::State;

/// Two growths are equal when they differ by less than this part.
const EQUAL: f64 = 0.25;
/// Smallest growth that is compared.
const MIN_GROWTH: f64 = 5.0;

/// Series of one process that speak of the same side and target.
#[derive(Debug, Clone)]
pub(crate) struct Group<'a> {
    pub(crate) side: Side,
    /// As the most telling member writes it; empty for the whole process.
    pub(crate) target: String,
    address: Option<Address>,
    pub(crate) members: Vec<&'a Series>,
}

impl Group<'_> {
    fn has(&self, source: Source) -> bool {
        self.members.iter().any(|m| m.subject.source == source)
    }

    fn grows(&self) -> bool {
        self.members.iter().any(|m| m.grows())
    }

    /// Grows, or did until lately.
    fn active(&self) -> bool {
        self.grows() || self.members.iter().any(|m| m.machine.state != State::Ok)
    }

    /// Growth per second of the member that grows most.
    fn rate(&self) -> f64 {
        self.members.iter().filter(|m| m.grows()).map(|m| m.basis().slopes.median).fold(0.0, f64::max)
    }

    /// Whether process-wide counts of this resource may belong here.
    fn may_hold(&self, resource: &Resource) -> bool {
        let any =
            |wanted: &dyn Fn(&Resource) -> bool| self.members.iter().any(|m| wanted(&m.subject.resource));
        let grpc = any(&Resource::is_grpc);
        let http = any(&|r| match r {
            Resource::HttpConnection | Resource::HttpTransport => true,
            Resource::Other(name) => name.contains("http"),
            _ => false,
        });
        match resource {
            r if r.is_grpc() => grpc || !http,
            Resource::HttpConnection | Resource::HttpTransport => http || !grpc,
            _ => false,
        }
    }
}

/// Groups the series of one process. The order of the series decides nothing but the order of the groups.
pub(crate) fn groups<'a>(series: &[&'a Series]) -> Vec<Group<'a>> {
    let mut sorted: Vec<&Series> = series.to_vec();
    sorted.sort_by(|a, b| a.subject.cmp(&b.subject));
    // gRPC's and HTTP's first: what is somebody else's may stand with them when nothing else does.
    let wide = |s: &Series| s.subject.source == Source::Profile && s.subject.target.is_empty();
    let mut groups: Vec<Group<'a>> = Vec::new();
    for series in sorted.iter().copied().filter(|s| s.subject.source != Source::Sockets && !wide(s)) {
        place_exactly(&mut groups, series);
    }
    for series in sorted.iter().copied().filter(|s| s.subject.source == Source::Sockets) {
        place_socket(&mut groups, series);
    }
    join_equal_growth(&mut groups);
    for series in sorted.iter().copied().filter(|s| wide(s)) {
        place_wide(&mut groups, series);
    }
    groups
}

/// Into the group of the same side and address, or a new one.
fn place_exactly<'a>(groups: &mut Vec<Group<'a>>, series: &'a Series) {
    let side = series.subject.side;
    match groups.iter_mut().find(|g| g.side.agrees(side) && g.address == series.address) {
        Some(group) => add(group, series),
        None => groups.push(Group {
            side,
            target: series.subject.target.clone(),
            address: series.address.clone(),
            members: vec![series],
        }),
    }
}

/// Into the group of the same address, else into the only one whose name may stand for it.
fn place_socket<'a>(groups: &mut Vec<Group<'a>>, series: &'a Series) {
    let Some(address) = &series.address else { return place_exactly(groups, series) };
    let side = series.subject.side;
    let exact = groups.iter().any(|g| g.side.agrees(side) && g.address.as_ref() == Some(address));
    let mut named = groups
        .iter_mut()
        .filter(|g| g.side.agrees(side) && g.address.as_ref().is_some_and(|a| a.matches(address)));
    match (exact, named.next(), named.next()) {
        (false, Some(group), None) => add(group, series),
        _ => place_exactly(groups, series),
    }
}

fn add<'a>(group: &mut Group<'a>, series: &'a Series) {
    if group.side == Side::Unknown {
        group.side = series.subject.side;
    }
    group.members.push(series);
}

/// Sockets that match no target belong to the only other group without sockets that grows at the same rate.
fn join_equal_growth(groups: &mut Vec<Group<'_>>) {
    let growing = |g: &Group<'_>| g.grows() && g.members.iter().any(|m| m.evaluation.growth >= MIN_GROWTH);
    let mut i = 0;
    while i < groups.len() {
        let lonely =
            groups[i].members.iter().all(|m| m.subject.source == Source::Sockets) && growing(&groups[i]);
        let rate = groups[i].rate();
        let candidates: Vec<usize> = (0..groups.len())
            .filter(|&j| {
                let other = &groups[j];
                let equal = (other.rate() - rate).abs() <= EQUAL * rate.max(other.rate());
                lonely
                    && j != i
                    && other.has(Source::Events)
                    && !other.has(Source::Sockets)
                    && other.side.agrees(groups[i].side)
                    && growing(other)
                    && equal
            })
            .collect();
        if let [only] = candidates[..] {
            let group = groups.remove(i);
            let target = if only > i { only - 1 } else { only };
            for series in group.members {
                add(&mut groups[target], series);
            }
        } else {
            i += 1;
        }
    }
}

/// Process-wide counts go to the group that they fit which grows, or which recovers; else to the only one; else they stand
/// alone when they grow themselves, or when there is nothing else.
fn place_wide<'a>(groups: &mut Vec<Group<'a>>, series: &'a Series) {
    let side = series.subject.side;
    let fitting: Vec<usize> = (0..groups.len())
        .filter(|&i| groups[i].side.agrees(side) && groups[i].may_hold(&series.subject.resource))
        .collect();
    let active = fitting.iter().copied().filter(|&i| groups[i].active() && groups[i].address.is_some());
    let best = active.max_by(|&a, &b| groups[a].rate().total_cmp(&groups[b].rate()));
    match (best, fitting.as_slice()) {
        (Some(best), _) => groups[best].members.push(series),
        (None, [only]) => groups[*only].members.push(series),
        (None, []) if groups.is_empty() || !matches!(series.subject.resource, Resource::Other(_)) => {
            place_exactly(groups, series);
        }
        (None, _) if series.grows() || series.machine.state != State::Ok => place_exactly(groups, series),
        (None, _) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::scale::Scale;
    use super::super::series::Subject;
    use super::*;

    fn series(source: Source, resource: Resource, side: Side, target: &str) -> Series {
        Series::new(Subject { source, resource, side, target: target.to_owned() }, &Scale::new(5.0))
    }

    fn join(all: &[Series]) -> Vec<(String, usize)> {
        let all: Vec<&Series> = all.iter().collect();
        groups(&all).into_iter().map(|g| (g.target, g.members.len())).collect()
    }

    #[test]
    fn a_target_and_the_sockets_to_its_address_are_one_subject() {
        let all = [
            series(Source::Sockets, Resource::Socket, Side::Client, "127.0.0.1:50051"),
            series(Source::Events, Resource::GrpcClient, Side::Client, "dns:///localhost:50051"),
            series(Source::Events, Resource::GrpcConnection, Side::Client, "dns:///localhost:50051"),
            series(Source::Profile, Resource::GrpcClient, Side::Client, ""),
            series(Source::Sockets, Resource::Socket, Side::Client, "127.0.0.1:5432"),
        ];
        let groups = join(&all);
        assert_eq!(groups.len(), 2, "{groups:?}");
        assert!(groups.contains(&("dns:///localhost:50051".to_owned(), 3)), "{groups:?}");
    }

    #[test]
    fn a_server_and_a_client_of_one_port_are_kept_apart() {
        let all = [
            series(Source::Events, Resource::GrpcConnection, Side::Server, "127.0.0.1:50051"),
            series(Source::Events, Resource::GrpcClient, Side::Client, "127.0.0.1:50051"),
            series(Source::Sockets, Resource::Socket, Side::Server, "127.0.0.1:50051"),
        ];
        assert_eq!(join(&all).len(), 2);
    }

    #[test]
    fn two_names_with_one_port_do_not_share_sockets() {
        let all = [
            series(Source::Events, Resource::GrpcClient, Side::Client, "orders.svc:443"),
            series(Source::Events, Resource::GrpcClient, Side::Client, "users.svc:443"),
            series(Source::Sockets, Resource::Socket, Side::Client, "10.0.0.7:443"),
        ];
        assert_eq!(join(&all).len(), 3);
    }

    #[test]
    fn goroutine_counts_stay_with_what_recovers_even_beside_others() {
        let mut all = [
            series(Source::Events, Resource::GrpcClient, Side::Client, "127.0.0.1:50051"),
            series(Source::Events, Resource::GrpcClient, Side::Client, "127.0.0.1:50052"),
            series(Source::Profile, Resource::GrpcClient, Side::Client, ""),
        ];
        all[0].machine.state = State::Recovering;
        all[2].machine.state = State::Recovering;
        let groups = join(&all);
        assert_eq!(groups, [("127.0.0.1:50051".to_owned(), 2), ("127.0.0.1:50052".to_owned(), 1)]);
    }

    #[test]
    fn goroutine_counts_alone_are_a_subject_of_the_whole_process() {
        let all = [
            series(Source::Profile, Resource::GrpcClient, Side::Client, ""),
            series(Source::Profile, Resource::GrpcStream, Side::Client, ""),
        ];
        assert_eq!(join(&all), vec![(String::new(), 2)]);
    }
}
