//! The OTLP messages as one table: what the validator, the JSON reader and the JSON writer walk by.
//!
//! Source: opentelemetry-proto 1.11 (traces, metrics, logs stable; profiles `v1development`). Field names are those of
//! OTLP/JSON (lowerCamelCase).

use crate::Signal;

/// How a field is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `bool`
    Bool,
    /// `int32`
    Int32,
    /// `int64`; a string in JSON
    Int64,
    /// `uint32`
    Uint32,
    /// `uint64`; a string in JSON
    Uint64,
    /// `sint32` (zigzag)
    Sint32,
    /// An enum; the names are `PREFIX_VALUE`, the list is in numerical order
    Enum(&'static [&'static str]),
    /// `fixed32`
    Fixed32,
    /// `fixed64`; a string in JSON
    Fixed64,
    /// `sfixed64`; a string in JSON
    Sfixed64,
    /// `double`
    Double,
    /// `string`
    String,
    /// `bytes`, base64 in JSON
    Bytes,
    /// `bytes` of a trace, span or profile id, hex in JSON: empty or exactly that long
    Id(u8),
    /// Another message
    Message(Id),
}

/// A field of a message.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Field number.
    pub number: u8,
    /// Name in OTLP/JSON.
    pub name: &'static str,
    /// Encoding.
    pub kind: Kind,
    /// `repeated`; scalars are then packed.
    pub repeated: bool,
    /// Member of a `oneof` or `optional`: present even when it holds the default value.
    pub explicit: bool,
}

/// A message.
#[derive(Debug, Clone, Copy)]
pub struct Message {
    /// Short name for error messages.
    pub name: &'static str,
    /// One of them is one item of its signal.
    pub item: bool,
    /// Fields in any order.
    pub fields: &'static [Field],
}

const fn one(number: u8, name: &'static str, kind: Kind) -> Field {
    Field { number, name, kind, repeated: false, explicit: false }
}
const fn many(number: u8, name: &'static str, kind: Kind) -> Field {
    Field { number, name, kind, repeated: true, explicit: false }
}
const fn opt(number: u8, name: &'static str, kind: Kind) -> Field {
    Field { number, name, kind, repeated: false, explicit: true }
}
const fn msg(name: &'static str, fields: &'static [Field]) -> Message {
    Message { name, item: false, fields }
}
const fn item(name: &'static str, fields: &'static [Field]) -> Message {
    Message { name, item: true, fields }
}

macro_rules! messages {
    ($($id:ident = $message:expr;)*) => {
        /// Index of a message in [`MESSAGES`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "the names are those of the OTLP messages")]
        pub enum Id { $($id),* }
        /// All messages, indexed by [`Id`].
        pub static MESSAGES: [Message; [$(stringify!($id)),*].len()] = [$($message),*];
        /// All ids, in order.
        pub const IDS: [Id; [$(stringify!($id)),*].len()] = [$(Id::$id),*];
    };
}

use Kind::{
    Bool, Bytes, Double, Fixed32, Fixed64, Int32, Int64, Sfixed64, Sint32, String as Str, Uint32, Uint64,
};

