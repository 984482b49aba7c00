//! Compares agents: load generator and sink in one process, the agent under test in another.
//!
//! - [`sample`]: the requests;
//! - [`load`], [`mod@sink`]: the two ends;
//! - [`agent`]: a process and what /proc says about it;
//! - [`scenario`]: what is measured, and the bars;
//! - [`measure`], [`report`]: one round, all rounds;
//! - [`curves`]: whether cost grows linearly, and what guarantees cost;
//! - [`hot`]: single paths, for counting instructions.
#![expect(clippy::disallowed_methods, reason = "a load generator measures real time")]

mod agent;
mod curves;
mod edit;
mod hot;
mod load;
mod measure;
mod report;
mod sample;
mod scenario;
mod sink;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Parser, Subcommand};
use weir_otlp::encoding::Encoding;
use weir_pdata::Signal;

use agent::{Kind, Program};
use load::{Load, Protocol, Requests};
use report::Row;
use sample::Sample;
use scenario::Scenario;

#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Both agents in all scenarios, in interleaved rounds.
    Run(Run),
    /// Weir alone: connections, items per request, pipelines, and what each guarantee of delivery costs; the points of each in
    /// interleaved rounds. Fails where cost grows faster than what it grows with.
    Curves {
        /// Binary of Weir.
        #[arg(long)]
        weir: PathBuf,
        /// Rounds of each point.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Seconds of each round.
        #[arg(long, default_value_t = 3)]
        seconds: u64,
        /// Versions and machine, for the head of the tables.
        #[arg(long, default_value = "")]
        about: String,
    },
    /// Repeats one hot path, for an instruction counter.
    Hot {
        /// Name of the path.
        name: String,
        /// How often.
        times: usize,
    },
    /// Sends to an agent; prints how many items it acknowledged.
    Load {
        /// Its port on 127.0.0.1.
        port: u16,
        /// `traces`, `metrics`, `logs` or `profiles`.
        #[arg(long, default_value = "traces", value_parser = signal)]
        signal: Signal,
        /// What carries the requests.
        #[arg(long, value_enum, default_value_t = Protocol::Grpc)]
        protocol: Protocol,
        /// Seconds.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Items per request.
        #[arg(long, default_value_t = 100)]
        items: usize,
        /// Connections, one request under way on each.
        #[arg(long, default_value_t = 8)]
        connections: usize,
        /// `identity`, `gzip` or `zstd`.
        #[arg(long, default_value = "identity", value_parser = encoding)]
        encoding: Encoding,
        /// At most that many requests on each connection.
        #[arg(long)]
        requests: Option<u32>,
    },
    /// Takes OTLP over gRPC and HTTP; prints how many items came when it is interrupted.
    Sink {
        /// Address to listen on.
        endpoint: String,
    },
}

#[derive(Debug, Args)]
struct Run {
    /// Binary of Weir.
    #[arg(long)]
    weir: PathBuf,
    /// Binary of the Collector.
    #[arg(long, required_unless_present = "rotel")]
    otelcol: Option<PathBuf>,
    /// Binary of Rotel, in place of the Collector; there are no bars then.
    #[arg(long, conflicts_with_all = ["otelcol", "check"])]
    rotel: Option<PathBuf>,
    /// Only scenarios of that name.
    #[arg(long)]
    only: Option<String>,
    /// Rounds of each scenario.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each round; twice as many at a fixed rate.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Fail when a bar does not hold.
    #[arg(long)]
    check: bool,
    /// The document that gets the tables.
    #[arg(long)]
    write: Option<PathBuf>,
    /// Versions and machine, for the head of the tables.
    #[arg(long, default_value = "")]
    about: String,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let ended = match Cli::parse().command {
        Command::Run(run) => compare(&run).await,
        Command::Curves { weir, rounds, seconds, about } => {
            println(&format!("{about}; {rounds} rounds of {seconds} s for each point, points in turn.\n"));
            let times = curves::Times { each: Duration::from_secs(seconds), rounds };
            curves::run(&weir, times).await
        }
        Command::Hot { name, times } => hot::run(&name, times),
        Command::Load { port, signal, protocol, seconds, items, connections, encoding, requests: most } => {
            let time = Duration::from_secs(seconds);
            let sample = Sample::new(signal, items);
            match Requests::new(&sample, protocol, encoding).map(Arc::new) {
                Ok(requests) => {
                    send(Load { port, requests, connections, rate: None, time, most, stamped: false }).await
                }
                Err(error) => Err(error),
            }
        }
        Command::Sink { endpoint } => sink(&endpoint).await,
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            println(&message);
            ExitCode::FAILURE
        }
    }
}

/// A signal by its name.
fn signal(name: &str) -> Result<Signal, String> {
    Signal::parse(name).ok_or_else(|| format!("there are {}", Signal::ALL.map(Signal::name).join(", ")))
}

/// An encoding by its name.
fn encoding(name: &str) -> Result<Encoding, String> {
    Encoding::parse(name).ok_or_else(|| "there are identity, gzip and zstd".to_owned())
}

fn println(text: &str) {
    use std::io::Write;
    // A closed stream leaves nobody to tell.
    drop(writeln!(std::io::stdout(), "{text}"));
}

/// Unix nanoseconds.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

