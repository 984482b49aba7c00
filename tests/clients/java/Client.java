import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.logs.Severity;
import io.opentelemetry.exporter.otlp.http.logs.OtlpHttpLogRecordExporter;
import io.opentelemetry.exporter.otlp.http.metrics.OtlpHttpMetricExporter;
import io.opentelemetry.exporter.otlp.http.trace.OtlpHttpSpanExporter;
import io.opentelemetry.exporter.otlp.logs.OtlpGrpcLogRecordExporter;
import io.opentelemetry.exporter.otlp.metrics.OtlpGrpcMetricExporter;
import io.opentelemetry.exporter.otlp.trace.OtlpGrpcSpanExporter;
import io.opentelemetry.sdk.common.CompletableResultCode;
import io.opentelemetry.sdk.logs.SdkLoggerProvider;
import io.opentelemetry.sdk.logs.export.BatchLogRecordProcessor;
import io.opentelemetry.sdk.logs.export.LogRecordExporter;
import io.opentelemetry.sdk.metrics.SdkMeterProvider;
import io.opentelemetry.sdk.metrics.export.MetricExporter;
import io.opentelemetry.sdk.metrics.export.PeriodicMetricReader;
import io.opentelemetry.sdk.resources.Resource;
import io.opentelemetry.sdk.trace.SdkTracerProvider;
import io.opentelemetry.sdk.trace.export.BatchSpanProcessor;
import io.opentelemetry.sdk.trace.export.SpanExporter;
import java.util.List;
import java.util.concurrent.TimeUnit;

/**
 * Sends a span, a measurement and a log record with the OpenTelemetry SDK over each protocol it has.
 *
 * <p>usage: Client GRPC_PORT HTTP_PORT
 */
public final class Client {
  private Client() {}

  private static void send(String service, SpanExporter spans, MetricExporter metrics, LogRecordExporter logs) {
    Resource resource = Resource.create(Attributes.of(AttributeKey.stringKey("service.name"), service));
    SdkTracerProvider tracers =
        SdkTracerProvider.builder()
            .setResource(resource)
            .addSpanProcessor(BatchSpanProcessor.builder(spans).build())
            .build();
    tracers
        .get("test")
        .spanBuilder("span")
        .setAttribute(AttributeKey.stringArrayKey("list"), List.of("a", "b"))
        .startSpan()
        .addEvent("event")
        .end();
    SdkMeterProvider meters =
        SdkMeterProvider.builder()
            .setResource(resource)
            .registerMetricReader(PeriodicMetricReader.builder(metrics).build())
            .build();
    meters.get("test").counterBuilder("counter").build().add(1);
    meters.get("test").histogramBuilder("histogram").build().record(0.5);
    SdkLoggerProvider loggers =
        SdkLoggerProvider.builder()
            .setResource(resource)
            .addLogRecordProcessor(BatchLogRecordProcessor.builder(logs).build())
            .build();
    loggers.get("test").logRecordBuilder().setBody("hello").setSeverity(Severity.INFO).emit();
    // Each sends what it has when it ends.
    check(service, meters.shutdown());
    check(service, tracers.shutdown());
    check(service, loggers.shutdown());
  }

  private static void check(String service, CompletableResultCode result) {
    if (!result.join(60, TimeUnit.SECONDS).isSuccess()) {
      System.err.println(service + ": could not send everything");
      System.exit(1);
    }
  }

  public static void main(String[] ports) {
    String grpc = "http://127.0.0.1:" + ports[0];
    String http = "http://127.0.0.1:" + ports[1] + "/v1/";
    for (String compression : List.of("none", "gzip")) {
      send(
          compression.equals("none") ? "grpc" : "grpc-gzip",
          OtlpGrpcSpanExporter.builder().setEndpoint(grpc).setCompression(compression).build(),
          OtlpGrpcMetricExporter.builder().setEndpoint(grpc).setCompression(compression).build(),
          OtlpGrpcLogRecordExporter.builder().setEndpoint(grpc).setCompression(compression).build());
    }
    send(
        "http",
        OtlpHttpSpanExporter.builder().setEndpoint(http + "traces").build(),
        OtlpHttpMetricExporter.builder().setEndpoint(http + "metrics").build(),
        OtlpHttpLogRecordExporter.builder().setEndpoint(http + "logs").build());
    System.exit(0);
  }
}
