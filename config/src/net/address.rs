//! Where to listen or connect.

use serde::{Deserialize, Serialize};

use crate::{GoDuration, Issues, Validate};

/// The kind of socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename = "unsupported transport type %q", rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum TransportType {
    #[default]
    Tcp,
    Tcp4,
    Tcp6,
    Udp,
    Udp4,
    Udp6,
    Ip,
    Ip4,
    Ip6,
    Unix,
    Unixgram,
    Unixpacket,
    Npipe,
    /// Written as the empty string; not valid anywhere.
    #[serde(rename = "")]
    Unset,
}

impl TransportType {
    /// As written in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tcp4 => "tcp4",
            Self::Tcp6 => "tcp6",
            Self::Udp => "udp",
            Self::Udp4 => "udp4",
            Self::Udp6 => "udp6",
            Self::Ip => "ip",
            Self::Ip4 => "ip4",
            Self::Ip6 => "ip6",
            Self::Unix => "unix",
            Self::Unixgram => "unixgram",
            Self::Unixpacket => "unixpacket",
            Self::Npipe => "npipe",
            Self::Unset => "",
        }
    }
}

/// An address with its kind of socket. Its options stand among those of the server that uses it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetAddress {
    /// Where to listen: `host:port`, or a path for `unix`. No default of its own; `localhost` is reached only from this
    /// machine, `0.0.0.0`, `[::]` or no host from everywhere by IPv4 and IPv6.
    pub endpoint: String,
    /// The kind of socket, `tcp` by default. Servers take `tcp`, `tcp4` (IPv4 alone), `tcp6` (IPv6 alone) and `unix`.
    pub transport: TransportType,
    /// Accepted for compatibility; a server does not dial.
    pub dialer: DialerConfig,
}

/// How to dial.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DialerConfig {
    /// How long to wait for a connection; 0, the default, leaves it to the operating system.
    pub timeout: GoDuration,
}

impl NetAddress {
    /// A TCP address.
    pub fn tcp(endpoint: &str) -> Self {
        Self { endpoint: endpoint.to_owned(), ..Self::default() }
    }
}

impl Validate for NetAddress {
    fn validate(&self, issues: &mut Issues) {
        match self.transport {
            TransportType::Unset => issues.at("transport", "invalid transport type \"\""),
            TransportType::Npipe => issues.at_with_help(
                "transport",
                "invalid transport type \"npipe\"",
                "named pipes exist on Windows only; use unix",
            ),
            TransportType::Tcp | TransportType::Tcp4 | TransportType::Tcp6 | TransportType::Unix => {}
            other => {
                let message = format!("a server cannot listen by the transport {:?}", other.name());
                issues.at_with_help("transport", message, "the transports are tcp, tcp4, tcp6 and unix");
            }
        }
    }
}

/// Whether a text is `host:port`, as Go's `net.SplitHostPort` reads it, with a number as the port.
///
/// # Errors
/// The Collector's sentence.
pub fn check_host_port(address: &str) -> Result<(), String> {
    let port = if let Some(rest) = address.strip_prefix('[') {
        let Some((_, after)) = rest.split_once(']') else {
            return Err(format!("address {address}: missing ']' in address"));
        };
        match after.strip_prefix(':') {
            Some(port) => port,
            None => return Err(format!("address {address}: missing port in address")),
        }
    } else {
        match address.split_once(':') {
            None => return Err(format!("address {address}: missing port in address")),
            Some((_, port)) if port.contains(':') => {
                return Err(format!("address {address}: too many colons in address"));
            }
            Some((_, port)) => port,
        }
    };
    if port.parse::<i64>().is_err() {
        return Err(format!("invalid port \"{port}\""));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_needs_a_port_that_is_a_number() {
        let cases: &[(&str, Result<(), &str>)] = &[
            ("localhost:4317", Ok(())),
            (":4317", Ok(())),
            ("[::1]:4317", Ok(())),
            ("localhost", Err("address localhost: missing port in address")),
            ("[::1]", Err("address [::1]: missing port in address")),
            ("[::1", Err("address [::1: missing ']' in address")),
            ("::1:4317", Err("address ::1:4317: too many colons in address")),
            ("localhost:http", Err("invalid port \"http\"")),
            ("localhost:", Err("invalid port \"\"")),
        ];
        for (address, expected) in cases {
            assert_eq!(check_host_port(address), expected.map_err(str::to_owned), "{address}");
        }
    }
}
