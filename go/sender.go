package weir

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// maxResponse is how much of a response is read.
const maxResponse = 64 << 10

// sender posts OTLP requests. It keeps one connection to the agent.
type sender struct {
	url       string
	timeout   time.Duration
	onError   func(error)
	client    *http.Client
	transport *http.Transport
	// retryAfter is what the last response asked for, 0 when nothing.
	retryAfter time.Duration
}

// statusError is a response other than success.
type statusError struct {
	url    string
	status string
	code   int
	body   string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("weir: %s answered %s: %s", e.url, e.status, e.body)
}

func newSender(s settings) *sender {
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		MaxConnsPerHost:     1,
		MaxIdleConnsPerHost: 1,
		IdleConnTimeout:     90 * time.Second,
		TLSHandshakeTimeout: s.timeout,
		DisableCompression:  true,
		ForceAttemptHTTP2:   false,
	}
	return &sender{
		url:       s.logsURL,
		timeout:   s.timeout,
		onError:   s.onError,
		transport: transport,
		client: &http.Client{
			Transport: transport,
			// A redirect would send the records to somebody not configured.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// post sends one request and waits for the answer.
func (s *sender) post(ctx context.Context, body []byte) error {
	s.retryAfter = 0
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("weir: %w", err)
	}
	request.Header.Set("Content-Type", "application/x-protobuf")
	request.Header.Set("User-Agent", "weir-go/"+Version)
	response, err := s.client.Do(request)
	if err != nil {
		return fmt.Errorf("weir: %w", err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxResponse))
	if response.StatusCode/100 == 2 {
		// Accepted, whatever became of the rest of the answer.
		if count, message := rejected(answer); err == nil && count > 0 && s.onError != nil {
			s.onError(fmt.Errorf("weir: %s rejected %d records: %s", s.url, count, message))
		}
		return nil
	}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds > 0 {
		s.retryAfter = time.Duration(min(seconds, 3600)) * time.Second
	}
	return &statusError{url: s.url, status: response.Status, code: response.StatusCode, body: printable(answer)}
}

func (s *sender) close() { s.transport.CloseIdleConnections() }

// permanent tells whether sending the same again is useless. The OTLP
// specification names the four codes that may be retried.
func permanent(err error) bool {
	status, ok := err.(*statusError)
	if !ok {
		return false
	}
	switch status.code {
	case http.StatusTooManyRequests, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return false
	}
	return true
}

// printable is the beginning of a response for a message.
func printable(body []byte) string {
	const limit = 200
	if len(body) > limit {
		body = body[:limit]
	}
	return strconv.QuoteToASCII(string(body))
}