async fn send(load: Load) -> Result<(), String> {
    let sent = load.run().await?;
    println(&sent.items.to_string());
    if sent.refused > 0 { Err(format!("{} requests were refused", sent.refused)) } else { Ok(()) }
}

async fn sink(endpoint: &str) -> Result<(), String> {
    let sink = sink::Sink::start(endpoint, sink::Reads::Nothing).await?;
    tokio::signal::ctrl_c().await.map_err(|e| e.to_string())?;
    println(&sink.items().to_string());
    Ok(())
}

impl Run {
    fn weir(&self) -> Program {
        Program { binary: self.weir.clone(), kind: Kind::Collector }
    }

    fn other(&self) -> Result<Program, String> {
        let (binary, kind) = match (&self.otelcol, &self.rotel) {
            (_, Some(rotel)) => (rotel, Kind::Rotel),
            (Some(otelcol), None) => (otelcol, Kind::Collector),
            (None, None) => return Err("nothing to compare with".to_owned()),
        };
        Ok(Program { binary: binary.clone(), kind })
    }

    fn wants(&self, scenario: &Scenario) -> bool {
        let named = self.only.as_ref().is_none_or(|only| only.split(',').any(|name| name == scenario.name));
        named && (self.rotel.is_none() || scenario.rotel(0, 0).is_some())
    }
}

async fn compare(run: &Run) -> Result<(), String> {
    let names: Vec<_> = scenario::all().iter().map(|s| s.name).collect();
    let mut only = run.only.iter().flat_map(|only| only.split(','));
    if let Some(unknown) = only.find(|name| !names.contains(name)) {
        return Err(format!("no scenario is named {unknown:?}; there are {}", names.join(", ")));
    }
    let scenarios: Vec<_> = scenario::all().into_iter().filter(|scenario| run.wants(scenario)).collect();
    if scenarios.is_empty() {
        return Err("the other agent has no settings for any of these scenarios".to_owned());
    }
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    for scenario in scenarios {
        let name = scenario.name;
        match rounds(run, scenario, dir.path()).await {
            Ok(row) => rows.push(row),
            Err(message) => {
                println(&format!("{name}: {message}"));
                failed.push(format!("{name}: did not run to its end"));
            }
        }
    }
    let settings = format!(
        "{}; {} rounds of {} s for each agent and scenario, agents in turn.",
        run.about, run.rounds, run.seconds
    );
    let (tables, place) = match run.rotel {
        None => (report::markdown(&rows, &failed, &settings), report::COLLECTOR),
        Some(_) => (report::beside(&rows, &failed, &settings), report::OTHERS),
    };
    println(&tables);
    if let Some(path) = &run.write {
        let document = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
        std::fs::write(path, report::replace(&document, &tables, place)?).map_err(|e| e.to_string())?;
    }
    let below: Vec<_> = report::below(&rows).into_iter().chain(failed).collect();
    if run.check && !below.is_empty() {
        return Err(format!("below the bars:\n  {}", below.join("\n  ")));
    }
    Ok(())
}

/// All rounds of one scenario.
async fn rounds(run: &Run, scenario: Scenario, dir: &Path) -> Result<Row, String> {
    let time = Duration::from_secs(run.seconds);
    // At a fixed rate an agent needs so little CPU time that its clock of 10 ms is coarse.
    let time = if scenario.rate.is_some() { 2 * time } else { time };
    let requests = measure::requests(&scenario)?;
    let programs = (run.weir(), run.other()?);
    let mut row = Row { scenario, rounds: Vec::new() };
    for i in 0..run.rounds {
        let scenario = &row.scenario;
        let direct = match scenario.latency {
            true => Some(measure::direct(scenario, &requests, time / 2).await?),
            false => None,
        };
        // Who comes first changes, so that what the machine does meanwhile falls on both.
        let (mut weir, mut other) = if i % 2 == 0 {
            let weir = measure::round(&programs.0, scenario, &requests, time, dir).await?;
            (weir, measure::round(&programs.1, scenario, &requests, time, dir).await?)
        } else {
            let other = measure::round(&programs.1, scenario, &requests, time, dir).await?;
            (measure::round(&programs.0, scenario, &requests, time, dir).await?, other)
        };
        if let Some(direct) = direct {
            for round in [&mut weir, &mut other] {
                round.latency = round.latency.map(|latency| latency.beyond(direct)).transpose()?;
            }
        }
        let ratio = row.ratio_of(&weir, &other);
        show(row.scenario.name, ratio, &weir, &other);
        row.rounds.push((weir, other));
    }
    Ok(row)
}

/// One round on the way.
fn show(name: &str, ratio: f64, weir: &measure::Round, other: &measure::Round) {
    let of = |r: &measure::Round| {
        let latency =
            r.latency.map_or(String::new(), |l| format!(", {:.0} µs added, p99 {:.0} µs", l.median, l.p99));
        let (per_cpu, per_second) = (report::thousands(r.per_cpu), report::thousands(r.per_second));
        let (idle, peak) = (report::megabytes(r.idle), report::megabytes(r.peak));
        format!(
            "{per_cpu}/CPU s, {per_second}/s, {idle:.1} to {peak:.1} MB, {:.0} bytes out, lost {}{latency}",
            r.wire, r.lost
        )
    };
    println(&format!("{name}: {ratio:.2}x; {}; {}", of(weir), of(other)));
}
