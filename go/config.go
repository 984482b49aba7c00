package weir

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	defaultEndpoint         = "http://127.0.0.1:4327"
	defaultSnapshotInterval = 10 * time.Second
	defaultBufferSize       = 8192
	defaultTimeout          = 5 * time.Second

	minSnapshotInterval = 100 * time.Millisecond
	maxBufferSize       = 1 << 20
)

// Config says where and how connections are reported. The zero value of a field
// means: take the environment variable, and without it the default.
type Config struct {
	// ServiceName is service.name. Environment: OTEL_SERVICE_NAME, then
	// service.name in OTEL_RESOURCE_ATTRIBUTES. Default:
	// unknown_service:<executable>.
	ServiceName string

	// ResourceAttributes are added to the resource; they win over
	// OTEL_RESOURCE_ATTRIBUTES. The attributes by which an agent recognises the
	// process (process.*, service.instance.id, linux.netns) cannot be replaced.
	ResourceAttributes map[string]string

	// Endpoint is the base URL of an OTLP/HTTP receiver, http or https;
	// "/v1/logs" is appended. Environment: WEIR_ENDPOINT. Default:
	// http://127.0.0.1:4327.
	Endpoint string

	// SnapshotInterval is the time between two statements of all that is open,
	// at least 100 ms. Environment: WEIR_SNAPSHOT_INTERVAL (a Go duration, or
	// seconds). Default: 10 s.
	SnapshotInterval time.Duration

	// BufferSize is how many events wait at most for the agent, including those
	// being sent; further ones are dropped and counted. 1 to 1,048,576, about 60
	// bytes each. Default: 8192.
	BufferSize int

	// Timeout is how long one request to the agent may take. Default: 5 s.
	Timeout time.Duration

	// IgnoreFunctions are added to those of [IgnoreFunctions] and of the
	// environment variable WEIR_IGNORE_FUNCTIONS.
	IgnoreFunctions []string

	// OnError, if not nil, is called by the reporter's goroutine when a request
	// failed. It must not block, nor call Start or Stop; when it panics, that is
	// logged and nothing more is reported. Default: failures are silent, because
	// an absent agent is no trouble of the service.
	OnError func(error)
}

// settings is a Config with everything decided.
type settings struct {
	serviceName      string
	attributes       map[string]string
	logsURL          string
	snapshotInterval time.Duration
	bufferSize       int
	timeout          time.Duration
	ignore           []string
	onError          func(error)
}

// resolve fills in environment and defaults, and refuses what cannot work.
func (c Config) resolve(env func(string) string) (settings, error) {
	s := settings{timeout: c.Timeout, bufferSize: c.BufferSize, onError: c.OnError}
	var errs []error

	attributes, err := parseAttributes(env("OTEL_RESOURCE_ATTRIBUTES"))
	errs = append(errs, err)
	maps.Copy(attributes, c.ResourceAttributes)
	s.attributes = attributes
	s.serviceName = firstOf(c.ServiceName, env("OTEL_SERVICE_NAME"), attributes["service.name"],
		"unknown_service:"+executableName())

	s.logsURL, err = logsURL(firstOf(c.Endpoint, env("WEIR_ENDPOINT"), defaultEndpoint))
	errs = append(errs, err)

	s.snapshotInterval, err = snapshotInterval(c.SnapshotInterval, env("WEIR_SNAPSHOT_INTERVAL"))
	errs = append(errs, err)

	if s.timeout == 0 {
		s.timeout = defaultTimeout
	}
	if s.timeout < 0 {
		errs = append(errs, fmt.Errorf("Config.Timeout is %v: use a positive duration", s.timeout))
	}
	if s.bufferSize == 0 {
		s.bufferSize = defaultBufferSize
	}
	if s.bufferSize < 1 || s.bufferSize > maxBufferSize {
		errs = append(errs, fmt.Errorf("Config.BufferSize is %d: use 1 to %d", s.bufferSize, maxBufferSize))
	}

	s.ignore = append(s.ignore, c.IgnoreFunctions...)
	for name := range strings.SplitSeq(env("WEIR_IGNORE_FUNCTIONS"), ",") {
		if name = strings.TrimSpace(name); name != "" {
			s.ignore = append(s.ignore, name)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return settings{}, fmt.Errorf("weir: %w", err)
	}
	return s, nil
}

func logsURL(endpoint string) (string, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", fmt.Errorf("endpoint %q: %w; use a URL such as %s", endpoint, err, defaultEndpoint)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return "", fmt.Errorf("endpoint %q: use an http or https URL such as %s", endpoint, defaultEndpoint)
	}
	return u.JoinPath("v1", "logs").String(), nil
}

func snapshotInterval(configured time.Duration, variable string) (time.Duration, error) {
	d := configured
	if d == 0 && variable != "" {
		var err error
		if d, err = time.ParseDuration(variable); err != nil {
			seconds, numErr := strconv.ParseFloat(variable, 64)
			if numErr != nil || seconds != seconds || seconds > 1e6 || seconds < -1e6 {
				return 0, fmt.Errorf("WEIR_SNAPSHOT_INTERVAL is %q: use a duration such as 10s", variable)
			}
			d = time.Duration(seconds * float64(time.Second))
		}
		if d == 0 {
			return 0, fmt.Errorf("WEIR_SNAPSHOT_INTERVAL is %q: use at least %v", variable, minSnapshotInterval)
		}
	}
	if d == 0 {
		d = defaultSnapshotInterval
	}
	if d < minSnapshotInterval {
		return 0, fmt.Errorf("snapshot interval is %v: use at least %v", d, minSnapshotInterval)
	}
	return d, nil
}

// parseAttributes reads key=value,key=value with percent-encoded values, as the
// OpenTelemetry specification defines OTEL_RESOURCE_ATTRIBUTES.
func parseAttributes(text string) (map[string]string, error) {
	attributes := make(map[string]string)
	if strings.TrimSpace(text) == "" {
		return attributes, nil
	}
	for pair := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		key, value, found := strings.Cut(pair, "=")
		key = strings.TrimSpace(key)
		if !found || key == "" {
			return attributes, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %q is not key=value", pair)
		}
		decoded, err := url.PathUnescape(strings.TrimSpace(value))
		if err != nil {
			return attributes, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: value of %q: %w", key, err)
		}
		attributes[key] = decoded
	}
	return attributes, nil
}

// disabledByEnvironment tells whether WEIR_DISABLED switches everything off.
func disabledByEnvironment(env func(string) string) bool {
	disabled, err := strconv.ParseBool(env("WEIR_DISABLED"))
	return err == nil && disabled
}

func executableName() string {
	path, err := os.Executable()
	if err != nil {
		path = os.Args[0]
	}
	return filepath.Base(path)
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
