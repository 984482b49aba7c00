use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::*;

/// A server that takes connections and holds them until it is dropped.
async fn server() -> (Target, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let target = Target::parse(&listener.local_addr().expect("address").to_string()).expect("a target");
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (client, _) = listener.accept().await.expect("accepted");
            connections.spawn(async move {
                let mut connection = h2::server::handshake(client).await.expect("a handshake");
                while connection.accept().await.is_some() {}
            });
        }
    });
    (target, task)
}

fn balancer(targets: &[&Target]) -> Balancer {
    let settings = GrpcSettings::new(targets[0].clone());
    let balancer = Balancer::new(&settings, None);
    balancer.shared.state().set(targets.iter().map(|target| (*target).clone()).collect());
    balancer
}

/// The addresses to which the next calls go, once there is a connection to each.
async fn turns(balancer: &Balancer, lines: usize, calls: usize) -> Vec<Target> {
    let connected = || balancer.shared.state().lines.iter().filter(|line| line.channel.is_some()).count();
    loop {
        balancer.pick().await.expect("a connection");
        if connected() == lines {
            break;
        }
        tokio::task::yield_now().await;
    }
    let mut turns = Vec::new();
    for _ in 0..calls {
        let channel = balancer.pick().await.expect("a connection");
        let state = balancer.shared.state();
        let own = |line: &&Line| line.channel.as_ref().is_some_and(|own| Arc::ptr_eq(own, &channel));
        turns.push(state.lines.iter().find(own).expect("its line").target.clone());
    }
    turns
}

#[tokio::test]
async fn calls_go_to_all_addresses_in_turn() {
    let ((a, _one), (b, _two), (c, _three)) = (server().await, server().await, server().await);
    let turns = turns(&balancer(&[&a, &b, &c]), 3, 6).await;
    assert_eq!(turns[..3], turns[3..]);
    assert!([&a, &b, &c].iter().all(|target| turns.contains(target)), "{turns:?}");
}

#[tokio::test]
async fn an_address_that_is_dead_gets_no_calls_and_holds_none_up() {
    let ((a, _one), (b, two)) = (server().await, server().await);
    drop(two);
    // Its port is closed when its task has ended.
    while connect::connect(&b, None).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert_eq!(turns(&balancer(&[&b, &a]), 1, 3).await, [a.clone(), a.clone(), a]);
}

/// Takes connections and says nothing; says when a client has greeted it.
async fn silent() -> (Target, Arc<Notify>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let target = Target::parse(&listener.local_addr().expect("address").to_string()).expect("a target");
    let greeted = Arc::new(Notify::new());
    let heard = Arc::clone(&greeted);
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut held = Vec::new();
        loop {
            let (mut client, _) = listener.accept().await.expect("accepted");
            client.read_exact(&mut [0; 24]).await.expect("a greeting");
            greeted.notify_one();
            held.push(client);
        }
    });
    (target, heard, task)
}

#[tokio::test]
async fn what_takes_connections_and_says_nothing_is_not_connected_and_gets_no_calls() {
    let ((a, _one), (b, greeted, _two)) = (server().await, silent().await);
    let balancer = balancer(&[&b, &a]);
    drop(balancer.pick().await.expect("a connection"));
    greeted.notified().await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let is_connected = |line: &Line| (line.target == b, line.channel.is_some());
    let lines: Vec<_> = balancer.shared.state().lines.iter().map(is_connected).collect();
    assert_eq!(lines, [(true, false), (false, true)]);
    assert_eq!(turns(&balancer, 1, 3).await, [a.clone(), a.clone(), a]);
}

#[tokio::test]
async fn connections_to_addresses_that_stay_are_kept_when_the_name_gets_others() {
    let ((a, _one), (b, _two), (c, _three)) = (server().await, server().await, server().await);
    let balancer = balancer(&[&a, &b]);
    turns(&balancer, 2, 1).await;
    let of_b = balancer.shared.state().lines[1].channel.clone().expect("connected");
    balancer.shared.state().set(vec![b.clone(), c.clone()]);
    let after = turns(&balancer, 2, 4).await;
    assert!(after.contains(&b) && after.contains(&c) && !after.contains(&a), "{after:?}");
    let kept = balancer.shared.state().lines[0].channel.clone().expect("connected");
    assert!(Arc::ptr_eq(&of_b, &kept));
}

#[tokio::test]
async fn the_name_is_asked_for_again_after_a_loss_but_not_at_once() {
    let (target, _server) = server().await;
    let text = target.to_string();
    let port = text.rsplit(':').next().expect("a port").parse().expect("a number");
    let settings = GrpcSettings::new(Target::Tcp("localhost".to_owned(), port));
    let balancer = Balancer::new(&settings, None);
    let channel = balancer.pick().await.expect("a connection");
    balancer.forget(&channel);
    {
        let mut state = balancer.shared.state();
        assert!(state.lookup.wanted && !state.lookup.is_due(false));
        state.lookup.last = now().checked_sub(BETWEEN_QUESTIONS);
        assert!(state.lookup.is_due(false));
    }
    balancer.pick().await.expect("a connection");
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_the_error() {
    let settings = GrpcSettings::new(Target::Tcp("backend.invalid".to_owned(), 4317));
    let failure = Balancer::new(&settings, None).pick().await.err().expect("no connection");
    assert!(failure.is_retryable() && failure.message().contains("lookup backend.invalid"), "{failure}");
}
