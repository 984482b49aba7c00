//! Where the secrets are, and mistakes beside them.

use std::fs;
use std::path::Path;

use crate::agent::Kind;
use crate::cases::{Bench, tls};
use crate::ports::{closed_port, free_port};

/// A word that stands in every secret place.
pub(super) const CANARY: &str = "c4n4ry5ecret";

/// Users and passwords, of the configuration and of a caller: what joins them in a header must not be read either.
const PAIRS: [(&str, &str); 4] =
    [("user", CANARY), ("stranger", CANARY), ("user", CARETED), ("user", "c4n4ry5ecret blank")];

/// A password that has to be escaped in a URL, and is not.
const CARETED: &str = "^c4n4ry5ecret";

/// Exporters with a secret each.
pub(super) const EXPORTERS: [&str; 6] =
    ["otlp_http", "otlp_http/signed", "otlp_http/token", "otlp_http/set", "otlp_http/proxied", "otlp_grpc"];

/// Ports of an agent.
pub(super) struct Ports {
    pub(super) own: u16,
    pub(super) pages: u16,
    /// Of receivers that ask for a password or a token.
    pub(super) guarded: [u16; 3],
    /// The same over gRPC.
    pub(super) guarded_grpc: [u16; 3],
    tls: u16,
}

impl Ports {
    pub(super) fn free() -> Ports {
        Ports {
            own: free_port(),
            pages: free_port(),
            guarded: [(); 3].map(|()| free_port()),
            guarded_grpc: [(); 3].map(|()| free_port()),
            tls: free_port(),
        }
    }

    /// Gives a configuration other ports than those of the running agent, which would be the first error of another one.
    pub(super) fn elsewhere(&self, bench: &Bench) -> impl Fn(&str) -> String + use<> {
        let Ports { own, pages, guarded, guarded_grpc, tls } = self;
        let taken =
            [*own, *pages, *tls, bench.http, bench.grpc].into_iter().chain(*guarded).chain(*guarded_grpc);
        let others: Vec<_> = taken.map(|port| (port, free_port())).collect();
        move |yaml| {
            others.iter().fold(yaml.to_owned(), |yaml, (port, other)| {
                yaml.replace(&format!("127.0.0.1:{port}\""), &format!("127.0.0.1:{other}\""))
                    .replace(&format!(", port: {port}}}"), &format!(", port: {other}}}"))
            })
        }
    }
}

/// What nobody may read: the word, what a header makes of it, and pieces of the key.
pub(super) fn words(folder: &Path) -> Vec<String> {
    let mut words = vec![CANARY.to_owned()];
    words.extend(PAIRS.iter().map(|(user, password)| base64(&format!("{user}:{password}"))));
    let key = fs::read_to_string(folder.join("server.key")).expect("a key");
    let lines = key.lines().filter(|line| !line.starts_with("---"));
    // Some errors show no more than a piece.
    words.extend(lines.flat_map(|line| line.as_bytes().chunks_exact(16)).map(|piece| text(piece.to_vec())));
    words
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("ASCII")
}

/// Base64 (RFC 4648) without its padding.
pub(super) fn base64(plain: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = plain.as_bytes().chunks(3).flat_map(|part| {
        let bits =
            part.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - part.len()));
        (0..=part.len()).map(move |n| DIGITS[bits >> (18 - 6 * n) & 63])
    });
    text(digits.collect())
}

/// Writes what is secret into files, and the usual configuration with secrets wherever there may be some. Something listens
/// on `receiver`, and nothing on the other ports that are sent to.
pub(super) fn with_secrets(
    yaml: &str,
    kind: Kind,
    backend: u16,
    receiver: u16,
    ports: &Ports,
    folder: &Path,
) -> String {
    let closed = closed_port();
    let url = format!("http://127.0.0.1:{closed}");
    let headers = format!("    headers: {{authorization: \"Bearer {CANARY}\"}}\n    compression: none\n");
    let exporters = format!(
        "exporters:\n  otlp_http/signed: {{endpoint: \"{url}\", auth: {{authenticator: basicauth/out}}}}\n  \
         otlp_http/token: {{endpoint: \"{url}\", auth: {{authenticator: bearertokenauth/file}}}}\n  \
         otlp_http/set: {{endpoint: \"{url}\", auth: {{authenticator: headers_setter}}}}\n  \
         otlp_http/proxied: {{endpoint: \"http://elsewhere.invalid\", proxy_url: \"http://user:{CANARY}@127.0.0.1:{closed}\"}}\n  \
         otlp_grpc: {{endpoint: \"127.0.0.1:{closed}\", tls: {{insecure: true}}, headers: {{x-key: {CANARY}}}}}\n"
    );
    let running = "service:\n  extensions: [zpages, bearertokenauth, bearertokenauth/list, bearertokenauth/file, basicauth/in, \
                   basicauth/file, basicauth/out, headers_setter]\n";
    let (scraped, pipeline) = match kind {
        Kind::Weir => {
            (scraped(closed, receiver), "    metrics: {receivers: [pprof], exporters: [otlp_grpc]}\n")
        }
        // It has none.
        Kind::Collector => (String::new(), ""),
    };
    let sections = extensions(ports.pages, folder) + &receivers(ports, folder) + &scraped;
    yaml.replace(
        &format!("\"http://127.0.0.1:{backend}\""),
        &format!("\"http://user:{CANARY}@127.0.0.1:{closed}/?token={CANARY}\""),
    )
    .replace("    compression: none\n", &headers)
    .replace("exporters: [otlp_http]", &format!("exporters: [{}]", EXPORTERS.join(", ")))
    .replace("exporters:\n", &exporters)
    .replace("receivers: [otlp]", "receivers: [otlp, otlp/in, otlp/file, otlp/list, otlp/tls]")
    .replace("receivers:\n", &sections)
    .replace("service:\n", running)
    .replace("metrics: {level: none}", &telemetry(ports.own, closed, receiver))
    .replace("  pipelines:\n", &format!("  pipelines:\n{pipeline}"))
}

