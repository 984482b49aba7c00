//! 46: certificates that are wrong, missing, expired and replaced, and handshakes that never come.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tempfile::TempDir;

use super::connections::closed;
use super::siege::Siege;
use super::{Bench, Case, Extra, Outcome, seconds};
use crate::agent::{Kind, now, wait_until};
use crate::oracle::Oracle;
use crate::ports::free_port;

pub(crate) const CASES: [Case; 1] = [Case {
    number: 46,
    name: "client without a certificate, of a wrong authority, expired; 200 handshakes that never come; a new certificate four times under load",
    settings: "client_ca_file, reload_interval 1 s; 4 clients on that port, each request with a handshake of its own",
    bar: "refused; closed within 10 s; each new one used without an error; at most 32 MiB more",
    run: certificates,
}];

/// Writes `NAME.ca`, an authority, and `NAME.pem` and `NAME.key`, a certificate of it for localhost.
pub(super) fn write(dir: &Path, name: &str, expired: bool) {
    let key = KeyPair::generate().expect("key");
    let mut authority = CertificateParams::new(Vec::new()).expect("params");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, format!("authority {name}"));
    let ca = authority.self_signed(&key).expect("signed").pem();
    sign(dir, name, &Issuer::new(authority, key), expired);
    fs::write(dir.join(format!("{name}.ca")), ca).expect("written");
}

fn sign(dir: &Path, name: &str, issuer: &Issuer<'_, KeyPair>, expired: bool) {
    let key = KeyPair::generate().expect("key");
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("params");
    params.distinguished_name.push(DnType::CommonName, format!("certificate {name}"));
    if expired {
        params.not_after = date_time_ymd(2020, 1, 1);
    }
    let pem = params.signed_by(&key, issuer).expect("signed").pem();
    fs::write(dir.join(format!("{name}.pem")), pem).expect("written");
    fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).expect("written");
}

/// Replaces a certificate. It and its key cannot be replaced in one step.
pub(super) fn replace(dir: &Path, from: &str, to: &str) {
    for kind in ["key", "pem"] {
        fs::copy(dir.join(format!("{from}.{kind}")), dir.join(format!("{to}.{kind}"))).expect("copied");
    }
}

/// Posts with curl, trusting the authority `ca`, as the client `client` if there is one. Whether it was taken.
fn post(dir: &Path, port: u16, ca: &str, client: Option<&str>, body: &[u8]) -> bool {
    let mut command = Command::new("curl");
    command.current_dir(dir).args(["-sf", "--max-time", "20", "--noproxy", "*", "-o", "/dev/null"]);
    command.args(["--resolve", &format!("localhost:{port}:127.0.0.1"), "--cacert", &format!("{ca}.ca")]);
    if let Some(name) = client {
        command.args(["--cert", &format!("{name}.pem"), "--key", &format!("{name}.key")]);
    }
    command.args(["-H", "Content-Type: application/x-protobuf", "--data-binary", "@-"]);
    command.arg(format!("https://localhost:{port}/v1/logs")).stdin(Stdio::piped()).stderr(Stdio::null());
    let mut curl = command.spawn().expect("curl runs");
    // It may have ended without reading all, which its status says.
    drop(curl.stdin.take().expect("a pipe").write_all(body));
    curl.wait().expect("curl ends").success()
}

/// The port with certificates, and who posts to it.
#[derive(Clone)]
pub(super) struct Secured {
    pub(super) oracle: Arc<Oracle>,
    pub(super) dir: PathBuf,
    pub(super) port: u16,
    pub(super) client: Option<&'static str>,
}

impl Secured {
    /// Posts a fresh record, trusting that authority.
    pub(super) fn post(&self, ca: &str) -> bool {
        self.post_as(self.client, ca)
    }

    fn post_as(&self, client: Option<&str>, ca: &str) -> bool {
        let (ids, body) = self.oracle.request(1, 10);
        let taken = post(&self.dir, self.port, ca, client, &body);
        if taken {
            self.oracle.acknowledge(&ids);
        }
        taken
    }

    /// Makes `both.ca`, which trusts these authorities.
    pub(super) fn trust(&self, names: [&str; 2]) {
        let both = names.map(|name| fs::read_to_string(self.dir.join(format!("{name}.ca"))).expect("read"));
        fs::write(self.dir.join("both.ca"), both.concat()).expect("written");
    }

