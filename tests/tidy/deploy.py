#!/usr/bin/env python3
"""What deploy/ says about our programs is true: options, ports, paths, programs, libraries, and what its parts say about each other.
Prints what is wrong, one a line; exit 1 when there is anything. Neither Docker nor a cluster is needed, and neither is tried.

  deploy.py SOURCE BUILD

Options are those of the programs' --help, ports those of their defaults, paths those of src/metrics/expose.c, libraries those that the
built programs ask for. With kubectl or kustomize the overlays are rendered and looked at as well. Exit 77 without PyYAML.
"""
import glob, json, os, re, shutil, subprocess, sys

try:
    import yaml
except ImportError:
    sys.exit(77)

SOURCE, BUILD = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
DEPLOY = os.path.join(SOURCE, "deploy")
BINARY = {"ember-broker": "broker/ember-broker", "ember-worker": "worker/ember-worker", "ember": "client/cli/ember"}
PORTS = {"ember-broker": {"clients": 5555, "workers": 5556, "http": 9464}, "ember-worker": {"http": 9465}}
problems = []


def problem(where, text):
    problems.append(f"{where}: {text}")


def check(true, where, text):
    if not true:
        problem(where, text)


def read(path):
    return open(os.path.join(SOURCE, path), encoding="utf-8").read()


def documents(path):
    return [d for d in yaml.safe_load_all(open(path, encoding="utf-8")) if d]