/// Own logs, metrics and traces, the last two pushed to somebody and to nobody.
fn telemetry(own: u16, closed: u16, receiver: u16) -> String {
    let pushed = |protocol: &str, port: u16| {
        format!(
            "{{otlp: {{protocol: {protocol}, endpoint: \"http://user:{CANARY}@127.0.0.1:{port}\", insecure: true, headers: [{{name: \
             authorization, value: {CANARY}}}], headers_list: \"x-key={CANARY}\"}}}}"
        )
    };
    let ways = [("http/protobuf", closed), ("http/protobuf", receiver), ("grpc", closed)]
        .map(|(protocol, port)| pushed(protocol, port));
    let batches =
        ways.each_ref().map(|way| format!("{{batch: {{schedule_delay: 200, exporter: {way}}}}}")).join(", ");
    let readers =
        ways.each_ref().map(|way| format!("{{periodic: {{interval: 200, exporter: {way}}}}}")).join(", ");
    format!(
        "logs: {{level: debug, sampling: {{enabled: false}}}}, traces: {{processors: [{batches}]}}, metrics: {{readers: [{readers}, {{pull: {{exporter: \
         {{prometheus: {{host: 127.0.0.1, port: {own}}}}}}}}}]}}"
    )
}

/// The section `extensions`, and the files that it names.
fn extensions(pages: u16, folder: &Path) -> String {
    fs::write(folder.join("token"), CANARY).expect("written");
    fs::write(folder.join("htpasswd"), format!("user:{CANARY}\n")).expect("written");
    let folder = folder.display();
    format!(
        "extensions:\n  zpages: {{endpoint: \"127.0.0.1:{pages}\"}}\n  bearertokenauth: {{token: {CANARY}}}\n  \
         bearertokenauth/list: {{tokens: [\"{CANARY}-1\", \"{CANARY}-2\"]}}\n  bearertokenauth/file: {{filename: \"{folder}/token\"}}\n  \
         basicauth/in: {{htpasswd: {{inline: \"user:{CANARY}\"}}}}\n  basicauth/file: {{htpasswd: {{file: \"{folder}/htpasswd\"}}}}\n  \
         basicauth/out: {{client_auth: {{username: user, password: {CANARY}}}}}\n  \
         headers_setter: {{headers: [{{action: upsert, key: x-key, value: {CANARY}}}]}}\n"
    )
}

/// The beginning of the section `receivers`: those that ask who it is, and one with its key in the configuration.
fn receivers(ports: &Ports, folder: &Path) -> String {
    let mut section = "receivers:\n".to_owned();
    let guards = ["basicauth/in", "basicauth/file", "bearertokenauth/list"];
    let names = ["in", "file", "list"].iter().zip(guards);
    for ((name, guard), (http, grpc)) in names.zip(ports.guarded.iter().zip(ports.guarded_grpc)) {
        let [http, grpc] = [*http, grpc]
            .map(|port| format!("{{endpoint: \"127.0.0.1:{port}\", auth: {{authenticator: {guard}}}}}"));
        section += &format!("  otlp/{name}: {{protocols: {{http: {http}, grpc: {grpc}}}}}\n");
    }
    tls::write(folder, "server", false);
    let (certificate, key) = (pem(folder, "server.pem"), pem(folder, "server.key"));
    // Whoever reads a key passes over what stands before it.
    section
        + &format!(
            "  otlp/tls: {{protocols: {{http: {{endpoint: \"127.0.0.1:{}\", tls: {{cert_pem: \"{certificate}\", key_pem: \
         \"{CANARY}\\n{key}\"}}}}}}}}\n",
            ports.tls
        )
}

