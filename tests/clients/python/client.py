"""Sends a span, a measurement and a log record with the OpenTelemetry SDK over each protocol it has.

usage: client.py GRPC_PORT HTTP_PORT
"""

import logging
import sys

from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


def send(service, spans, metrics, logs):
    resource = Resource.create({"service.name": service})
    tracers = TracerProvider(resource=resource)
    tracers.add_span_processor(BatchSpanProcessor(spans))
    with tracers.get_tracer("test").start_as_current_span("span", attributes={"list": ["a", "b"]}) as span:
        span.add_event("event")
    meters = MeterProvider(resource=resource, metric_readers=[PeriodicExportingMetricReader(metrics)])
    meters.get_meter("test").create_counter("counter").add(1, {"key": "value"})
    meters.get_meter("test").create_histogram("histogram").record(0.5)
    loggers = LoggerProvider(resource=resource)
    loggers.add_log_record_processor(BatchLogRecordProcessor(logs))
    loggers.get_logger("test").emit(body="hello", severity_number=SeverityNumber.INFO)
    for provider in (tracers, loggers):
        if not provider.force_flush():
            sys.exit(f"{service}: could not send everything")
        provider.shutdown()
    # Collects and sends once when it ends.
    meters.shutdown()


logging.basicConfig(level=logging.WARNING)
grpc = f"http://127.0.0.1:{sys.argv[1]}"
http = f"http://127.0.0.1:{sys.argv[2]}/v1"
send("grpc", GrpcSpans(grpc, insecure=True), GrpcMetrics(grpc, insecure=True), GrpcLogs(grpc, insecure=True))
send("http", HttpSpans(f"{http}/traces"), HttpMetrics(f"{http}/metrics"), HttpLogs(f"{http}/logs"))
gzip = {"compression": Compression.Gzip}
send("http-gzip", HttpSpans(f"{http}/traces", **gzip), HttpMetrics(f"{http}/metrics", **gzip), HttpLogs(f"{http}/logs", **gzip))
