// Sends a span, a measurement and a log record with the OpenTelemetry SDK over each protocol it has.
//
// usage: client GRPC_PORT HTTP_PORT
package main

import (
	"context"
	"fmt"
	"os"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
)

var ctx = context.Background()

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func send(service string, spans trace.SpanExporter, metrics metric.Exporter, logs sdklog.Exporter) {
	about := resource.NewSchemaless(attribute.String("service.name", service))
	tracers := trace.NewTracerProvider(trace.WithResource(about), trace.WithBatcher(spans))
	_, span := tracers.Tracer("test").Start(ctx, "span")
	span.SetAttributes(attribute.StringSlice("list", []string{"a", "b"}))
	span.AddEvent("event")
	span.End()
	meters := metric.NewMeterProvider(metric.WithResource(about), metric.WithReader(metric.NewPeriodicReader(metrics)))
	must(meters.Meter("test").Int64Counter("counter")).Add(ctx, 1)
	must(meters.Meter("test").Float64Histogram("histogram")).Record(ctx, 0.5)
	loggers := sdklog.NewLoggerProvider(sdklog.WithResource(about), sdklog.WithProcessor(sdklog.NewBatchProcessor(logs)))
	var record log.Record
	record.SetBody(attribute.StringValue("hello"))
	record.SetSeverity(log.SeverityInfo)
	loggers.Logger("test").Emit(ctx, record)
	// Each sends what it has when it ends.
	check(tracers.Shutdown(ctx))
	check(meters.Shutdown(ctx))
	check(loggers.Shutdown(ctx))
}

func main() {
	grpc, http := "127.0.0.1:"+os.Args[1], "127.0.0.1:"+os.Args[2]
	send("grpc",
		must(otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(grpc), otlptracegrpc.WithInsecure())),
		must(otlpmetricgrpc.New(ctx, otlpmetricgrpc.WithEndpoint(grpc), otlpmetricgrpc.WithInsecure())),
		must(otlploggrpc.New(ctx, otlploggrpc.WithEndpoint(grpc), otlploggrpc.WithInsecure())))
	send("grpc-gzip",
		must(otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(grpc), otlptracegrpc.WithInsecure(), otlptracegrpc.WithCompressor("gzip"))),
		must(otlpmetricgrpc.New(ctx, otlpmetricgrpc.WithEndpoint(grpc), otlpmetricgrpc.WithInsecure(), otlpmetricgrpc.WithCompressor("gzip"))),
		must(otlploggrpc.New(ctx, otlploggrpc.WithEndpoint(grpc), otlploggrpc.WithInsecure(), otlploggrpc.WithCompressor("gzip"))))
	send("http",
		must(otlptracehttp.New(ctx, otlptracehttp.WithEndpoint(http), otlptracehttp.WithInsecure())),
		must(otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpoint(http), otlpmetrichttp.WithInsecure())),
		must(otlploghttp.New(ctx, otlploghttp.WithEndpoint(http), otlploghttp.WithInsecure())))
}