/// The text of a file in one line of YAML.
fn pem(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).expect("written").replace('\n', "\\n")
}

/// A receiver that scrapes somebody and nobody.
fn scraped(closed: u16, receiver: u16) -> String {
    let targets = [closed, receiver].map(|port| {
        format!("{{endpoint: \"http://user:{CANARY}@127.0.0.1:{port}\", headers: {{x-key: {CANARY}}}}}")
    });
    format!("  pprof: {{initial_delay: 0s, targets: [{}]}}\n", targets.join(", "))
}

/// Before line and column of a mistake.
pub(super) const PLACE: &str = "agent.yaml:";

/// A mistake on the very line of a secret.
pub(super) struct Mistake {
    pub(super) what: &'static str,
    pub(super) wrong: String,
    /// What its error has to name: the option or its place.
    pub(super) names: &'static str,
    /// The commands that refuse it; none is the start.
    pub(super) refused_by: &'static [&'static str],
}

pub(super) fn mistakes(right: &str, folder: &Path) -> Vec<Mistake> {
    let beside = format!(
        "otlp_http/signed: {{compresion: gzip, logs_endpoint: \"http://user:{CANARY}@127.0.0.1:1/?token={CANARY}\", "
    );
    let headers = [
        format!("headers: {{authorization: \"Bearer {CANARY}\"}}"),
        format!("headers: \"authorization: Bearer {CANARY}\""),
    ];
    let wrong = |what, from: &str, to: &str| {
        let wrong = right.replacen(from, to, 1);
        assert_ne!(wrong, right, "{what}");
        Mistake { what, wrong, names: PLACE, refused_by: &["validate", ""] }
    };
    let mut all = vec![
        wrong("an error beside a header", "authorization:", "wrong: [1, 2], authorization:"),
        wrong("an error about a URL", "    endpoint: \"http://user:", "    endpoit: \"http://user:"),
        wrong("an error beside a URL", "otlp_http/signed: {", &beside),
        wrong(
            "an unknown key",
            "    compression: none\n",
            &format!("    compression: none\n    tokn: {CANARY}\n"),
        ),
        wrong("headers as text", &headers[0], &headers[1]),
        wrong("an error beside a key", "tls: {cert_pem:", "tls: {certpem: none, cert_pem:"),
        wrong(
            "tokens as a mapping",
            &format!("[\"{CANARY}-1\", \"{CANARY}-2\"]"),
            &format!("{{a: {CANARY}}}"),
        ),
        wrong("an error about a proxy", "proxy_url:", "proxy_ulr:"),
        wrong("an error beside what is set", "{action: upsert, key: x-key", "{action: upsert, keyy: x-key"),
    ];
    let only_at_start = [
        wrong("a key instead of the path of a receiver", "key_pem:", "key_file:"),
        wrong(
            "a password with ^ of an exporter",
            "    endpoint: \"http://user:",
            "    endpoint: \"http://user:^",
        ),
    ];
    all.extend(only_at_start.map(|mistake| Mistake { refused_by: &[""], ..mistake }));
    all.extend(mistakes_of_telemetry(right, folder));
    all
}

/// What only the start finds: an endpoint that is no URL, and a key where its path should be.
fn mistakes_of_telemetry(right: &str, folder: &Path) -> impl Iterator<Item = Mistake> {
    let (endpoint, key) = (format!("endpoint: \"http://user:{CANARY}@"), pem(folder, "server.key"));
    let secure = format!("endpoint: \"https://user:{CANARY}@");
    let client = folder.join("server.pem");
    let wrong = [
        ("a password with ^", "endpoint", format!("endpoint: \"http://user:{CARETED}@")),
        ("a password with a blank", "endpoint", format!("endpoint: \"http://user:{CANARY} blank@")),
        ("a key as a certificate", "certificate", format!("certificate: \"{key}\", {secure}")),
        (
            "a key instead of its path",
            "client_key",
            format!("client_certificate: \"{}\", client_key: \"{key}\", {secure}", client.display()),
        ),
    ];
    wrong.into_iter().flat_map(move |(what, names, with)| {
        ["traces: {processors", "metrics: {readers"].map(|section| {
            let (before, after) = right.split_once(section).expect("own telemetry");
            let changed = after.replacen(&endpoint, &with, 1);
            assert_ne!(changed, after, "{what}");
            Mistake { what, wrong: format!("{before}{section}{changed}"), names, refused_by: &[""] }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_that_of_a_header() {
        let encoded = ["Aladdin:open sesame", "user:a", "user:ab", "user:abc"].map(base64);
        assert_eq!(encoded, ["QWxhZGRpbjpvcGVuIHNlc2FtZQ", "dXNlcjph", "dXNlcjphYg", "dXNlcjphYmM"]);
    }
}
