"""A collector of OpenTelemetry over HTTP, by the messages of PyPI's opentelemetry-proto.

Prints its port, then writes what it is sent into the file that is named, one JSON object a line, until it is stopped.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

LOCK = Lock()


def attributes(pairs):
    def plain(value):
        return getattr(value, value.WhichOneof("value"))

    return {pair.key: plain(pair.value) for pair in pairs}


def traces(body):
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        service = attributes(resource.resource.attributes).get("service.name")
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield {
                    "signal": "span",
                    "service": service,
                    "name": span.name,
                    "kind": span.kind,
                    "trace": span.trace_id.hex(),
                    "id": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(),
                    "nanoseconds": span.end_time_unix_nano - span.start_time_unix_nano,
                    "attributes": attributes(span.attributes),
                }


def logs(body):
    for resource in ExportLogsServiceRequest.FromString(body).resource_logs:
        for scope in resource.scope_logs:
            for record in scope.log_records:
                yield {
                    "signal": "log",
                    "severity": record.severity_text,
                    "body": record.body.string_value,
                    "trace": record.trace_id.hex(),
                }


def metrics(body):
    for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                data = getattr(metric, metric.WhichOneof("data"))
                for point in data.data_points:
                    histogram = metric.WhichOneof("data") == "histogram"
                    yield {
                        "signal": "metric",
                        "name": metric.name,
                        "kind": metric.WhichOneof("data"),
                        "attributes": attributes(point.attributes),
                        "value": point.count if histogram else point.as_double,
                    }


SIGNALS = {"/v1/traces": traces, "/v1/logs": logs, "/v1/metrics": metrics}


class Collector(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers["content-type"] != "application/x-protobuf" or self.path not in SIGNALS:
            self.send_error(415)
            return
        with LOCK, open(sys.argv[1], "a", encoding="utf-8") as out:
            for told in SIGNALS[self.path](body):
                told["authorization"] = self.headers.get("authorization")
                out.write(json.dumps(told) + "\n")
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
print(server.server_address[1], flush=True)
server.serve_forever()
