//! Counts goroutines by what they are: an exact census of what a service holds open, from one ordinary scrape.

mod anchors;
mod classify;
mod counts;
mod kind;
mod stacks;

use std::collections::HashMap;

pub use anchors::{ANCHORS, Anchor, LIBRARIES, Place, State};
pub(crate) use classify::Classes;
pub use counts::Counts;
pub use kind::{Kind, Resource};
pub use stacks::{Behind, StackCount, stacks_behind};

use crate::{SITE_LABEL, TARGET_LABEL, View};

/// Goroutines of a process by kind, in total and by label.
#[derive(Debug, Clone, Default)]
pub struct Census<'a> {
    /// The whole process.
    pub total: Counts,
    /// By pair of the labels `weir.site` and `weir.target`, goroutines without either included; largest first.
    pub groups: Vec<Group<'a>>,
    /// Goroutines whose labels exceeded the limit of groups.
    pub beyond_limit: Counts,
    /// Goroutines of client libraries by the library's name, largest first.
    pub libraries: Vec<(&'static str, i64)>,
}

/// Goroutines that share both labels.
#[derive(Debug, Clone, Copy)]
pub struct Group<'a> {
    /// Label `weir.site`.
    pub site: Option<&'a str>,
    /// Label `weir.target`.
    pub target: Option<&'a str>,
    /// Their number by kind.
    pub counts: Counts,
}

impl<'a> Census<'a> {
    /// Groups kept by default.
    pub const DEFAULT_GROUPS: usize = 1024;

    /// Takes the census of a goroutine profile, or of its growth. `max_groups` bounds [`Census::groups`]; what comes
    /// beyond, in the order of the profile, goes into [`Census::beyond_limit`].
    pub fn take(view: View<'a>, max_groups: usize) -> Self {
        let profile = view.profile();
        let value = goroutine_value(view);
        let classes = Classes::of(profile);
        let mut census = Self::default();
        let mut group_of_labels: HashMap<u32, Option<usize>> = HashMap::new();
        let mut group_of_pair: HashMap<[Option<u32>; 2], usize> = HashMap::new();
        let mut libraries: HashMap<&'static str, i64> = HashMap::new();
        for sample in view.samples() {
            let count = sample.value(value);
            let class = classes.get(sample.stack());
            census.total.add(class.kind, count);
            if let Some(&(name, _)) = class.library.and_then(|library| LIBRARIES.get(library)) {
                add(libraries.entry(name).or_default(), count);
            }
            let group = *group_of_labels.entry(sample.row.labels).or_insert_with(|| {
                let pair =
                    [SITE_LABEL, TARGET_LABEL].map(|key| profile.label_text_id(sample.row.labels, key));
                match group_of_pair.get(&pair) {
                    Some(&group) => Some(group),
                    None if census.groups.len() >= max_groups => None,
                    None => {
                        let [site, target] = pair.map(|id| id.map(|id| profile.strings.get(id)));
                        census.groups.push(Group { site, target, counts: Counts::default() });
                        group_of_pair.insert(pair, census.groups.len() - 1);
                        Some(census.groups.len() - 1)
                    }
                }
            });
            match group.and_then(|group| census.groups.get_mut(group)) {
                Some(group) => group.counts.add(class.kind, count),
                None => census.beyond_limit.add(class.kind, count),
            }
        }
        census
            .groups
            .sort_by_key(|group| (std::cmp::Reverse(group.counts.total()), group.site, group.target));
        census.libraries = libraries.into_iter().collect();
        census.libraries.sort_by_key(|&(name, count)| (std::cmp::Reverse(count), name));
        census
    }

    /// Counts by `weir.site` alone, goroutines without it left out; largest first.
    pub fn by_site(&self) -> Vec<(&'a str, Counts)> {
        self.by(|group| group.site)
    }

