"""Records of the log as others' packages read them.

Reads an order from standard input: {"format": ..., "records": [text, ...]}, and prints {"problems": [...], "read": [...]}.
OCSF is held against the published schema of the version that each record names (`ocsf-json-schema`, `jsonschema`),
CloudEvents are read by `cloudevents`, CADF by `pycadf`, OTLP by `opentelemetry-proto`.
"""

import base64
import json
import sys


def ocsf(records):
    from jsonschema import Draft202012Validator
    from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

    schemas, validators, problems, read = {}, {}, [], []
    for text in records:
        record = json.loads(text)
        version, profiles = record["metadata"]["version"], record["metadata"]["profiles"]
        if version not in schemas:
            schemas[version] = (get_ocsf_schema(version), OcsfJsonSchemaEmbedded(get_ocsf_schema(version)))
        raw, schema = schemas[version]
        name = schema.lookup_class_name_from_uid(record["class_uid"])
        if (version, name) not in validators:
            validators[version, name] = Draft202012Validator(schema.get_class_schema(name, profiles))
        what = record["metadata"]["event_code"]
        for error in validators[version, name].iter_errors(record):
            problems.append(f"{what}: {error.json_path}: {error.message}")
        attributes = raw["classes"][name]["attributes"]
        # A number with a name beside it says what the schema calls it.
        for number, name_of in [("activity_id", "activity_name"), ("severity_id", "severity"), ("status_id", "status"),
                                ("action_id", "action"), ("disposition_id", "disposition")]:
            known = attributes[number]["enum"].get(str(record[number]))
            if known is None:
                problems.append(f"{what}: {number} {record[number]} is none of {name}")
            elif record[number] != 99 and known["caption"] != record[name_of]:
                problems.append(f"{what}: {number} {record[number]} is {known['caption']}, not {record[name_of]}")
        if record["type_uid"] != record["class_uid"] * 100 + record["activity_id"]:
            problems.append(f"{what}: type_uid")
        if str(record["category_uid"]) not in attributes["category_uid"]["enum"]:
            problems.append(f"{what}: category_uid")
        if record["class_name"] != raw["classes"][name]["caption"]:
            problems.append(f"{what}: class_name")
        read.append({"kind": what, "seq": record["metadata"]["sequence"]})
    return problems, read


def cloudevents(records):
    from cloudevents.core.bindings.http import HTTPMessage, from_structured_event

    problems, read = [], []
    for text in records:
        message = HTTPMessage(headers={"content-type": "application/cloudevents+json"}, body=text.encode())
        event = from_structured_event(message)
        if event.get_specversion() != "1.0" or not event.get_id() or not event.get_source():
            problems.append(text)
        read.append({"kind": event.get_type(), "seq": int(event.get_extension("sequence"))})
    return problems, read


def cadf(records):
    from pycadf import attachment, event, reason, resource, cadftaxonomy, cadftype

    problems, read = [], []

    def of(value):
        if not cadftaxonomy.is_valid_resource(value["typeURI"]):
            problems.append(f"{value} is of no known type")
        return resource.Resource(id=value["id"], typeURI=value["typeURI"], name=value.get("name"))

    for text in records:
        record = json.loads(text)
        if record["action"] not in cadftaxonomy.ACTION_TAXONOMY:
            problems.append(f"{record['name']}: {record['action']}")
        made = event.Event(
            eventType=record["eventType"], id=record["id"], eventTime=record["eventTime"], action=record["action"],
            outcome=record["outcome"], initiator=of(record["initiator"]), target=of(record["target"]),
            observer=of(record["observer"]), name=record["name"],
            reason=reason.Reason(**record["reason"]) if "reason" in record else None,
        )
        for tag in record.get("tags", []):
            made.add_tag(tag)
        for each in record["attachments"]:
            made.add_attachment(attachment.Attachment(**each))
        if not made.is_valid():
            problems.append(f"{record['name']} is not valid")
        # What the library writes is what was written.
        again = made.as_dict()
        for member in again:
            if member in ("initiator", "target", "observer", "reason", "attachments"):
                continue
            if record[member] != again[member]:
                problems.append(f"{record['name']}: {member}: {record[member]} is not {again[member]}")
        read.append({"kind": record["name"], "seq": record["attachments"][0]["content"]["seq"]})
    return problems, read


def otlp(records):
    from google.protobuf import json_format
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    problems, read = [], []
    for text in records:
        said = json.loads(text)
        for resource in said["resourceLogs"]:
            for scope in resource["scopeLogs"]:
                for record in scope["logRecords"]:
                    # OTLP has ids in hexadecimal where the mapping of protobuf has Base64.
                    for member in ("traceId", "spanId"):
                        if member in record:
                            record[member] = base64.b64encode(bytes.fromhex(record[member])).decode()
        request = json_format.ParseDict(said, ExportLogsServiceRequest(), ignore_unknown_fields=False)
        for resource in request.resource_logs:
            service = {one.key: one.value.string_value for one in resource.resource.attributes}
            if service.get("service.name") != "marque":
                problems.append("no service.name")
            for scope in resource.scope_logs:
                for record in scope.log_records:
                    values = {one.key: one.value for one in record.attributes}
                    leaf = json.loads(record.body.string_value)
                    if leaf["type"] != record.event_name or not record.time_unix_nano:
                        problems.append(f"{record.event_name}: not its leaf")
                    read.append({"kind": record.event_name, "seq": values["marque.seq"].int_value,
                                 "trace": record.trace_id.hex()})
    return problems, read


def main():
    order = json.load(sys.stdin)
    problems, read = globals()[order["format"]](order["records"])
    print(json.dumps({"problems": problems, "read": read}))


main()