def said(*command):
    return subprocess.run(command, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"}).stdout


def options(program):
    return set(re.findall(r"^\s+(?:-\w, )?--([a-z][a-z-]*)", said(f"{BUILD}/{BINARY[program]}", "--help"), re.M))


OPTIONS = {program: options(program) for program in ("ember-broker", "ember-worker")}
PATHS = set(re.findall(r'"(/[a-z]+)"', read("src/metrics/expose.c")))


def check_arguments(where, program, arguments, environment):
    for argument in arguments:
        m = re.match(r"--([a-z-]+)(=|$)", argument)
        check(m and m.group(1) in OPTIONS[program], where, f"{program} has no option {argument}")
        check("=" in argument, where, f"write --name=value: {argument}")
    for name in environment:
        if name.startswith("EMBER_"):
            check(name[6:].lower().replace("_", "-") in OPTIONS[program], where, f"{program} reads no {name}")


def check_image(where, image):
    check(re.fullmatch(r"[a-z0-9./-]+:[A-Za-z0-9.-]*\d[A-Za-z0-9.-]*", image), where, f"image {image} has no version")


def check_defaults():
    for program, ports in PORTS.items():
        text = said(f"{BUILD}/{BINARY[program]}", "--print-config")
        for name, port in ports.items():
            check(re.search(rf"^{name} = .*:{port}$", text, re.M), program, f"its --{name} is not at port {port} by default")
    check({"/healthz", "/readyz", "/metrics"} <= PATHS, "expose.c", f"paths {sorted(PATHS)}")


# ---- images


def stages(text):
    out, name = {}, None
    text = re.sub(r"\\\n\s*", " ", text)
    for line in text.split("\n"):
        m = re.match(r"FROM (\S+) AS (\w+)", line)
        if m:
            name = m.group(2)
            out[name] = {"from": m.group(1), "lines": list(out[m.group(1)]["lines"]) if m.group(1) in out else []}
        elif name and line and not line.startswith("#"):
            out[name]["lines"].append(line)
    return out


def libraries_of(path):
    """What a program or library of ours asks for; of libember what that asks for."""
    for library in re.findall(r"NEEDED.*\[(.*)\]", said("readelf", "-d", path)):
        yield from libraries_of(f"{BUILD}/client/lib/{library}") if library.startswith("libember") else [library]


def packages_of(*programs):
    """Debian's packages of them."""
    libraries = {library for program in programs for library in libraries_of(f"{BUILD}/{program}")}
    names = {"libopenblas0-serial"} if "libopenblas.so.0" in libraries else set()  # by alternatives: dpkg does not know
    patterns = [f"*/{library}" for library in sorted(libraries) if not library.startswith("libopenblas")]
    names |= {line.split(":")[0] for line in said("dpkg", "-S", *patterns).split("\n") if line} if patterns else set()
    return {n for n in names if not re.match(r"libc6|lib32|libx32", n)}


def check_dockerfile():
    where, all_stages = "Dockerfile", stages(read("deploy/Dockerfile"))
    ignore = read("deploy/Dockerfile.dockerignore").split("\n")
    for target, program in (("broker", "ember-broker"), ("worker", "ember-worker"), ("client", "ember")):
        stage = all_stages.get(target)
        if not stage:
            problem(where, f"no target {target}")
            continue
        lines = stage["lines"]
        root = stage["from"]
        while root in all_stages:
            root = all_stages[root]["from"]
        check_image(where, root.replace("-slim", ""))
        users = [l for l in lines if l.startswith("USER")]
        check(users and re.fullmatch(r"USER [1-9]\d*:[1-9]\d*", users[-1]), where, f"{target} does not end as a user with a number")
        check(f'ENTRYPOINT ["{program}"]' in lines, where, f"{target} does not start {program}")
        installed = set(" ".join(re.findall(r"apt-get install (.*?)&&", " ".join(lines))).split())
        wanted = packages_of(BINARY[program], *(["worker/model_tool/ember-model"] if target == "worker" else []))
        if shutil.which("dpkg") and shutil.which("readelf"):
            check(len(wanted) > 1, where, f"{target}: no libraries found")
            check(wanted == {p for p in installed if not p.startswith("-")}, where,
                  f"{target} installs {sorted(p for p in installed if not p.startswith('-'))}, {program} needs {sorted(wanted)}")
        if target == "client":
            continue
        check_arguments(where, program, [], re.findall(r"(EMBER_\w+)=", " ".join(l for l in lines if l.startswith("ENV"))))
        exposed = {int(p) for l in lines if l.startswith("EXPOSE") for p in l.split()[1:]}
        check(exposed == set(PORTS[program].values()), where, f"{target} exposes {sorted(exposed)}")
        health = [json.loads(l.split("CMD ", 1)[1]) for l in lines if l.startswith("HEALTHCHECK")]
        check(health and health[0][0] == "ember-health" and int(health[0][1]) == PORTS[program]["http"] and health[0][2] in PATHS, where,
              f"{target} has no HEALTHCHECK of its HTTP")
    for line in sum((s["lines"] for s in all_stages.values()), []):
        words = line.split()
        if words[0] == "COPY" and not words[1].startswith("--"):
            for path in words[1:-1]:
                check(os.path.exists(os.path.join(SOURCE, path + "/config.json" if path.startswith("models/") else path)), where,
                      f"COPY {path}: it is not there")
                check(path == "." or any(i.startswith("!") and path.startswith(i[1:]) for i in ignore), where, f"COPY {path}: ignored")
    for path in (i[1:] for i in ignore if i.startswith("!")):
        check(os.path.exists(os.path.join(SOURCE, path)), "Dockerfile.dockerignore", f"{path} is not there")
    check(ignore[1] == "*", "Dockerfile.dockerignore", "what is not named is not left out")


# ---- Compose


def check_compose():
    where = "compose.yaml"
    compose = documents(os.path.join(DEPLOY, "compose.yaml"))[0]
    services, targets = compose["services"], stages(read("deploy/Dockerfile"))
    for name, service in services.items():
        here = f"{where} {name}"
        check_image(here, service["image"])
        for other in service.get("depends_on", []):
            check(other in services, here, f"depends on {other}")
            if isinstance(service["depends_on"], dict):
                base = services[other]
                check("healthcheck" in base or "build" in base, here, f"waits for the health of {other}, which tells none")
        for volume in service.get("volumes", []):
            source = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", volume).split(":")[0]
            if source.startswith("."):
                check(os.path.exists(os.path.join(DEPLOY, source)), here, f"mounts {source}, which is not there")
            else:
                check(source in compose["volumes"], here, f"mounts {source}, which is no volume")
        for port in service.get("ports", []):
            check(port.startswith("127.0.0.1:"), here, f"{port} is open to others")
        if "build" not in service:
            check("healthcheck" in service, here, "no healthcheck")
            continue
        program = service["image"].split(":")[0]
        check(service["build"]["target"] in targets, here, "a target that is not there")
        check(program == "ember-" + service["build"]["target"], here, f"image {service['image']} is another target's")
        arguments = service.get("command", [])
        check_arguments(here, program, arguments, service.get("environment", {}))
        for endpoint in re.findall(r"--broker=tcp://([\w-]+):(\d+)", "\n".join(arguments)):
            check(endpoint[0] in services and int(endpoint[1]) == 5556, here, f"broker {endpoint}")
        check(service["read_only"] and service["cap_drop"] == ["ALL"], here, "may do more than it has to")
        check(int(service["stop_grace_period"][:-1]) > 20, here, "is killed before it has drained")
    scrape = yaml.safe_load(read("deploy/prometheus/prometheus.yml"))["scrape_configs"]
    for job in scrape:
        for sd in job["dns_sd_configs"]:
            check(set(sd["names"]) <= set(services), "prometheus.yml", f"{sd['names']} are not in compose.yaml")
            check(sd["port"] == PORTS[job["job_name"]]["http"], "prometheus.yml", f"{job['job_name']} at {sd['port']}")
    passwords = re.findall(r"^user ember .*>(\S+)", read("deploy/redis/users.acl"), re.M)
    check(f":-{passwords[0]}}}@redis" in read("deploy/compose.yaml"), where, "another password than users.acl's")


# ---- Kubernetes


def matches(selector, labels):
    wanted = selector.get("matchLabels", selector)
    return bool(wanted) and all(labels.get(k) == v for k, v in wanted.items())


def check_pod(where, kind, pod, secrets):
    check(pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0, where, "may be root")
    check(pod["enableServiceLinks"] is False and pod["automountServiceAccountToken"] is False, where, "gets what it does not need")
    volumes = {v["name"] for v in pod.get("volumes", [])}
    for container in pod["containers"]:
        check_image(where, container["image"])
        context = container["securityContext"]
        check(context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"] and context["capabilities"]["drop"] == ["ALL"],
              where, "may do more than it has to")
        check("memory" in container["resources"]["limits"] and {"cpu", "memory"} <= set(container["resources"]["requests"]), where, "no resources")
        mounted = {m["name"] for m in container.get("volumeMounts", [])}
        check(mounted == volumes, where, f"volumes {sorted(volumes)}, mounted {sorted(mounted)}")
        ports = {p["name"]: p["containerPort"] for p in container["ports"]}
        program = container["image"].split(":")[0].split("/")[-1]
        if program not in PORTS:
            continue
        check(ports == PORTS[program], where, f"ports {ports}")
        check_arguments(where, program, container["args"], [e["name"] for e in container["env"]])
        for name, port in re.findall(r"^--(clients|workers|http)=\S*:(\d+)$", "\n".join(container["args"]), re.M):
            check(int(port) == ports[name], where, f"--{name} at {port}")
        for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
            get = container[probe]["httpGet"]
            check(get["path"] == path and path in PATHS and get["port"] == "http", where, f"{probe} {get}")
        mounts = [m["mountPath"] for m in container["volumeMounts"]]
        for path in re.findall(r"^--curve-(?:key|server-key|dir)=(\S+)", "\n".join(container["args"]), re.M):
            check(any(path.startswith(m) or m.startswith(path) for m in mounts), where, f"{path} is not mounted")
        check(pod["terminationGracePeriodSeconds"] > 23, where, "is killed before it has drained")


def check_objects(where, objects):
    by = {(o["kind"], o["metadata"]["name"]): o for o in objects}
    workloads = [o for o in objects if o["kind"] in ("Deployment", "StatefulSet")]
    pods = [(o, o["spec"]["template"]["metadata"]["labels"], o["spec"]["template"]["spec"]) for o in workloads]
    services = [o for o in objects if o["kind"] == "Service"]
    for o, labels, pod in pods:
        here = f"{where} {o['metadata']['name']}"
        check(matches(o["spec"]["selector"], labels), here, "its selector is not its pods'")
        check_pod(here, o["kind"], pod, by)
        for spread in pod.get("topologySpreadConstraints", []):
            check(matches(spread["labelSelector"], labels), here, "spreads other pods")
        for argument in sum((c.get("args", []) for c in pod["containers"]), []):
            m = re.search(r"tcp://(ember-broker)-(\d+)\.([a-z-]+)[.:].*?(\d+)$", argument)
            if m:
                broker, service = by.get(("StatefulSet", m.group(1))), by.get(("Service", m.group(3)))
                check(broker and service and broker["spec"]["serviceName"] == m.group(3) and int(m.group(2)) < broker["spec"]["replicas"]
                      and int(m.group(4)) in {p["port"] for p in service["spec"]["ports"]}, here, f"{argument} leads nowhere")
    for o in services:
        here = f"{where} service {o['metadata']['name']}"
        found = [p for w, labels, p in pods if matches(o["spec"]["selector"], labels)]
        check(len(found) == 1, here, f"selects {len(found)} kinds of pods")
        names = {p["name"] for pod in found for c in pod["containers"] for p in c["ports"]}
        check({p["targetPort"] for p in o["spec"]["ports"]} <= names, here, "a port that its pods have not")
        if o["spec"].get("clusterIP") == "None":
            check(o["spec"].get("publishNotReadyAddresses"), here, "workers could never make a broker ready")
    for o in objects:
        here, spec = f"{where} {o['kind']} {o['metadata']['name']}", o.get("spec", {})
        if o["kind"] in ("PodDisruptionBudget", "PodMonitor"):
            check(any(matches(spec["selector"], labels) for _, labels, _ in pods), here, "selects nothing")
        if o["kind"] == "NetworkPolicy":
            check(any(matches(spec["podSelector"], labels) for _, labels, _ in pods), here, "selects nothing")
            for rule in spec.get("ingress", []) + spec.get("egress", []):
                for peer in rule.get("from", []) + rule.get("to", []):
                    if list(peer) == ["podSelector"]:
                        check(any(matches(peer["podSelector"], labels) for _, labels, _ in pods), here, f"names pods that are not there: {peer}")
        if o["kind"] in ("HorizontalPodAutoscaler", "ScaledObject"):
            target = by.get(("Deployment", spec["scaleTargetRef"]["name"]))
            check(target is not None, here, "scales nothing")
            check(target and "replicas" not in target["spec"], here, "each apply would undo it")
    for o, labels, pod in pods:
        check(any(p["kind"] == "NetworkPolicy" and matches(p["spec"]["podSelector"], labels) for p in objects), where, f"{labels} has no policy")


def check_kubernetes():
    root = os.path.join(DEPLOY, "kubernetes")
    base = []
    for path in sorted(glob.glob(f"{root}/**/kustomization.yaml", recursive=True)):
        folder, kustomization = os.path.dirname(path), documents(path)[0]
        for resource in kustomization.get("resources", []):
            check(os.path.exists(os.path.join(folder, resource)), os.path.relpath(path, DEPLOY), f"{resource} is not there")
        if folder == f"{root}/base":
            base = sum((documents(os.path.join(folder, r)) for r in kustomization["resources"]), [])
    for o in base:
        check({"apiVersion", "kind", "metadata"} <= set(o), "kubernetes/base", f"{o}")
    check_objects("kubernetes/base", base)
    render = next(([t, *a] for t, a in (("kustomize", ["build"]), ("kubectl", ["kustomize"])) if shutil.which(t)), None)
    for folder in sorted(glob.glob(f"{root}/overlays/*")) if render else []:
        run = subprocess.run([*render, folder], capture_output=True, text=True)
        check(run.returncode == 0, folder, run.stderr)
        if run.returncode == 0:
            objects = [d for d in yaml.safe_load_all(run.stdout) if d]
            check(len(objects) > len(base), folder, "adds nothing")
            check_objects(os.path.relpath(folder, DEPLOY), objects)


def main():
    for path in glob.glob(f"{DEPLOY}/**/*.y*ml", recursive=True):
        try:
            check(documents(path), os.path.relpath(path, SOURCE), "empty")
        except yaml.YAMLError as error:
            problem(os.path.relpath(path, SOURCE), str(error))
    if not problems:
        check_defaults()
        check_dockerfile()
        check_compose()
        check_kubernetes()
    print("\n".join(problems) if problems else "deploy: nothing to say")
    return 1 if problems else 0


sys.exit(main())