    /// Counts by `weir.target` alone, goroutines without it left out; largest first.
    pub fn by_target(&self) -> Vec<(&'a str, Counts)> {
        self.by(|group| group.target)
    }

    fn by(&self, key: impl Fn(&Group<'a>) -> Option<&'a str>) -> Vec<(&'a str, Counts)> {
        let mut sums: HashMap<&'a str, Counts> = HashMap::new();
        for group in &self.groups {
            if let Some(key) = key(group) {
                *sums.entry(key).or_default() += &group.counts;
            }
        }
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_by_key(|(key, counts)| (std::cmp::Reverse(counts.total()), *key));
        sums
    }
}

/// Adds without overflow: a profile may claim any number.
pub(crate) fn add(sum: &mut i64, value: i64) {
    *sum = sum.saturating_add(value);
}

/// The place of the value that counts goroutines.
pub(crate) fn goroutine_value(view: View<'_>) -> usize {
    view.profile().type_index("goroutine").unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Profile;
    use crate::testdata::{Writer, expected, recorded, site};

    /// Kinds and counts of a recorded profile, without `other`.
    fn kinds(profile: &Profile) -> Vec<(Kind, i64)> {
        let census = Census::take(profile.view(), 100);
        census.total.iter().filter(|(kind, _)| *kind != Kind::Other).collect()
    }

    #[test]
    fn grpc_clients_connections_and_streams_are_counted_exactly() {
        let profile = recorded("grpc-2.goroutine");
        let counted = [
            (Kind::GrpcSerializer, 165),
            (Kind::GrpcReader, 55),
            (Kind::GrpcWriter, 55),
            (Kind::GrpcStream, 7),
            (Kind::GrpcServerReader, 55),
            (Kind::GrpcServerWriter, 55),
            (Kind::GrpcServerKeepalive, 55),
            (Kind::GrpcServerCall, 7),
            (Kind::Library, 1), // Server.Serve
        ];
        assert_eq!(kinds(&profile), counted);
        let census = Census::take(profile.view(), 100);
        let total = census.total;
        assert_eq!((total.grpc_clients(), total.grpc_connections(), total.grpc_streams()), (55, 55, 7));
        assert_eq!(total.resource(Resource::GrpcServerConnection), 55);
        assert_eq!((census.libraries, total.total()), (vec![("grpc", 1)], 456));
    }

    #[test]
    fn grpc_goroutines_are_counted_by_site_and_target() {
        let profile = recorded("grpc-2.goroutine");
        let census = Census::take(profile.view(), 100);
        let clients: Vec<_> =
            census.by_site().iter().map(|(site, c)| (*site, c.grpc_clients(), c.total())).collect();
        let (orders, stock) = (site("orders"), site("stock"));
        assert_eq!(clients, [(orders.as_str(), 40, 200), (stock.as_str(), 10, 50)]);
        let target = expected("grpc", "target");
        let targets: Vec<_> =
            census.by_target().iter().map(|(target, c)| (*target, c.grpc_connections())).collect();
        assert_eq!(targets, [(target.as_str(), 50)]);
        assert_eq!(census.groups.len(), 3);
        let limited = Census::take(profile.view(), 1);
        assert_eq!(
            (limited.groups.len(), limited.beyond_limit.total()),
            (1, 456 - limited.groups[0].counts.total())
        );
        assert_eq!(limited.total, census.total);
    }

    #[test]
    fn names_of_grpc_1_60_are_known_too() {
        let counted = [
            (Kind::GrpcSerializer, 60),
            (Kind::GrpcReader, 20),
            (Kind::GrpcWriter, 20),
            (Kind::GrpcStream, 3),
            (Kind::GrpcServerReader, 20),
            (Kind::GrpcServerWriter, 20),
            (Kind::GrpcServerKeepalive, 20),
            (Kind::GrpcServerCall, 3),
            (Kind::Library, 1),
        ];
        assert_eq!(kinds(&recorded("grpc160.goroutine")), counted);
    }

    #[test]
    fn clients_without_a_connection_are_seen_by_their_serializers() {
        let serializers = [(Kind::GrpcSerializer, 54), (Kind::Library, 1)];
        assert_eq!(kinds(&recorded("idle.goroutine")), serializers);
        assert_eq!(kinds(&recorded("unused.goroutine")), [(Kind::GrpcSerializer, 45)]);
        assert_eq!(
            kinds(&recorded("refused.goroutine")),
            [(Kind::GrpcSerializer, 18), (Kind::GrpcConnecting, 6)]
        );
    }

    #[test]
    fn unread_bodies_are_told_from_idle_connections_and_from_those_in_use() {
        let profile = recorded("http.goroutine");
        let counted = [
            (Kind::HttpReaderInSelect, 11),
            (Kind::HttpReaderOnNetwork, 7),
            (Kind::HttpWriter, 18),
            (Kind::HttpCallWaiting, 1),
            (Kind::HttpBodyReading, 2),
            (Kind::HttpServerConnection, 18),
            (Kind::HttpServerBackgroundRead, 12),
        ];
        assert_eq!(kinds(&profile), counted);
        let total = Census::take(profile.view(), 100).total;
        assert_eq!(
            (total.http_connections(), total.http_bodies_unread(), total.http_connections_idle()),
            (18, 9, 6)
        );
    }

    #[test]
    fn sql_and_raw_connections_are_counted() {
        let sql =
            [(Kind::SqlTransaction, 4), (Kind::SqlRows, 3), (Kind::SqlWaiting, 5), (Kind::SqlDatabase, 1)];
        assert_eq!(kinds(&recorded("sql.goroutine")), sql);
        assert_eq!(kinds(&recorded("raw.goroutine")), [(Kind::RawReader, 7)]);
    }

    #[test]
    fn library_goroutines_belong_to_the_library_that_started_them() {
        let mut writer = Writer::new(&[("goroutine", "count")]);
        let read = writer.function("net.(*conn).Read", "net.go", 1);
        let wait = writer.function("runtime.netpollblock", "netpoll.go", 1);
        let nats = writer.function("github.com/nats-io/nats%2ego.(*Conn).readLoop", "nats.go", 1);
        let redis =
            writer.function("github.com/redis/go-redis/v9.(*PubSub).getNewPubSubCh.func1", "pubsub.go", 1);
        let user = writer.function("main.worker", "main.go", 1);
        writer.sample(&[wait, read, nats], &[3], &[]);
        writer.sample(&[wait, read, redis], &[2], &[]);
        writer.sample(&[wait, read, redis, user], &[1], &[]);
        let profile = writer.profile();
        let census = Census::take(profile.view(), 100);
        assert_eq!(census.libraries, [("nats", 3), ("go-redis", 2)]);
        assert_eq!(census.total[Kind::RawReader], 1);
    }

    #[test]
    fn stacks_behind_a_kind_or_a_label_are_printed_with_their_lines() {
        let profile = recorded("http.goroutine");
        let unread = Behind { kind: Some(Kind::HttpReaderInSelect), ..Behind::default() };
        let stacks = stacks_behind(profile.view(), unread, 5);
        assert_eq!((stacks.len(), stacks[0].count, stacks[0].frames.len()), (1, 11, 3));
        assert!(stacks[0].frames[2].starts_with("net/http.(*persistConn).readLoop net/http/transport.go:"));

        let profile = recorded("grpc-2.goroutine");
        let stock = site("stock");
        let labelled = Behind { site: Some(&stock), ..Behind::default() };
        let stacks = stacks_behind(profile.view(), labelled, 2);
        assert_eq!(stacks.iter().map(|stack| stack.count).collect::<Vec<_>>(), [30, 10]);
        let nobody = Behind { kind: Some(Kind::GrpcStream), ..labelled };
        assert!(stacks_behind(profile.view(), nobody, 5).is_empty());
    }
}
