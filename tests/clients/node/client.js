// Sends a span, a measurement and a log record with the OpenTelemetry SDK over each protocol it has.
//
// usage: client.js GRPC_PORT HTTP_PORT

const { diag, DiagLogLevel } = require("@opentelemetry/api");
const { SeverityNumber } = require("@opentelemetry/api-logs");
const { resources, tracing, metrics, logs } = require("@opentelemetry/sdk-node");

const grpc = `http://127.0.0.1:${process.argv[2]}`;
const http = `http://127.0.0.1:${process.argv[3]}`;

const exporters = (protocol, url, compression) =>
  [["trace", "OTLPTraceExporter", "traces"], ["metrics", "OTLPMetricExporter", "metrics"], ["logs", "OTLPLogExporter", "logs"]].map(
    ([signal, name, path]) =>
      new (require(`@opentelemetry/exporter-${signal}-otlp-${protocol}`)[name])({
        url: protocol === "grpc" ? url : `${url}/v1/${path}`,
        compression,
      }),
  );

async function send(service, [spans, measurements, records]) {
  const resource = resources.resourceFromAttributes({ "service.name": service });
  const tracers = new tracing.BasicTracerProvider({ resource, spanProcessors: [new tracing.BatchSpanProcessor(spans)] });
  const span = tracers.getTracer("test").startSpan("span", { attributes: { list: ["a", "b"] } });
  span.addEvent("event");
  span.end();
  const reader = new metrics.PeriodicExportingMetricReader({ exporter: measurements });
  const meters = new metrics.MeterProvider({ resource, readers: [reader] });
  meters.getMeter("test").createCounter("counter").add(1, { key: "value" });
  meters.getMeter("test").createHistogram("histogram").record(0.5);
  const loggers = new logs.LoggerProvider({ resource, processors: [batch(records)] });
  loggers.getLogger("test").emit({ body: "hello", severityNumber: SeverityNumber.INFO });
  // Each sends what it has when it ends.
  for (const provider of [tracers, meters, loggers]) {
    await provider.shutdown();
  }
}

// Its argument has changed from release to release.
function batch(exporter) {
  try {
    return new logs.BatchLogRecordProcessor({ exporter });
  } catch {
    return new logs.BatchLogRecordProcessor(exporter);
  }
}

// A failure to send is only said to the diagnostics.
const quiet = () => {};
const fail = (...what) => {
  console.error(...what);
  process.exitCode = 1;
};
diag.setLogger({ verbose: quiet, debug: quiet, info: quiet, warn: fail, error: fail }, DiagLogLevel.WARN);

(async () => {
  await send("grpc", exporters("grpc", grpc, "none"));
  await send("grpc-gzip", exporters("grpc", grpc, "gzip"));
  await send("http", exporters("proto", http, "gzip"));
  await send("http-json", exporters("http", http, "none"));
})();
