//! 46: certificates that are wrong, missing, expired and replaced, and handshakes that never come.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tempfile::TempDir;

use super::connections::closed;
use super::siege::Siege;
use super::{Bench, Case, Extra, Outcome, seconds};
use crate::agent::{Kind, now, wait_until};
use crate::ports::free_port;

pub(crate) const CASES: [Case; 1] = [Case {
    number: 46,
    name: "client without a certificate, of a wrong authority, expired; 200 handshakes that never come; a new certificate",
    settings: "client_ca_file, reload_interval 1 s",
    bar: "refused; closed within 10 s; the new one used without an error; at most 32 MiB more",
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
pub(super) fn post(dir: &Path, port: u16, ca: &str, client: Option<&str>, body: &[u8]) -> bool {
    fs::write(dir.join("body"), body).expect("written");
    let mut command = Command::new("curl");
    command.current_dir(dir).args(["-sf", "--max-time", "20", "--noproxy", "*", "-o", "/dev/null"]);
    command.args(["--resolve", &format!("localhost:{port}:127.0.0.1"), "--cacert", &format!("{ca}.ca")]);
    if let Some(name) = client {
        command.args(["--cert", &format!("{name}.pem"), "--key", &format!("{name}.key")]);
    }
    command.args(["-H", "Content-Type: application/x-protobuf", "--data-binary", "@body"]);
    command.arg(format!("https://localhost:{port}/v1/logs")).stdin(Stdio::null()).stderr(Stdio::null());
    command.status().expect("curl runs").success()
}

fn certificates(kind: Kind) -> Outcome {
    let (dir, port) = (TempDir::new().expect("a folder"), free_port());
    let path = dir.path();
    for (name, expired) in
        [("server", false), ("client", false), ("other", false), ("expired", true), ("new", false)]
    {
        write(path, name, expired);
    }
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
    let bench = &siege.bench;
    let send = |ca: &str, client: Option<&str>| {
        let (ids, body) = bench.oracle.request(1, 10);
        let taken = post(path, port, ca, client, &body);
        if taken {
            bench.oracle.acknowledge(&ids);
        }
        taken
    };
    outcome.fired &= send("server", Some("client"));
    for (client, what) in
        [(None, "no certificate"), (Some("other"), "a wrong authority"), (Some("expired"), "an expired one")]
    {
        outcome.require(!send("server", client), format!("a client with {what} is served"));
    }
    outcome.require(!send("other", Some("client")), "curl trusts a wrong authority");
    stalled(&mut outcome, port);
    replace(path, "new", "server");
    let mut errors = 0;
    let new = wait_until(Duration::from_secs(20), || {
        let new = send("new", Some("client"));
        errors += usize::from(!new && !send("server", Some("client")));
        new.then_some(())
    });
    outcome.see(format!("{errors} errors while the certificate changed"));
    // An agent that is caught between key and certificate refuses nobody.
    outcome.require(new.is_some() && errors == 0, "the new certificate is not used, or not without errors");
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
