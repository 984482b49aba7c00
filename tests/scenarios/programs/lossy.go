package main

import (
	"bytes"
	"io"
	"log"
	"net"
	"net/http"
	"strings"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/proto"
)

// maxForwarded bounds a request through the proxy.
const maxForwarded = 64 << 20

// lossyProxy stands between the module and the agent and loses every third end
// record of connections and clients, and, if it loses all kinds, the snapshots.
type lossyProxy struct {
	agent     string
	snapshots bool // lose them too
	ends      int
}

// startLossyProxy returns the endpoint that the module has to use.
func startLossyProxy(agent string, snapshots bool) (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	proxy := &lossyProxy{agent: strings.TrimSuffix(agent, "/"), snapshots: snapshots}
	// The module sends one request at a time, so the handler needs no lock.
	go http.Serve(listener, proxy)
	return "http://" + listener.Addr().String(), nil
}

func (p *lossyProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxForwarded))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	request := new(collogs.ExportLogsServiceRequest)
	if err := proto.Unmarshal(body, request); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for _, resource := range request.ResourceLogs {
		for _, scope := range resource.ScopeLogs {
			scope.LogRecords = p.thin(scope.LogRecords)
		}
	}
	body, err = proto.Marshal(request)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	p.forward(w, r, body)
}

func (p *lossyProxy) thin(records []*logs.LogRecord) []*logs.LogRecord {
	kept := records[:0]
	for _, record := range records {
		switch record.EventName {
		case "grpc.connection.end", "grpc.client.closed":
			if p.ends++; p.ends%3 == 0 {
				continue
			}
		case "grpc.snapshot":
			if p.snapshots {
				continue
			}
		}
		kept = append(kept, record)
	}
	return kept
}

func (p *lossyProxy) forward(w http.ResponseWriter, r *http.Request, body []byte) {
	request, err := http.NewRequestWithContext(r.Context(), http.MethodPost, p.agent+r.URL.Path, bytes.NewReader(body))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	request.Header.Set("Content-Type", r.Header.Get("Content-Type"))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer response.Body.Close()
	w.WriteHeader(response.StatusCode)
	if _, err := io.Copy(w, io.LimitReader(response.Body, maxForwarded)); err != nil {
		log.Printf("answer of the agent: %v", err)
	}
}