    /// Replaces the certificate of `server` and waits until it is used; how many requests failed meanwhile.
    pub(super) fn change(&self, name: &str) -> Option<usize> {
        replace(&self.dir, name, "server");
        let mut errors = 0;
        wait_until(Duration::from_secs(30), || {
            let used = self.post(name);
            errors += usize::from(!used && !self.post("both"));
            used.then_some(())
        })?;
        Some(errors)
    }
}

/// Clients that post without a pause, trusting `both`.
struct Crowd {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<[usize; 2]>>,
}

impl Crowd {
    fn start(secured: &Secured, clients: usize) -> Crowd {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |_| {
            let (secured, stop) = (secured.clone(), Arc::clone(&stop));
            thread::spawn(move || {
                let mut heard = [0, 0];
                while !stop.load(Ordering::Relaxed) {
                    heard[usize::from(!secured.post("both"))] += 1;
                }
                heard
            })
        };
        Crowd { clients: (0..clients).map(client).collect(), stop }
    }

    /// How many of their requests were taken, and how many not.
    fn stop(self) -> [usize; 2] {
        self.stop.store(true, Ordering::Relaxed);
        let heard = self.clients.into_iter().map(|client| client.join().expect("a client ends"));
        heard.fold([0, 0], |sum, heard| [sum[0] + heard[0], sum[1] + heard[1]])
    }
}

fn certificates(kind: Kind) -> Outcome {
    let (dir, port) = (TempDir::new().expect("a folder"), free_port());
    let path = dir.path();
    for (name, expired) in
        [("old", false), ("new", false), ("client", false), ("other", false), ("expired", true)]
    {
        write(path, name, expired);
    }
    replace(path, "old", "server");
    let pems =
        ["client", "expired"].map(|name| fs::read_to_string(path.join(format!("{name}.ca"))).expect("read"));
    fs::write(path.join("clients"), pems.concat()).expect("written");
    let (mut outcome, siege) = Siege::around(Bench::edited(kind, true, Extra::default(), |yaml, _| {
        let secured = format!(
            "receivers:\n  otlp/tls: {{protocols: {{http: {{endpoint: \"127.0.0.1:{port}\", tls: {{cert_file: {0}/server.pem, \
             key_file: {0}/server.key, client_ca_file: {0}/clients, reload_interval: 1s}}}}}}}}\n",
            path.display()
        );
        yaml.replace("receivers:\n", &secured).replace("receivers: [otlp]", "receivers: [otlp, otlp/tls]")
    }));
    let (oracle, dir) = (Arc::clone(&siege.bench.oracle), path.to_owned());
    let secured = Secured { oracle, dir, port, client: Some("client") };
    secured.trust(["old", "new"]);
    outcome.fired &= secured.post("old");
    for (client, what) in
        [(None, "no certificate"), (Some("other"), "a wrong authority"), (Some("expired"), "an expired one")]
    {
        outcome.require(!secured.post_as(client, "old"), format!("a client with {what} is served"));
    }
    outcome.require(!secured.post("other"), "curl trusts a wrong authority");
    stalled(&mut outcome, port);
    let crowd = Crowd::start(&secured, 4);
    let changes = ["new", "old", "new", "old"].map(|name| secured.change(name));
    let [taken, missed] = crowd.stop();
    let errors = missed + changes.iter().flatten().sum::<usize>();
    outcome.fired &= taken >= 100;
    outcome.see(format!("{errors} errors while certificates changed, {taken} requests of the load taken"));
    // An agent that is caught between key and certificate refuses nobody.
    let used = changes.iter().all(Option::is_some);
    outcome.require(used && errors == 0, "a new certificate is not used, or not without errors");
    siege.end(outcome, 32)
}

/// Connections on which nothing is said.
const STALLED: usize = 200;

fn stalled(outcome: &mut Outcome, port: u16) {
    let mut streams: Vec<_> =
        (0..STALLED).filter_map(|_| TcpStream::connect(("127.0.0.1", port)).ok()).collect();
    let begun = now();
    let all = wait_until(Duration::from_secs(30), || {
        (closed(&mut streams) == streams.len()).then(|| now() - begun)
    });
    outcome.see(match all {
        Some(time) => format!("handshakes closed after {}", seconds(time)),
        None => format!("{} of {STALLED} handshakes closed after 30 s", closed(&mut streams)),
    });
    outcome.fired &= streams.len() == STALLED;
    outcome.require(all.is_some(), "stalled handshakes are kept");
    outcome.measure(all.is_none_or(|t| t <= Duration::from_secs(10)), "stalled handshakes are kept too long");
}