const SPAN_KIND: Kind = Kind::Enum(&[
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
]);
const STATUS_CODE: Kind = Kind::Enum(&["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"]);
const TEMPORALITY: Kind = Kind::Enum(&[
    "AGGREGATION_TEMPORALITY_UNSPECIFIED",
    "AGGREGATION_TEMPORALITY_DELTA",
    "AGGREGATION_TEMPORALITY_CUMULATIVE",
]);
const SEVERITY: Kind = Kind::Enum(&[
    "SEVERITY_NUMBER_UNSPECIFIED",
    "SEVERITY_NUMBER_TRACE",
    "SEVERITY_NUMBER_TRACE2",
    "SEVERITY_NUMBER_TRACE3",
    "SEVERITY_NUMBER_TRACE4",
    "SEVERITY_NUMBER_DEBUG",
    "SEVERITY_NUMBER_DEBUG2",
    "SEVERITY_NUMBER_DEBUG3",
    "SEVERITY_NUMBER_DEBUG4",
    "SEVERITY_NUMBER_INFO",
    "SEVERITY_NUMBER_INFO2",
    "SEVERITY_NUMBER_INFO3",
    "SEVERITY_NUMBER_INFO4",
    "SEVERITY_NUMBER_WARN",
    "SEVERITY_NUMBER_WARN2",
    "SEVERITY_NUMBER_WARN3",
    "SEVERITY_NUMBER_WARN4",
    "SEVERITY_NUMBER_ERROR",
    "SEVERITY_NUMBER_ERROR2",
    "SEVERITY_NUMBER_ERROR3",
    "SEVERITY_NUMBER_ERROR4",
    "SEVERITY_NUMBER_FATAL",
    "SEVERITY_NUMBER_FATAL2",
    "SEVERITY_NUMBER_FATAL3",
    "SEVERITY_NUMBER_FATAL4",
]);

const fn of(id: Id) -> Kind {
    Kind::Message(id)
}
const TRACE_ID: Kind = Kind::Id(16);
const SPAN_ID: Kind = Kind::Id(8);

