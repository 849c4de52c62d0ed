#!/usr/bin/env python3
"""Rules, dashboard and autoscalers ask for metrics that the programs tell, by labels that they have; each alert has a runbook, and a
test in which it fires and one in which it does not. Prints what is wrong, one a line; exit 1 when there is anything.

  metrics.py SOURCE [BUILD]
  metrics.py --as-rules SOURCE      print the dashboard's expressions as recording rules, for promtool to read

Names are taken from the sources, with BUILD also from a broker and a worker (with the fake engine) that are started; labels are compared
with what those two tell. Exit 77 without PyYAML.
"""
import glob, json, os, re, socket, subprocess, sys, time, urllib.request

try:
    import yaml
except ImportError:
    sys.exit(77)

AS_RULES = sys.argv[1] == "--as-rules"
ARGUMENTS = sys.argv[2:] if AS_RULES else sys.argv[1:]
SOURCE = os.path.abspath(ARGUMENTS[0])
BUILD = os.path.abspath(ARGUMENTS[1]) if len(ARGUMENTS) > 1 else None
OURS = re.compile(r"\b(?:ember|process|fleet)[_:][a-z0-9_:]+")
TARGET_LABELS = {"job", "instance", "fleet"}  # of the scrape, not of the programs
problems = []


def read(path):
    return open(os.path.join(SOURCE, path), encoding="utf-8").read()


def in_sources():
    names = set()
    for folder in ("broker", "worker", "src", "deploy/scale"):
        for path in glob.glob(os.path.join(SOURCE, folder, "**", "*.[ch]"), recursive=True):
            names |= set(re.findall(r'"((?:ember|process)_[a-z0-9_]+)"', open(path, encoding="utf-8").read()))
    return names


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def page(port, path="/metrics"):
    return urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5).read().decode()


def scrape():
    """The pages of a broker and of a worker that serves at it."""
    clients, workers, *http = (free_port() for _ in range(4))
    programs = [[f"{BUILD}/broker/ember-broker", "--clients", f"tcp://127.0.0.1:{clients}", "--workers", f"tcp://127.0.0.1:{workers}",
                 "--http", f"127.0.0.1:{http[0]}"],
                [f"{BUILD}/worker/ember-worker-fake", "--model", "m=fake:dim=8", "--broker", f"tcp://127.0.0.1:{workers}",
                 "--http", f"127.0.0.1:{http[1]}", "--redis", "off", "--threads", "1"]]
    running = [subprocess.Popen(p, stderr=subprocess.DEVNULL) for p in programs]
    try:
        for _ in range(200):
            try:
                if page(http[0], "/readyz"):
                    break
            except OSError:
                time.sleep(0.05)
        return page(http[0]) + page(http[1])
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait(30)


def told(text):
    """{name: {label: set of values}} of a page."""
    out = {}
    for name, labels in re.findall(r"^([a-z_:0-9]+)(?:\{(.*)\})? ", text, re.M):
        seen = out.setdefault(name, {})
        for label, value in re.findall(r'(\w+)="((?:\\.|[^"\\])*)"', labels):
            seen.setdefault(label, set()).add(value)
    return out


def expressions():
    """(where, PromQL) of all that asks."""
    for path in sorted(glob.glob(os.path.join(SOURCE, "deploy/prometheus/rules/*.yaml"))):
        for group in yaml.safe_load(open(path, encoding="utf-8"))["groups"]:
            for rule in group["rules"]:
                yield rule.get("alert") or rule["record"], rule["expr"]
    for path in sorted(glob.glob(os.path.join(SOURCE, "deploy/grafana/**/*.json"), recursive=True)):
        board = json.load(open(path, encoding="utf-8"))
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                yield f"panel '{panel['title']}'", target["expr"]
        for variable in board.get("templating", {}).get("list", []):
            if variable["type"] == "query":
                yield f"variable '{variable['name']}'", variable["definition"]
    for path in sorted(glob.glob(os.path.join(SOURCE, "deploy/kubernetes/**/*.yaml"), recursive=True)):
        for query in re.findall(r"(?:query|metricsQuery|seriesQuery): (.*)", open(path, encoding="utf-8").read()):
            yield os.path.relpath(path, SOURCE), query


def known(name, names):
    return name in names or re.sub(r"_(bucket|sum|count)$", "", name) in names


def check_labels(where, expr, pages):
    for name, matchers in re.findall(r"((?:ember|process)_[a-z0-9_]+)\{([^}]*)\}", expr):
        for label, operator, value in re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"((?:\\.|[^"\\])*)"', matchers):
            if label in TARGET_LABELS or name not in pages or "$" in value:
                continue
            if label not in pages[name]:
                problems.append(f"{where}: {name} has no label {label}")
            elif operator in ("=", "=~"):
                for one in value.split("|") if operator == "=~" else [value]:
                    if one not in pages[name][label]:
                        problems.append(f"{where}: {name} has no {label}=\"{one}\"")


def check_alerts():
    headings = {re.sub(r"[^\w\- ]", "", h.strip().lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)", read("docs/OPERATING.md"), re.M)}
    fires, silent = set(), set()
    for case in yaml.safe_load(read("tests/tidy/alerts_test.yaml"))["tests"]:
        for test in case["alert_rule_test"]:
            (fires if test["exp_alerts"] else silent).add(test["alertname"])
    for group in yaml.safe_load(read("deploy/prometheus/rules/alerts.yaml"))["groups"]:
        for rule in group["rules"]:
            name, notes = rule["alert"], rule.get("annotations", {})
            for wanted in ("summary", "description", "runbook"):
                if not notes.get(wanted):
                    problems.append(f"{name}: no {wanted}")
            if rule.get("labels", {}).get("severity") not in ("page", "ticket"):
                problems.append(f"{name}: severity is page or ticket")
            file, _, anchor = notes.get("runbook", "").partition("#")
            if file != "docs/OPERATING.md" or anchor not in headings:
                problems.append(f"{name}: {notes.get('runbook')} is not there")
            for kind, has in (("fires", fires), ("is silent", silent)):
                if name not in has:
                    problems.append(f"{name}: no test in which it {kind}")


def as_rules():
    exprs = [e.replace("$__rate_interval", "5m").replace("$fleet", "main") for where, e in expressions() if where.startswith("panel")]
    rules = [{"record": f"panel:expression{i}", "expr": e} for i, e in enumerate(exprs)]
    print(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    return 0


def main():
    names, pages = in_sources(), {}
    if BUILD and os.path.exists(f"{BUILD}/worker/ember-worker-fake"):
        pages = told(scrape())
        names |= set(pages)
    if len(names) < 50:
        problems.append(f"only {len(names)} metrics found in the programs")
    asked = list(expressions())
    names |= {where for where, _ in asked if ":" in where}  # recorded ones
    for where, expr in asked:
        bare = re.sub(r'"(\\.|[^"\\])*"', '""', expr)
        for name in sorted(set(OURS.findall(bare))):
            if not known(name, names):
                problems.append(f"{where}: no program tells {name}")
        check_labels(where, expr, pages)
    check_alerts()
    print("\n".join(problems) if problems else f"metrics: {len(asked)} expressions, {len(names)} names, nothing to say")
    return 1 if problems else 0


sys.exit(as_rules() if AS_RULES else main())
