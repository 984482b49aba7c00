package weir

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of opentelemetry/proto/collector/logs/v1, logs/v1, common/v1 and
// resource/v1. Sending needs few of them, and generated code for OTLP would be a
// dependency in every service.
const (
	requestResourceLogs = 1

	resourceLogsResource  = 1
	resourceLogsScopeLogs = 2

	resourceAttribute = 1

	scopeLogsScope  = 1
	scopeLogsRecord = 2

	scopeName      = 1
	scopeVersion   = 2
	scopeAttribute = 3

	recordTime         = 1
	recordBody         = 5
	recordAttribute    = 6
	recordObservedTime = 11
	recordEventName    = 12

	keyValueKey   = 1
	keyValueValue = 2

	valueString = 1
	valueBool   = 2
	valueInt    = 3
	valueDouble = 4
	valueArray  = 5
	valueList   = 6

	listItem = 1

	responsePartialSuccess = 1
	partialRejected        = 1
	partialMessage         = 2
)

// attribute is a KeyValue whose value is already encoded as an AnyValue.
type attribute struct {
	key   string
	value []byte
}

func str(key, value string) attribute {
	b := protowire.AppendTag(nil, valueString, protowire.BytesType)
	return attribute{key, protowire.AppendString(b, value)}
}

func integer(key string, value int64) attribute {
	b := protowire.AppendTag(nil, valueInt, protowire.VarintType)
	return attribute{key, protowire.AppendVarint(b, uint64(value))}
}

func double(key string, value float64) attribute {
	b := protowire.AppendTag(nil, valueDouble, protowire.Fixed64Type)
	return attribute{key, protowire.AppendFixed64(b, math.Float64bits(value))}
}

func boolean(key string, value bool) attribute {
	b := protowire.AppendTag(nil, valueBool, protowire.VarintType)
	return attribute{key, protowire.AppendVarint(b, protowire.EncodeBool(value))}
}

func appendField(b []byte, field protowire.Number, content []byte) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	return protowire.AppendBytes(b, content)
}

func appendText(b []byte, field protowire.Number, text string) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	return protowire.AppendString(b, text)
}

func appendTime(b []byte, field protowire.Number, unixNano int64) []byte {
	b = protowire.AppendTag(b, field, protowire.Fixed64Type)
	return protowire.AppendFixed64(b, uint64(unixNano))
}

func appendAttributes(b []byte, field protowire.Number, attributes []attribute) []byte {
	for _, a := range attributes {
		size := protowire.SizeTag(keyValueKey) + protowire.SizeBytes(len(a.key)) +
			protowire.SizeTag(keyValueValue) + protowire.SizeBytes(len(a.value))
		b = protowire.AppendTag(b, field, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(size))
		b = appendText(b, keyValueKey, a.key)
		b = appendField(b, keyValueValue, a.value)
	}
	return b
}

// envelope is what surrounds the records of every request of this process.
type envelope struct {
	resource []byte // encoded Resource
	scope    []byte // encoded InstrumentationScope
}

func newEnvelope(resource []attribute) envelope {
	scope := appendText(nil, scopeName, modulePath)
	scope = appendText(scope, scopeVersion, Version)
	scope = appendAttributes(scope, scopeAttribute, []attribute{integer("connection.events.version", 1)})
	return envelope{resource: appendAttributes(nil, resourceAttribute, resource), scope: scope}
}

// request encodes an ExportLogsServiceRequest with those encoded LogRecords.
func (e envelope) request(records [][]byte) []byte {
	scopeLogs := appendField(nil, scopeLogsScope, e.scope)
	for _, record := range records {
		scopeLogs = appendField(scopeLogs, scopeLogsRecord, record)
	}
	resourceLogs := appendField(nil, resourceLogsResource, e.resource)
	resourceLogs = appendField(resourceLogs, resourceLogsScopeLogs, scopeLogs)
	return appendField(nil, requestResourceLogs, resourceLogs)
}

// logRecord encodes a LogRecord; body is an encoded AnyValue or nil.
func logRecord(name string, at, observed int64, attributes []attribute, body []byte) []byte {
	b := appendTime(nil, recordTime, at)
	if body != nil {
		b = appendField(b, recordBody, body)
	}
	b = appendAttributes(b, recordAttribute, attributes)
	b = appendTime(b, recordObservedTime, observed)
	return appendText(b, recordEventName, name)
}

// rejected reads the partial success of an ExportLogsServiceResponse: how many
// records the receiver refused, and why. Anything unreadable counts as none.
func rejected(response []byte) (int64, string) {
	var count int64
	var message string
	partial := fieldsOf(response, responsePartialSuccess)
	for len(partial) > 0 {
		field, wire, n := protowire.ConsumeTag(partial)
		if n < 0 {
			break
		}
		partial = partial[n:]
		switch {
		case field == partialRejected && wire == protowire.VarintType:
			var v uint64
			if v, n = protowire.ConsumeVarint(partial); n >= 0 {
				count = int64(v)
			}
		case field == partialMessage && wire == protowire.BytesType:
			var v []byte
			if v, n = protowire.ConsumeBytes(partial); n >= 0 {
				message = string(v)
			}
		default:
			n = protowire.ConsumeFieldValue(field, wire, partial)
		}
		if n < 0 {
			break
		}
		partial = partial[n:]
	}
	return count, message
}

// fieldsOf returns the content of the last message field with that number.
func fieldsOf(message []byte, want protowire.Number) []byte {
	var found []byte
	for len(message) > 0 {
		field, wire, n := protowire.ConsumeTag(message)
		if n < 0 {
			break
		}
		message = message[n:]
		size := protowire.ConsumeFieldValue(field, wire, message)
		if size < 0 {
			break
		}
		if field == want && wire == protowire.BytesType {
			found, _ = protowire.ConsumeBytes(message)
		}
		message = message[size:]
	}
	return found
}