messages! {
    AnyValue = msg("AnyValue", &[opt(1, "stringValue", Str), opt(2, "boolValue", Bool), opt(3, "intValue", Int64),
        opt(4, "doubleValue", Double), opt(5, "arrayValue", of(Id::ArrayValue)),
        opt(6, "kvlistValue", of(Id::KeyValueList)), opt(7, "bytesValue", Bytes),
        opt(8, "stringValueStrindex", Int32)]);
    ArrayValue = msg("ArrayValue", &[many(1, "values", of(Id::AnyValue))]);
    KeyValueList = msg("KeyValueList", &[many(1, "values", of(Id::KeyValue))]);
    KeyValue = msg("KeyValue", &[one(1, "key", Str), one(2, "value", of(Id::AnyValue)), one(3, "keyStrindex", Int32)]);
    Scope = msg("InstrumentationScope", &[one(1, "name", Str), one(2, "version", Str),
        many(3, "attributes", of(Id::KeyValue)), one(4, "droppedAttributesCount", Uint32)]);
    EntityRef = msg("EntityRef", &[one(1, "schemaUrl", Str), one(2, "type", Str), many(3, "idKeys", Str),
        many(4, "descriptionKeys", Str)]);
    Resource = msg("Resource", &[many(1, "attributes", of(Id::KeyValue)), one(2, "droppedAttributesCount", Uint32),
        many(3, "entityRefs", of(Id::EntityRef))]);

    TracesRequest = msg("ExportTraceServiceRequest", &[many(1, "resourceSpans", of(Id::ResourceSpans))]);
    ResourceSpans = msg("ResourceSpans", &[one(1, "resource", of(Id::Resource)), many(2, "scopeSpans", of(Id::ScopeSpans)),
        one(3, "schemaUrl", Str)]);
    ScopeSpans = msg("ScopeSpans", &[one(1, "scope", of(Id::Scope)), many(2, "spans", of(Id::Span)),
        one(3, "schemaUrl", Str)]);
    Span = item("Span", &[one(1, "traceId", TRACE_ID), one(2, "spanId", SPAN_ID), one(3, "traceState", Str),
        one(4, "parentSpanId", SPAN_ID), one(5, "name", Str), one(6, "kind", SPAN_KIND),
        one(7, "startTimeUnixNano", Fixed64), one(8, "endTimeUnixNano", Fixed64),
        many(9, "attributes", of(Id::KeyValue)), one(10, "droppedAttributesCount", Uint32),
        many(11, "events", of(Id::SpanEvent)), one(12, "droppedEventsCount", Uint32),
        many(13, "links", of(Id::SpanLink)), one(14, "droppedLinksCount", Uint32),
        one(15, "status", of(Id::Status)), one(16, "flags", Fixed32)]);
    SpanEvent = msg("Span.Event", &[one(1, "timeUnixNano", Fixed64), one(2, "name", Str),
        many(3, "attributes", of(Id::KeyValue)), one(4, "droppedAttributesCount", Uint32)]);
    SpanLink = msg("Span.Link", &[one(1, "traceId", TRACE_ID), one(2, "spanId", SPAN_ID), one(3, "traceState", Str),
        many(4, "attributes", of(Id::KeyValue)), one(5, "droppedAttributesCount", Uint32), one(6, "flags", Fixed32)]);
    Status = msg("Status", &[one(2, "message", Str), one(3, "code", STATUS_CODE)]);

    MetricsRequest = msg("ExportMetricsServiceRequest", &[many(1, "resourceMetrics", of(Id::ResourceMetrics))]);
    ResourceMetrics = msg("ResourceMetrics", &[one(1, "resource", of(Id::Resource)),
        many(2, "scopeMetrics", of(Id::ScopeMetrics)), one(3, "schemaUrl", Str)]);
    ScopeMetrics = msg("ScopeMetrics", &[one(1, "scope", of(Id::Scope)), many(2, "metrics", of(Id::Metric)),
        one(3, "schemaUrl", Str)]);
    Metric = msg("Metric", &[one(1, "name", Str), one(2, "description", Str), one(3, "unit", Str),
        opt(5, "gauge", of(Id::Gauge)), opt(7, "sum", of(Id::Sum)), opt(9, "histogram", of(Id::Histogram)),
        opt(10, "exponentialHistogram", of(Id::ExponentialHistogram)), opt(11, "summary", of(Id::Summary)),
        many(12, "metadata", of(Id::KeyValue))]);
    Gauge = msg("Gauge", &[many(1, "dataPoints", of(Id::NumberPoint))]);
    Sum = msg("Sum", &[many(1, "dataPoints", of(Id::NumberPoint)), one(2, "aggregationTemporality", TEMPORALITY),
        one(3, "isMonotonic", Bool)]);
    Histogram = msg("Histogram", &[many(1, "dataPoints", of(Id::HistogramPoint)),
        one(2, "aggregationTemporality", TEMPORALITY)]);
    ExponentialHistogram = msg("ExponentialHistogram", &[many(1, "dataPoints", of(Id::ExponentialPoint)),
        one(2, "aggregationTemporality", TEMPORALITY)]);
    Summary = msg("Summary", &[many(1, "dataPoints", of(Id::SummaryPoint))]);
    NumberPoint = item("NumberDataPoint", &[many(7, "attributes", of(Id::KeyValue)),
        one(2, "startTimeUnixNano", Fixed64), one(3, "timeUnixNano", Fixed64), opt(4, "asDouble", Double),
        opt(6, "asInt", Sfixed64), many(5, "exemplars", of(Id::Exemplar)), one(8, "flags", Uint32)]);
    HistogramPoint = item("HistogramDataPoint", &[many(9, "attributes", of(Id::KeyValue)),
        one(2, "startTimeUnixNano", Fixed64), one(3, "timeUnixNano", Fixed64), one(4, "count", Fixed64),
        opt(5, "sum", Double), many(6, "bucketCounts", Fixed64), many(7, "explicitBounds", Double),
        many(8, "exemplars", of(Id::Exemplar)), one(10, "flags", Uint32), opt(11, "min", Double),
        opt(12, "max", Double)]);
    ExponentialPoint = item("ExponentialHistogramDataPoint", &[many(1, "attributes", of(Id::KeyValue)),
        one(2, "startTimeUnixNano", Fixed64), one(3, "timeUnixNano", Fixed64), one(4, "count", Fixed64),
        opt(5, "sum", Double), one(6, "scale", Sint32), one(7, "zeroCount", Fixed64),
        one(8, "positive", of(Id::Buckets)), one(9, "negative", of(Id::Buckets)), one(10, "flags", Uint32),
        many(11, "exemplars", of(Id::Exemplar)), opt(12, "min", Double), opt(13, "max", Double),
        one(14, "zeroThreshold", Double)]);
    Buckets = msg("Buckets", &[one(1, "offset", Sint32), many(2, "bucketCounts", Uint64)]);
    SummaryPoint = item("SummaryDataPoint", &[many(7, "attributes", of(Id::KeyValue)),
        one(2, "startTimeUnixNano", Fixed64), one(3, "timeUnixNano", Fixed64), one(4, "count", Fixed64),
        one(5, "sum", Double), many(6, "quantileValues", of(Id::Quantile)), one(8, "flags", Uint32)]);
    Quantile = msg("ValueAtQuantile", &[one(1, "quantile", Double), one(2, "value", Double)]);
    Exemplar = msg("Exemplar", &[many(7, "filteredAttributes", of(Id::KeyValue)), one(2, "timeUnixNano", Fixed64),
        opt(3, "asDouble", Double), opt(6, "asInt", Sfixed64), one(4, "spanId", SPAN_ID), one(5, "traceId", TRACE_ID)]);

    LogsRequest = msg("ExportLogsServiceRequest", &[many(1, "resourceLogs", of(Id::ResourceLogs))]);
    ResourceLogs = msg("ResourceLogs", &[one(1, "resource", of(Id::Resource)), many(2, "scopeLogs", of(Id::ScopeLogs)),
        one(3, "schemaUrl", Str)]);
    ScopeLogs = msg("ScopeLogs", &[one(1, "scope", of(Id::Scope)), many(2, "logRecords", of(Id::LogRecord)),
        one(3, "schemaUrl", Str)]);
    LogRecord = item("LogRecord", &[one(1, "timeUnixNano", Fixed64), one(11, "observedTimeUnixNano", Fixed64),
        one(2, "severityNumber", SEVERITY), one(3, "severityText", Str), one(5, "body", of(Id::AnyValue)),
        many(6, "attributes", of(Id::KeyValue)), one(7, "droppedAttributesCount", Uint32), one(8, "flags", Fixed32),
        one(9, "traceId", TRACE_ID), one(10, "spanId", SPAN_ID), one(12, "eventName", Str)]);

    ProfilesRequest = msg("ExportProfilesServiceRequest", &[many(1, "resourceProfiles", of(Id::ResourceProfiles)),
        one(2, "dictionary", of(Id::Dictionary))]);
    ResourceProfiles = msg("ResourceProfiles", &[one(1, "resource", of(Id::Resource)),
        many(2, "scopeProfiles", of(Id::ScopeProfiles)), one(3, "schemaUrl", Str)]);
    ScopeProfiles = msg("ScopeProfiles", &[one(1, "scope", of(Id::Scope)), many(2, "profiles", of(Id::Profile)),
        one(3, "schemaUrl", Str)]);
    Profile = msg("Profile", &[one(1, "sampleType", of(Id::ValueType)), many(2, "samples", of(Id::Sample)),
        one(3, "timeUnixNano", Fixed64), one(4, "durationNano", Uint64), one(5, "periodType", of(Id::ValueType)),
        one(6, "period", Int64), one(7, "profileId", TRACE_ID), one(8, "droppedAttributesCount", Uint32),
        one(9, "originalPayloadFormat", Str), one(10, "originalPayload", Bytes), many(11, "attributeIndices", Int32)]);
    Sample = item("Sample", &[one(1, "stackIndex", Int32), many(2, "attributeIndices", Int32), one(3, "linkIndex", Int32),
        many(4, "values", Int64), many(5, "timestampsUnixNano", Fixed64)]);
    ValueType = msg("ValueType", &[one(1, "typeStrindex", Int32), one(2, "unitStrindex", Int32)]);
    Dictionary = msg("ProfilesDictionary", &[many(1, "mappingTable", of(Id::Mapping)),
        many(2, "locationTable", of(Id::Location)), many(3, "functionTable", of(Id::Function)),
        many(4, "linkTable", of(Id::ProfileLink)), many(5, "stringTable", Str),
        many(6, "attributeTable", of(Id::KeyValueAndUnit)), many(7, "stackTable", of(Id::Stack))]);
    Mapping = msg("Mapping", &[one(1, "memoryStart", Uint64), one(2, "memoryLimit", Uint64), one(3, "fileOffset", Uint64),
        one(4, "filenameStrindex", Int32), many(5, "attributeIndices", Int32)]);
    Location = msg("Location", &[one(1, "mappingIndex", Int32), one(2, "address", Uint64), many(3, "lines", of(Id::Line)),
        many(4, "attributeIndices", Int32)]);
    Line = msg("Line", &[one(1, "functionIndex", Int32), one(2, "line", Int64), one(3, "column", Int64)]);
    Function = msg("Function", &[one(1, "nameStrindex", Int32), one(2, "systemNameStrindex", Int32),
        one(3, "filenameStrindex", Int32), one(4, "startLine", Int64)]);
    ProfileLink = msg("Link", &[one(1, "traceId", TRACE_ID), one(2, "spanId", SPAN_ID)]);
    KeyValueAndUnit = msg("KeyValueAndUnit", &[one(1, "keyStrindex", Int32), one(2, "value", of(Id::AnyValue)),
        one(3, "unitStrindex", Int32)]);
    Stack = msg("Stack", &[many(1, "locationIndices", Int32)]);
}

