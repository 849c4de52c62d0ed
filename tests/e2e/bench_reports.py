#!/usr/bin/env python3
"""bench_reports.py FILE [PATH=VALUE]...: a report of `ember bench` is well-formed, and holds these values.

FILE.json: one JSON object; PATH is made of names and indexes with dots between.
"""
import json, sys


def at(value, path):
    for step in path.split("."):
        value = value[int(step)] if isinstance(value, list) else value[step]
    return value


def no_constant(name):
    raise ValueError(f"{name} is no JSON")


def check_json(name, wants):
    with open(name, encoding="utf-8") as f:
        document = json.load(f, parse_constant=no_constant)
    for want in wants:
        path, _, value = want.partition("=")
        got = at(document, path)
        if str(got) != value:
            sys.exit(f"{name}: {path} is {got!r}, want {value}")


check_json(sys.argv[1], sys.argv[2:])