/// Tags of the fields of a `KeyValue`.
pub(crate) const KEY_TAG: u8 = 1 << 3 | 2;
pub(crate) const VALUE_TAG: u8 = 2 << 3 | 2;

impl Id {
    /// The message.
    pub fn message(self) -> &'static Message {
        &MESSAGES[self as usize]
    }

    /// Whether it is an item or leads to items.
    pub const fn bears_items(self) -> bool {
        MESSAGES[self as usize].item
            || matches!(
                self,
                Id::ResourceSpans
                    | Id::ScopeSpans
                    | Id::ResourceMetrics
                    | Id::ScopeMetrics
                    | Id::Metric
                    | Id::Gauge
                    | Id::Sum
                    | Id::Histogram
                    | Id::ExponentialHistogram
                    | Id::Summary
                    | Id::ResourceLogs
                    | Id::ScopeLogs
                    | Id::ResourceProfiles
                    | Id::ScopeProfiles
                    | Id::Profile
            )
    }

    /// Numbers of the members of its `oneof`; no OTLP message has two.
    pub const fn oneof(self) -> &'static [u32] {
        match self {
            Id::AnyValue => &[1, 2, 3, 4, 5, 6, 7, 8],
            Id::Metric => &[5, 7, 9, 10, 11],
            Id::NumberPoint => &[4, 6],
            Id::Exemplar => &[3, 6],
            _ => &[],
        }
    }

    /// The export request of a signal.
    pub const fn request(signal: Signal) -> Id {
        match signal {
            Signal::Traces => Id::TracesRequest,
            Signal::Metrics => Id::MetricsRequest,
            Signal::Logs => Id::LogsRequest,
            Signal::Profiles => Id::ProfilesRequest,
        }
    }
}

impl Message {
    /// The field of that number.
    pub fn field(&self, number: u32) -> Option<&'static Field> {
        self.fields.iter().find(|f| u32::from(f.number) == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_numbers_and_names_are_unique_in_each_message() {
        for message in &MESSAGES {
            for (i, a) in message.fields.iter().enumerate() {
                for b in &message.fields[i + 1..] {
                    assert!(
                        a.number != b.number && a.name != b.name,
                        "{}: {} and {}",
                        message.name,
                        a.name,
                        b.name
                    );
                }
            }
        }
    }

    #[test]
    fn no_field_number_exceeds_the_dispatch_table() {
        assert!(
            MESSAGES
                .iter()
                .flat_map(|m| m.fields)
                .all(|f| usize::from(f.number) <= crate::validate::MAX_FIELD)
        );
    }
}
